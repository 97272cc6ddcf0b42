"""Running a study: one cell after the other, each from its plan to its result file, and no cell twice."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape

from s2mnet.architecture import OURS
from s2mnet.data import ImageFolder, find_cases, read_image
from s2mnet.datasets import prepare
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import Fingerprint, read_folder
from s2mnet.modelfolder import WEIGHTS
from s2mnet.plan import Plan, make_plan
from s2mnet.prediction import Predictor
from s2mnet.progress import progress_bar
from s2mnet.provenance import environment
from s2mnet.training.callbacks import STATE
from s2mnet.training.run import PLAN, has_finished_epoch, train
from s2mnet.workflow import evaluate_cases
from s2mnet_lab.study.result import CellResult, identify, load_result, result_path, save_result
from s2mnet_lab.study.spectrum import SpectrumResult
from s2mnet_lab.study.spectrum_page import REPORTED_KS, draw_reconstructions
from s2mnet_lab.study.spectrum_run import measure_folder
from s2mnet_lab.study.study import Cell, DataChoice, Study


@dataclass(frozen=True)
class Places:
    """Folders of a study.

    Attributes:
        data: holds a folder for each data set, as downloaded.
        results: the result files, ``STUDY/DATASET/VARIANT-SEED.json``.
        work: prepared data, models, and the state of trainings that were stopped.
    """

    data: Path
    results: Path
    work: Path


@dataclass(frozen=True)
class Selection:
    """Which cells of a study to run; empty means all."""

    datasets: Sequence[str] = ()
    variants: Sequence[str] = ()
    seeds: Sequence[int] = ()

    def holds(self, cell: Cell) -> bool:
        """Whether a cell is asked for; trials of the search are, whatever the seed."""
        chosen = ((self.datasets, cell.dataset), (self.variants, cell.variant))
        fits = all(not names or name in names for names, name in chosen)
        return fits and (not self.seeds or cell.lr is not None or cell.seed in self.seeds)


def run_study(
    study: Study,
    places: Places,
    selection: Selection | None = None,
    minutes: float | None = None,
    console: Console | None = None,
    command: str = "",
) -> list[Cell]:
    """Run the cells that have no result yet, and give those that were finished now.

    A cell that another process is at is passed over, so that several processes can share a study. One that was stopped
    goes on from its last finished epoch.

    Args:
        study: what to run.
        places: where data, results and models lie.
        selection: only these cells.
        minutes: stop after so long, in the middle of a training if need be.
        console: what is said goes there.
        command: stands in the results.

    Raises:
        S2MNetError: a name in ``selection`` that the study does not have; data that are not there; a result file at
            fault; at the end, cells that failed.
        KeyboardInterrupt: it was interrupted.
    """
    selection, console = selection or Selection(), console or Console()
    _check(study, selection)
    end = _End(time.monotonic() + 60 * minutes if minutes else None)
    cells = [cell for cell in study.cells() if selection.holds(cell)]
    pending = {cell for cell in cells if not _is_done(study, cell, places)}
    _check_data(study, {cell.dataset for cell in pending}, places)
    finished: list[Cell] = []
    failed: list[str] = []
    done = len(cells) - len(pending)
    for number, cell in enumerate(cells, 1):
        if cell not in pending:
            continue
        if waiting := _waits_for(study, cell, places):
            console.print(f"{cell}: waits for {waiting}")
            continue
        folder = places.work / study.name / str(cell)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                if _is_done(study, cell, places):
                    continue  # by another process since
                if end.reached():
                    break
                console.print(f"[bold]{study.name}[/] {cell} ({number} of {len(cells)}, {done} done)")
                run = _measure_cell if study.measure == "spectrum" else _run_cell
                result = run(study, cell, places, folder, end, console, command)
                save_result(result, result_path(places.results, study, cell))
        except Timeout:
            console.print(f"{cell}: another process is at it")
            continue
        except KeyboardInterrupt:
            if not end.reached():
                raise
            break
        except S2MNetError as error:  # such as a loss that is not a number: the other cells can still be run
            console.print(f"[red]{escape(str(error))}[/]")
            failed.append(str(cell))
            continue
        done += 1
        finished.append(cell)
    if failed:
        found = f"{len(failed)} cells that failed, for the reasons above: {', '.join(failed)}"
        raise S2MNetError(f"{study.name}.yaml", found, "none", "Mend the causes and start it again.")
    return finished


def make_cell_plan(study: Study, cell: Cell, fingerprint: Fingerprint, lr: float | None = None) -> Plan:
    """The plan of a cell: that of the data set, with what the variant changes.

    Args:
        study, cell: which one.
        fingerprint: of training and validation images.
        lr: that the search found.

    Raises:
        S2MNetError: an option that a plan does not have.
    """
    variant, trial = study.variants[cell.variant], study.search if cell.lr else None
    options = {**study.plan, **study.data[cell.dataset].plan, **variant.plan, "seed": cell.seed}
    options |= {"steps": trial.steps} if trial else {}
    rate = cell.lr or lr
    options |= {"lr": rate} if rate else {}
    try:
        plan = make_plan(fingerprint, **options)
    except TypeError as error:
        found = f"an option of plan that there is not ({error})"
        raise S2MNetError(f"{study.name}.yaml", found, "options of make_plan", "Correct it.") from None
    ours = variant.architecture == OURS
    options_of_loss = plan.loss_options if variant.loss == "masl" else {}
    changes = {
        "architecture": variant.architecture,
        "network": {**plan.network, **variant.network} if ours else variant.network,
        "loss": variant.loss,
        "loss_options": {**options_of_loss, **variant.loss_options},
        "tta": study.tta,
        "reasons": {},
    }
    return plan.model_copy(update=changes)


def prepared_folder(name: str, choice: DataChoice, places: Places) -> ImageFolder:
    """The cases of a data set; a public one is prepared once."""
    if choice.folder is not None:
        return find_cases(places.data / choice.folder)
    folder = places.work / "data" / name
    with FileLock(places.work / "data" / f".{name}.lock"):
        if not _prepared(name, places):
            with progress_bar(f"preparing {name}") as progress:
                prepare(name, places.data / name, folder, progress)
    return find_cases(folder)


def _prepared(name: str, places: Places) -> bool:
    return (places.work / "data" / name / "dataset.yaml").is_file()


class _End(pl.Callback):
    """Stops a training when the time of the whole study is over; it goes on from its last finished epoch."""

    def __init__(self, at: float | None) -> None:
        self.at = at

    def reached(self) -> bool:
        return self.at is not None and time.monotonic() >= self.at

    def on_train_batch_start(self, *_: Any) -> None:
        if self.reached():
            raise KeyboardInterrupt


def _run_cell(
    study: Study, cell: Cell, places: Places, run: Path, end: _End, console: Console, command: str
) -> CellResult:
    choice = study.data[cell.dataset]
    folder, fingerprint = _seen(cell.dataset, choice.model_dump_json(), places)
    best_trial = max(_trials(study, cell, places), key=lambda trial: trial.best_dice, default=None)
    plan = make_cell_plan(study, cell, fingerprint, best_trial.lr if best_trial else None)
    if (run / PLAN).is_file() and Plan.load(run / PLAN) != plan:
        shutil.rmtree(run / STATE, ignore_errors=True)  # of a study that said something else then
    history = train(_without_test(folder), plan, run, has_finished_epoch(run), console, [end])
    best = max(history, key=lambda record: record["val_dice"])
    started = time.monotonic()
    # The model is chosen: only now is a test image opened, if at all.
    predictor = Predictor(run, engine="torch")
    test, elsewhere = None, {}
    if cell.lr is None:
        test = evaluate_cases(predictor, folder.cases_of(study.split), study.split, None, console)
        for name in choice.also_test:
            other = (study.data | study.others)[name]
            cases = prepared_folder(name, other, places).cases_of("all")
            elsewhere[name] = evaluate_cases(predictor, cases, "all", None, console)
    return CellResult(
        study=study.name,
        dataset=cell.dataset,
        variant=cell.variant,
        seed=cell.seed,
        lr=cell.lr,
        declared=study.declared(cell),
        plan=plan.model_dump(mode="json"),
        environment=environment(),
        command=command,
        split=identify(folder),
        parameters=sum(p.numel() for p in predictor.network.parameters()),
        model_sha256=hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest(),
        history=history,
        best_epoch=best["epoch"],
        best_dice=best["val_dice"],
        seconds={"training": history[-1]["seconds"], "testing": time.monotonic() - started},
        test=test,
        elsewhere=elsewhere,
    )


def _measure_cell(
    study: Study, cell: Cell, places: Places, run: Path, end: _End, console: Console, command: str
) -> SpectrumResult:
    folder = prepared_folder(cell.dataset, study.data[cell.dataset], places)
    network = study.networks.get(cell.dataset)
    with progress_bar(f"measuring {cell.dataset}", show=not console.quiet) as progress:
        found = measure_folder(folder, places.work / network if network else None, progress)
    # A picture of an image stays beside the data: whoever may see these may see it.
    draw_reconstructions(read_image(folder.splits["val"][0].image), (*REPORTED_KS, None), run / "reconstructions.png")
    return found.model_copy(update={"environment": {**environment(), "command": command}})


def _is_done(study: Study, cell: Cell, places: Places) -> bool:
    if study.measure == "spectrum":
        return result_path(places.results, study, cell).is_file()
    return load_result(places.results, study, cell) is not None


def _waits_for(study: Study, cell: Cell, places: Places) -> str:
    """What has to be finished before; empty if the cell can be run."""
    if study.measure == "spectrum":
        network = study.networks.get(cell.dataset)
        return network if network and not (places.results / f"{network}.json").is_file() else ""
    left = len(_rates(study, cell)) - len(_trials(study, cell, places))
    return f"{left} trials of its learning rate" if left else ""


@lru_cache(maxsize=4)
def _seen(name: str, choice: str, places: Places) -> tuple[ImageFolder, Fingerprint]:
    """The cases, and what is known of them without the test images."""
    folder = prepared_folder(name, DataChoice.model_validate_json(choice), places)
    with progress_bar(f"reading {name}") as progress:
        return folder, read_folder(_without_test(folder), progress=progress)


def _without_test(folder: ImageFolder) -> ImageFolder:
    return replace(folder, splits={**folder.splits, "test": []})


def _rates(study: Study, cell: Cell) -> list[float]:
    """The learning rates that are tried before the cell can run."""
    return study.search.lr if study.search and cell.lr is None else []


def _trials(study: Study, cell: Cell, places: Places) -> list[CellResult]:
    """The finished trials of those."""
    trials = [Cell(cell.dataset, cell.variant, study.search.seed, lr) for lr in _rates(study, cell) if study.search]
    return [found for trial in trials if (found := load_result(places.results, study, trial)) is not None]


def _check_data(study: Study, datasets: Set[str], places: Places) -> None:
    """Refuse to start a study whose data are not there, rather than fail at every cell."""
    choices = {name: study.data[name] for name in sorted(datasets)}
    tested_on = {name: (study.data | study.others)[name] for choice in choices.values() for name in choice.also_test}
    sources = [
        places.data / (choice.folder or name)
        for name, choice in {**choices, **tested_on}.items()
        if choice.folder or not _prepared(name, places)
    ]
    missing = [source for source in sources if not source.exists()]
    if missing:
        found = f"no {', '.join(source.name for source in missing)}"
        expected = f"a folder for each data set of {study.name}.yaml, as downloaded"
        raise S2MNetError(places.data, found, expected, "Name it with --data, or leave sets out with --dataset.")


def _check(study: Study, selection: Selection) -> None:
    for option, asked, known in (
        ("--dataset", selection.datasets, study.data),
        ("--variant", selection.variants, study.variants),
        ("--seed", selection.seeds, study.seeds),
    ):
        for name in asked:
            if name not in known:
                expected = "one of " + ", ".join(map(str, known))
                raise S2MNetError(option, repr(name), expected, f"Name one that {study.name}.yaml has.")
