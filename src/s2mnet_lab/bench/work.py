"""The work that is timed: one forward pass of a network, or one training step."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from s2mnet.allocator import keep_freed_memory
from s2mnet.engines import build
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet_lab.bench.contestants import FORMS, Contestant
from s2mnet_lab.bench.record import Case

Job = Callable[[], object]


def network_job(contestant: Contestant, case: Case, form: str, device: str, loss: nn.Module | None = None) -> Job:
    """One inference (section "network") or training step (any other section) of a fresh network, to call repeatedly.

    A training step is forward, loss (default: Dice + cross-entropy), backward and a step of AdamW. bf16 is by autocast,
    as in training and prediction.
    """
    network = contestant.build(case.size).to(device, memory_format=FORMS[form])  # type: ignore[call-overload]
    images = torch.rand(case.batch, 3, case.size, case.size, device=device).contiguous(memory_format=FORMS[form])
    autocast = torch.autocast(device, torch.bfloat16, enabled=case.precision == "bf16")
    network.train(case.section != "network")
    if contestant.compiled:
        network = torch.compile(network, dynamic=False)
    if case.section == "network":
        if contestant.engine:
            engine = build(network, contestant.engine, case.precision)
            return lambda: _without_gradients(engine, images)

        def infer() -> Tensor:
            with torch.inference_mode(), autocast:
                return network(images)

        return infer
    if contestant.engine:
        raise ValueError(f"the engine {contestant.engine} only predicts")
    masks = disc(case.batch, case.size, device)
    criterion = (loss or DiceCrossEntropy()).to(device)
    optimiser = torch.optim.AdamW([*network.parameters(), *criterion.parameters()], lr=1e-4, fused=True)

    def step() -> None:
        with autocast:
            logits = network(images)
        criterion(logits, masks).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def beside_others(contestant: Contestant, job: Job) -> Job:
    """The job, run without keeping freed memory if its contestant runs so; the process keeps it for the others."""

    def turn() -> None:
        keep_freed_memory(False)
        try:
            job()
        finally:
            keep_freed_memory()

    return job if contestant.keeps_memory else turn


@torch.no_grad()
def _without_gradients(engine: nn.Module, images: Tensor) -> Tensor:
    return engine(images)


def disc(batch: int, size: int, device: str) -> Tensor:
    """A ground-truth mask with a disc, int64 (B, size, size).

    Example:
        >>> round(disc(2, 64, "cpu").float().mean().item(), 2)
        0.2
    """
    row = torch.arange(size, device=device) - (size - 1) / 2
    return (row[:, None] ** 2 + row**2 <= (size / 4) ** 2).long().expand(batch, size, size).contiguous()


def faster_form(contestant: Contestant, case: Case, device: str) -> str:
    """The memory format in which one image of the case is faster, after a call to warm up."""
    if len(contestant.forms) == 1:
        return contestant.forms[0]
    one = case.model_copy(update={"batch": 2 if case.section == "train" else 1})

    def seconds(form: str) -> float:
        job = network_job(contestant, one, form, device)
        job()
        return min(timed(job, device) for _ in range(2))

    return min(contestant.forms, key=seconds)


def timed(job: Job, device: str, calls: int = 1) -> float:
    """Seconds of one call: the mean of ``calls``."""
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(calls):
        job()
    _synchronise(device)
    return (time.perf_counter() - start) / calls


def matrix_product(precision: str, device: str) -> tuple[Job, int]:
    """A square matrix product large enough for the machine's peak, by the faster library, and its FLOPs."""
    side = 8192 if device == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    jobs = products(a, b)
    for job in jobs:
        job()
    return min(jobs, key=lambda job: min(timed(job, device) for _ in range(2))), 2 * side**3


def products(a: Tensor, b: Tensor) -> list[Job]:
    """a·b by each library that multiplies matrices in PyTorch, to call repeatedly.

    On a CPU, matrix products use MKL and convolutions use oneDNN, which is a sixth faster on AMD. With a peak measured
    by the slower library, a convolutional network could exceed 100 % of it.

    Shape:
        a (M, K), b (K, N) → (M, N) from the first, (1, N, M, 1) from the second, which is a 1×1 convolution.
    """
    out = a.new_empty(len(a), b.shape[1])
    if a.device.type != "cpu":
        return [lambda: torch.mm(a, b, out=out)]
    # A view, because the strides of axes of length 1 also decide whether a map is channels-last.
    pixels = a.contiguous().view(1, len(a), 1, -1).permute(0, 3, 1, 2)
    kernel = b.t().contiguous()[..., None, None]
    return [lambda: torch.mm(a, b, out=out), lambda: nn.functional.conv2d(pixels, kernel)]


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
