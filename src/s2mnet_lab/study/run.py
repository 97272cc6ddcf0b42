"""Running a study: one cell after another, each from its plan to its result file, and no cell twice."""

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
from rich.markup import escape

from s2mnet.architecture import OURS
from s2mnet.console import Console
from s2mnet.data import ImageFolder, find_cases, read_image
from s2mnet.datasets import prepare
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import Fingerprint, read_folder
from s2mnet.modelfolder import WEIGHTS
from s2mnet.plan import Plan, make_plan
from s2mnet.prediction import Predictor
from s2mnet.progress import progress_bar
from s2mnet.provenance import environment
from s2mnet.training.run import PLAN, has_finished_epoch, train
from s2mnet.training.state import STATE
from s2mnet.workflow import evaluate_cases
from s2mnet_lab.peers import peer
from s2mnet_lab.study.result import CellResult, Measured, identify, load_result, result_path, save_result
from s2mnet_lab.study.spectrum.charts import draw_reconstructions
from s2mnet_lab.study.spectrum.folder import measure_folder
from s2mnet_lab.study.spectrum.page import REPORTED_KS
from s2mnet_lab.study.spectrum.result import SpectrumResult
from s2mnet_lab.study.study import OWN_COMMANDS, Cell, DataChoice, Study


@dataclass(frozen=True)
class Places:
    """Folders of a study.

    Attributes:
        data: a folder with a folder for each data set, as downloaded.
        results: the result files, ``STUDY/DATASET/VARIANT-SEED.json``.
        work: prepared data, models, and the state of stopped trainings.
    """

    data: Path
    results: Path
    work: Path


@dataclass(frozen=True)
class Selection:
    """Which cells of a study to run. Empty: all."""

    datasets: Sequence[str] = ()
    variants: Sequence[str] = ()
    seeds: Sequence[int] = ()

    def holds(self, cell: Cell) -> bool:
        """Whether a cell is selected; the seed does not matter for trials of the search."""
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
    """Run the cells that have no result yet, and return those that finished now.

    Several processes can share a study: a cell that another process is running is skipped. A cell that was stopped
    resumes from its last finished epoch.

    Args:
        study: what to run.
        places: where data, results and models are.
        selection: only these cells.
        minutes: stop after this time, in the middle of a training if necessary.
        console: for progress messages.
        command: recorded in the results.

    Raises:
        S2MNetError: ``selection`` names something that the study does not have; data are missing; a result file is
            invalid; at the end, if any cells failed.
        KeyboardInterrupt: the user interrupted it.
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
            console.print(f"{cell} is waiting for {waiting}")
            continue
        folder = places.work / study.name / str(cell)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                if _is_done(study, cell, places):
                    continue  # finished by another process in the meantime
                if end.reached():
                    break
                console.print(f"[bold]{study.name}[/] {cell} ({number} of {len(cells)}, {done} done)")
                run = _measure_cell if study.measure == "spectrum" else _run_cell
                result = run(study, cell, places, folder, end, console, command)
                save_result(result, result_path(places.results, study, cell))
        except Timeout:
            console.print(f"{cell} is being run by another process")
            continue
        except KeyboardInterrupt:
            if not end.reached():
                raise
            break
        except S2MNetError as error:  # such as a loss that is not a number; the other cells can still run
            console.print(f"[red]{escape(str(error))}[/]")
            failed.append(str(cell))
            continue
        done += 1
        finished.append(cell)
    if failed:
        problem = f"failed in {len(failed)} of {len(cells)} cells, for the reasons above: {', '.join(failed)}"
        raise S2MNetError(f"{study.name}.yaml", problem, "Fix the causes and start the study again.")
    return finished


def make_cell_plan(study: Study, cell: Cell, fingerprint: Fingerprint, lr: float | None = None) -> Plan:
    """The plan of a cell: the plan of the data set with the changes of the variant.

    Args:
        study, cell: which cell.
        fingerprint: of training and validation images.
        lr: chosen by the search.

    Raises:
        S2MNetError: the study sets an option that a plan does not have.
    """
    variant, trial = study.variants[cell.variant], study.search if cell.lr else None
    # Networks are compared from random weights unless the study says otherwise.
    options = {"start": "none", **study.plan, **study.data[cell.dataset].plan, **variant.plan, "seed": cell.seed}
    options |= {"steps": trial.steps} if trial else {}
    rate = cell.lr or lr
    options |= {"lr": rate} if rate else {}
    try:
        plan = make_plan(fingerprint, **options)
    except TypeError as error:
        problem = f"sets an option under plan that does not exist ({error})"
        raise S2MNetError(f"{study.name}.yaml", problem, "Use the options of s2mnet.plan.make_plan.") from None
    architecture, arguments = OURS, plan.network
    if variant.architecture != OURS:
        other = peer(variant.architecture)
        architecture, arguments = other.architecture, other.arguments_at(plan.preprocessing.size[0])
    options_of_loss = plan.loss_options if variant.loss == "masl" else {}
    changes = {
        "architecture": architecture,
        "network": {**arguments, **variant.network},
        "loss": variant.loss,
        "loss_options": {**options_of_loss, **variant.loss_options},
        "tta": study.tta,
        "reasons": {},
    }
    return plan.model_copy(update=changes)


def prepared_folder(name: str, choice: DataChoice, places: Places) -> ImageFolder:
    """The cases of a data set; a public set is prepared once."""
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
    """Stops a training when the time of the whole study is up; the training can resume from its last finished epoch."""

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
    folder, fingerprint = read_set(cell.dataset, choice.model_dump_json(), places)
    best_trial = max(_trials(study, cell, places), key=lambda trial: trial.best_dice, default=None)
    plan = make_cell_plan(study, cell, fingerprint, best_trial.lr if best_trial else None)
    if (run / PLAN).is_file() and Plan.load(run / PLAN) != plan:
        shutil.rmtree(run / STATE, ignore_errors=True)  # left by an earlier form of the study
    clock = time.process_time if study.clock == "processor" else time.monotonic
    history = train(_without_test(folder), plan, run, has_finished_epoch(run), console, [end], clock=clock)
    best = max(history, key=lambda record: record["val_dice"])
    started = time.monotonic()
    # No test image is opened before this point, where the model has been chosen.
    predictor = Predictor(run, engine="torch")
    test, elsewhere = None, {}
    if cell.lr is None:
        cases = folder.cases_of(study.split)
        test = Measured.of(evaluate_cases(predictor, cases, study.split, None, console))
        for name in choice.also_test:
            other = (study.data | study.others)[name]
            cases = prepared_folder(name, other, places).cases_of("all")
            elsewhere[name] = Measured.of(evaluate_cases(predictor, cases, "all", None, console))
    return CellResult(
        study=study.name,
        dataset=cell.dataset,
        variant=cell.variant,
        seed=cell.seed,
        lr=cell.lr,
        declared=study.declared(cell),
        plan=plan.model_dump(mode="json", exclude={"reasons"}),
        environment=environment(),
        command=command,
        split=identify(folder),
        parameters=sum(p.numel() for p in predictor.network.parameters()),
        model_sha256=hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest(),
        history=history,
        best_epoch=best["epoch"],
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
        spectrum = measure_folder(folder, places.work / network if network else None, progress)
    # Pictures of images stay with the data, so that only people with access to the data see them.
    draw_reconstructions(read_image(folder.splits["val"][0].image), (*REPORTED_KS, None), run / "reconstructions.png")
    return spectrum.model_copy(update={"environment": {**environment(), "command": command}})


def _is_done(study: Study, cell: Cell, places: Places) -> bool:
    if study.measure == "spectrum":
        return result_path(places.results, study, cell).is_file()
    return load_result(places.results, study, cell) is not None


def _waits_for(study: Study, cell: Cell, places: Places) -> str:
    """What must finish first; empty if the cell can run."""
    if study.measure == "spectrum":
        network = study.networks.get(cell.dataset)
        return network if network and not (places.results / f"{network}.json").is_file() else ""
    if command := OWN_COMMANDS.get(study.variants[cell.variant].architecture):
        return f"its own command, {command}"
    left = len(_rates(study, cell)) - len(_trials(study, cell, places))
    return f"{left} trials of its learning rate" if left else ""


@lru_cache(maxsize=4)
def read_set(name: str, choice: str, places: Places) -> tuple[ImageFolder, Fingerprint]:
    """The cases of a data set of a study, and their fingerprint without the test images.

    Args:
        name: of the data set.
        choice: its :class:`DataChoice`, as JSON.
        places: where downloaded and prepared data are.
    """
    folder = prepared_folder(name, DataChoice.model_validate_json(choice), places)
    with progress_bar(f"reading {name}") as progress:
        return folder, read_folder(_without_test(folder), progress=progress)


def _without_test(folder: ImageFolder) -> ImageFolder:
    return replace(folder, splits={**folder.splits, "test": []})


def _rates(study: Study, cell: Cell) -> list[float]:
    """The learning rates to try before the cell can run."""
    return study.search.lr if study.search and cell.lr is None else []


def _trials(study: Study, cell: Cell, places: Places) -> list[CellResult]:
    """The finished trials of those rates."""
    trials = [Cell(cell.dataset, cell.variant, study.search.seed, lr) for lr in _rates(study, cell) if study.search]
    return [result for trial in trials if (result := load_result(places.results, study, trial)) is not None]


def _check_data(study: Study, datasets: Set[str], places: Places) -> None:
    """Refuse to start a study with missing data, rather than fail at every cell."""
    choices = {name: study.data[name] for name in sorted(datasets)}
    tested_on = {name: (study.data | study.others)[name] for choice in choices.values() for name in choice.also_test}
    sources = [
        places.data / (choice.folder or name)
        for name, choice in {**choices, **tested_on}.items()
        if choice.folder or not _prepared(name, places)
    ]
    missing = [source for source in sources if not source.exists()]
    if missing:
        names = ", ".join(source.name for source in missing)
        problem = f"has no {names}; {study.name}.yaml needs a folder for each of its data sets, as downloaded"
        raise S2MNetError(places.data, problem, "Name the folder with --data, or choose sets with --dataset.")


def _check(study: Study, selection: Selection) -> None:
    for option, asked, known in (
        ("--dataset", selection.datasets, study.data),
        ("--variant", selection.variants, study.variants),
        ("--seed", selection.seeds, study.seeds),
    ):
        for name in asked:
            if name not in known:
                problem = f"names {name!r}, which {study.name}.yaml does not have"
                raise S2MNetError(option, problem, f"Choose from: {', '.join(map(str, known))}.")
