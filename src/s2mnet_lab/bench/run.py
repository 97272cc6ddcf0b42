"""A whole benchmark: cases, the contestants that time and memory allow in each, rounds, record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch

from s2mnet.allocator import keep_freed_memory
from s2mnet.device import Precision, multiplies_bf16
from s2mnet.errors import S2MNetError
from s2mnet.plan.machine import free_memory
from s2mnet.progress import Progress
from s2mnet.provenance import environment
from s2mnet_lab.bench import spectral
from s2mnet_lab.bench.bound import bounds
from s2mnet_lab.bench.contestants import CONTESTANTS, Contestant, chosen
from s2mnet_lab.bench.flops import flops_of, parameters_and_flops
from s2mnet_lab.bench.loss import TITLES, loss_job
from s2mnet_lab.bench.memory import alone
from s2mnet_lab.bench.operations import operations
from s2mnet_lab.bench.ratios import MATRIX
from s2mnet_lab.bench.record import PRECISIONS, SECTIONS, Case, LeftOut, Measurement, Record, Section
from s2mnet_lab.bench.timing import REST_SECONDS, Budget, alternate, calls_for
from s2mnet_lab.bench.work import Job, beside_others, faster_form, matrix_product, network_job, timed

SIZES = (256, 352, 512, 768, 1024)
GUESSED_FLOPS = 2e10  # per second, for a network that has not run yet: a cautious estimate for any machine
EXTRA_CALLS = 5  # besides the repeats: to measure memory, to choose the form, to warm up
PEAK = "matrix product"

Notify = Callable[[Record], None]


@dataclass(frozen=True)
class _Entry:
    """A contestant in a case: how to make its job, the estimated seconds of a call, and facts for its measurement."""

    prepare: Callable[[], Job]
    guess: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What to measure. An empty sequence means the default of each section.

    Attributes:
        sizes: sides, multiples of 32. Default: 256 to 1024 for inference, 352 for the rest.
        batches: default: 1 and 8 for inference and the spectral branch, 8 for the rest.
        precisions: default: those that the machine multiplies natively.
        only: one section.
        contestants: names. Default: all.
        repeats: rounds of each case.
        minutes: contestants that do not fit are left out, and recorded as such.
        threads: torch threads. None: unchanged.
    """

    sizes: Sequence[int] = ()
    batches: Sequence[int] = ()
    precisions: Sequence[Precision] = ()
    only: Section | None = None
    contestants: Sequence[str] = ()
    repeats: int = 7
    minutes: float = 60.0
    threads: int | None = None


def run_bench(request: Request, progress: Progress | None = None, notify: Notify | None = None) -> Record:
    """Measure everything asked for.

    Args:
        progress: called with the number of finished cases and of all cases.
        notify: called with the record after every case, so that an interrupted run keeps its results.

    Raises:
        S2MNetError: an unknown contestant, an invalid number, or bf16 where it would be emulated.

    Example:
        >>> record = run_bench(Request(sizes=[32], batches=[1], only="spectral", repeats=1))
        >>> len(record.measurements), max(max(pair) for pair in record.differences.values()) < 1e-4
        (20, True)
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    _check(request, device)
    keep_freed_memory()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(request.threads or threads)
        return _Run(request, chosen(request.contestants, device), device).all(progress, notify)
    finally:
        torch.set_num_threads(threads)


def cases_of(request: Request) -> list[Case]:
    """Every case, cheapest first, so that the most expensive ones are lost when the budget runs out.

    Example:
        >>> [str(case) for case in cases_of(Request(sizes=[64], batches=[1], precisions=["bf16"], only="train"))]
        ['train 64×64, batch 1, bf16']
    """
    cases = []
    for section in [request.only] if request.only else SECTIONS:
        sizes = request.sizes or (SIZES if section == "network" else (352,))
        batches = request.batches or ((1, 8) if section in ("network", "spectral") else (8,))
        batches = batches[:1] if section in ("bound", "operations") else batches  # they choose their own
        precisions = request.precisions or PRECISIONS
        for size in sizes:
            for batch in batches:
                if section == "spectral":  # FFTs do not support bf16, and MASL always computes in float32
                    cases += [Case(section=section, size=size, batch=batch, stage=stage) for stage in range(1, 6)]
                elif section in ("loss", "bound", "operations"):
                    cases.append(Case(section=section, size=size, batch=batch))
                else:
                    cases += [Case(section=section, size=size, batch=batch, precision=p) for p in precisions]
    return sorted(cases, key=_cost)


def _cost(case: Case) -> float:
    weights = {"spectral": 0.01, "loss": 0.1, "network": 1.0, "train": 3.0, "bound": 0.01, "operations": 1.0}
    return weights[case.section] * case.batch * case.size**2


def _native(device: str) -> tuple[Precision, ...]:
    """The precisions that a device multiplies natively: an emulated product is hundreds of times slower."""
    return PRECISIONS if multiplies_bf16(device) else ("float32",)


def _check(request: Request, device: str) -> None:
    for precision in set(request.precisions) - set(_native(device)):
        problem = f"asks for {precision} on a {device} that does not multiply it natively"
        raise S2MNetError("--precision", problem, "Use float32, or leave the option out.")
    for size in request.sizes:
        if size < 32 or size % 32:
            raise S2MNetError("--size", f"is {size}; the peers need a multiple of 32", "Give another side.")
    numbers = {"--batch": min(request.batches, default=1), "--repeats": request.repeats, "--minutes": request.minutes}
    for name, number in (numbers | {"--threads": 1 if request.threads is None else request.threads}).items():
        if number <= 0:
            raise S2MNetError(name, f"is {number}", "Give a number above 0.")


class _Run:
    def __init__(self, request: Request, contestants: list[Contestant], device: str) -> None:
        self.request, self.contestants, self.device = request, contestants, device
        self.precisions = request.precisions or _native(device)
        self.budget = Budget(request.minutes)
        self.pace: dict[str, float] = {}  # latest seconds per FLOP of each contestant
        self.counts: dict[tuple[str, int], tuple[int, int]] = {}
        titles = {name: contestant.title for name, contestant in CONTESTANTS.items()} | TITLES
        self.record = Record(
            environment=environment(),
            device=self.device,
            threads=torch.get_num_threads(),
            options=asdict(request),
            titles=titles | spectral.TITLES,
        )

    def all(self, progress: Progress | None, notify: Notify | None) -> Record:
        cases = cases_of(replace(self.request, precisions=self.precisions))
        for done, case in enumerate(cases, 1):
            if case.section == "spectral":
                self._spectral(case)
            elif case.section == "loss":
                self._losses(case)
            elif case.section == "bound":
                self.record.bounds += bounds(case.size, self.device, self.precisions)
            elif case.section == "operations":
                self.record.largest += operations(case.size, self.device, self.precisions)
            else:
                self._networks(case)
            if notify:
                notify(self.record)
            if progress:
                progress(done, len(cases))
        return self.record

    def _spectral(self, case: Case) -> None:
        jobs, differences, flops = spectral.spectral_case(case, self.device)
        for name, (output, gradient) in differences.items():
            old = self.record.differences.get(name, (0.0, 0.0))
            self.record.differences[name] = (max(old[0], output), max(old[1], gradient))
        entries = {name: _Entry(partial(_itself, job)) for name, job in jobs.items()}
        entries[MATRIX].facts["flops"] = flops  # torch's counter does not count FFTs
        self._rounds(case, entries)

    def _losses(self, case: Case) -> None:
        self._rounds(case, {name: _Entry(partial(loss_job, name, case, self.device)) for name in TITLES})

    def _networks(self, case: Case) -> None:
        entries: dict[str, _Entry] = {}
        for contestant in self.contestants:
            try:
                parameters, forward = self._count(contestant, case.size)
            except (RuntimeError, ValueError, ImportError) as error:
                self._leave_out(case, contestant.name, error)
                continue
            flops = flops_of(case.section, forward, case.batch)
            facts: dict[str, Any] = {"parameters": parameters, "flops": flops}
            guess = flops * self.pace.get(contestant.name, 1 / GUESSED_FLOPS)
            entries[contestant.name] = _Entry(partial(self._prepare, contestant, case, facts), guess, facts)
        self._rounds(case, entries)

    def _prepare(self, contestant: Contestant, case: Case, facts: dict[str, Any]) -> Job:
        form = faster_form(contestant, case, self.device)
        left = max(1.0, self.budget.left)
        result = alone(contestant, case, form, self.device, torch.get_num_threads(), left)
        facts.update(form=form, memory=result.memory, memory_process=result.memory_process, alone=result.seconds)
        if self.device == "cpu" and result.memory > free_memory():
            raise RuntimeError(f"it needs {result.memory / 2**30:.1f} GiB, more than is free beside the others")
        return beside_others(contestant, network_job(contestant, case, form, self.device))

    def _count(self, contestant: Contestant, size: int) -> tuple[int, int]:
        key = (contestant.name, size)
        if key not in self.counts:
            self.counts[key] = parameters_and_flops(contestant, size)
        return self.counts[key]

    def _rounds(self, case: Case, entries: dict[str, _Entry]) -> None:
        """Warm up the contestants that time and memory allow, then let them take turns with a matrix product."""
        repeats = self.request.repeats
        product, work = matrix_product(case.precision, self.device)
        product()
        turns: dict[str, Callable[[], float]] = {PEAK: partial(timed, product, self.device)}
        calls: dict[str, int] = {}
        for name, entry in entries.items():
            try:
                if entry.guess * (repeats + EXTRA_CALLS) > self.budget.left:
                    raise TimeoutError
                job = entry.prepare()
                job()
                once = timed(job, self.device)
                calls[name] = calls_for(once)
                if not self.budget.reserve(once * calls[name] * repeats):
                    raise TimeoutError
            except TimeoutError:
                self._leave_out(case, name, "it does not fit into --minutes")
                continue
            except (RuntimeError, ValueError, ImportError, MemoryError) as error:
                self._leave_out(case, name, error)
                continue
            if "flops" in entry.facts:
                self.pace[name] = once / entry.facts["flops"]
            turns[name] = partial(timed, job, self.device, calls[name])
        if len(turns) > 1:
            results = alternate(turns, repeats, REST_SECONDS)
            peak = [work / seconds for seconds in results.pop(PEAK)]
            for name, seconds in results.items():
                one = Measurement(case=case, contestant=name, seconds=seconds, calls=calls[name], peak=peak)
                self.record.measurements.append(one.model_copy(update=entries[name].facts))
        self.budget.settle()

    def _leave_out(self, case: Case, name: str, why: Exception | str) -> None:
        reason = (str(why).strip().splitlines() or [repr(why)])[0]
        self.record.left_out.append(LeftOut(case=case, contestant=name, reason=reason))


def _itself(job: Job) -> Job:
    return job
