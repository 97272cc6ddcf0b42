"""One cell of a study by nnU-Net: its plan, preprocessing, training and prediction, measured like any other cell."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from s2mnet.console import Console
from s2mnet.data import Case, ImageFolder, LabelMap, load_case, read_mask
from s2mnet.device import cpu_cores
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.results import evaluate
from s2mnet.provenance import environment
from s2mnet_lab.nnunet.installation import TRAINER, Installation
from s2mnet_lab.nnunet.raw import identified, split_file, write_images, write_raw
from s2mnet_lab.study.result import CellResult, Measured, identify, load_result, result_path, save_result
from s2mnet_lab.study.run import Places, read_set
from s2mnet_lab.study.study import NNUNET, Cell, Study

CONFIGURATION, SPLIT, DONE = "2d", "splits_final.json", "minutes.json"


@dataclass(frozen=True)
class Work:
    """The folders of nnU-Net for one data set and one training.

    Attributes:
        data: shared by all trainings on these images: the raw images and the preprocessed ones.
        run: of one training.
        dataset: nnU-Net's name of the data set, with its number.
        raw, preprocessed, trained: folders in nnU-Net's own layout.
        images, masks: what it predicts from and to.
    """

    data: Path
    run: Path
    dataset: str

    @property
    def raw(self) -> Path:
        return self.data / "raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        return self.data / "preprocessed" / self.dataset

    @property
    def trained(self) -> Path:
        return self.run / "results" / self.dataset / f"{TRAINER}__nnUNetPlans__{CONFIGURATION}" / "fold_0"

    @property
    def images(self) -> Path:
        return self.run / "images"

    @property
    def masks(self) -> Path:
        return self.run / "masks"

    @property
    def variables(self) -> dict[str, object]:
        """Where nnU-Net finds them, and the processes that it may start: one for each core of this process."""
        return {
            "nnUNet_raw": self.data / "raw",
            "nnUNet_preprocessed": self.data / "preprocessed",
            "nnUNet_results": self.run / "results",
            "nnUNet_def_n_proc": cpu_cores(),
            "nnUNet_n_proc_DA": cpu_cores(),
        }


def run_nnunet(
    study: Study,
    dataset: str,
    seed: int,
    places: Places,
    python: Path,
    minutes: float | None = None,
    console: Console | None = None,
    command: str = "",
) -> Path:
    """Train nnU-Net for a cell of a study, and measure it on the study's split.

    A call that was stopped starts its training anew, unless only the prediction was left.

    Not repeatable to the bit: the seed fixes the first weights, but nnU-Net's augmentation draws without one.

    Args:
        study: a study with a variant of the architecture nnunetv2.
        dataset, seed: which of its cells.
        places: where data, results and models are.
        python: the interpreter of an environment with nnunetv2.
        minutes: of training; None: those of the study. With others, the result is not one of the study.
        console: for progress messages.
        command: recorded in the result.

    Returns:
        The result file.

    Raises:
        S2MNetError: the study has no such cell or no minutes; nnunetv2 is not installed; nnU-Net failed.
    """
    console, tool = console or Console(), Installation(python.absolute())
    cell = _cell(study, dataset, seed)
    minutes = minutes or study.plan.get("minutes")
    if not minutes:
        raise S2MNetError(f"{study.name}.yaml", "declares no minutes under plan", "Name them with --minutes.")
    study = study.model_copy(update={"plan": {**study.plan, "minutes": minutes}})
    path = result_path(places.results, study, cell)
    if load_result(places.results, study, cell):
        console.print(f"{cell} is done: {path}")
        return path
    tool.install_trainer()
    run = places.work.absolute() / study.name / str(cell)
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / ".lock", timeout=0):
            save_result(_train_and_measure(study, cell, places, tool, run, minutes, console, command), path)
    except Timeout:
        raise S2MNetError(run, "is being written by another process", "Wait until it has finished.") from None
    return path


def _cell(study: Study, dataset: str, seed: int) -> Cell:
    variants = [name for name, variant in study.variants.items() if variant.architecture == NNUNET]
    if not variants:
        problem = f"has no variant of the architecture {NNUNET}"
        raise S2MNetError(f"{study.name}.yaml", problem, "Choose another study with --study.")
    cell = Cell(dataset, variants[0], seed)
    if cell not in set(study.cells()):
        sets, seeds = ", ".join(study.data), ", ".join(map(str, study.seeds))
        fix = f"Choose one of the data sets {sets} and of the seeds {seeds}."
        raise S2MNetError(f"{study.name}.yaml", f"has no cell of {dataset} with seed {seed}", fix)
    return cell


def _train_and_measure(
    study: Study,
    cell: Cell,
    places: Places,
    tool: Installation,
    run: Path,
    minutes: float,
    console: Console,
    command: str,
) -> CellResult:
    started = time.monotonic()
    folder, fingerprint = read_set(cell.dataset, study.data[cell.dataset].model_dump_json(), places)
    labels = fingerprint.label_map
    if labels is None:
        raise S2MNetError(folder.root, "has masks without a clear meaning", "Name the classes in dataset.yaml.")
    data = places.work.absolute() / "nnunet" / f"{cell.dataset}-{identify(folder).hash[:12]}"
    work, log = Work(data, run, f"Dataset001_{cell.dataset}"), run / "nnunet.log"
    _prepare(work, folder, labels, tool, log, console)
    variables = work.variables | {
        "S2MNET_MINUTES": minutes,
        "S2MNET_SEED": cell.seed,
        "S2MNET_THREADS": cpu_cores(),
    }
    common = ("-tr", TRAINER, "-device", "cpu")
    if not _is_trained(work, minutes):
        for left in (work.trained.parents[1], work.images, work.masks):
            shutil.rmtree(left, ignore_errors=True)
        console.print(f"{cell}: nnU-Net trains for {minutes:g} minutes")
        tool.call("nnUNetv2_train", 1, CONFIGURATION, 0, *common, log=log, **variables)
    # No test image is opened before this point.
    write_images(identified(folder, study.split), labels, work.images)
    files = ("-i", work.images, "-o", work.masks, "-npp", 0, "-nps", 0, "--continue_prediction")
    model = ("-d", 1, "-c", CONFIGURATION, "-f", 0, *common)
    tool.call("nnUNetv2_predict", *files, *model, log=log, **variables)
    result = record_of(study, cell, work, folder, labels, time.monotonic() - started, command)
    dice = float(np.mean(list(result.dice().values())))
    console.print(f"{cell}: Dice {dice:.4f} on {study.split}, {result.best_dice:.4f} on val")
    return result


def _is_trained(work: Work, minutes: float) -> bool:
    """Whether an earlier call was stopped after the training and its validation: then only the prediction is left."""
    validated = (work.trained / "validation" / "summary.json").is_file()
    return validated and json.loads((work.trained / DONE).read_text())["minutes"] == minutes


def record_of(
    study: Study, cell: Cell, work: Work, folder: ImageFolder, labels: LabelMap, seconds: float, command: str
) -> CellResult:
    """The record of a finished cell, from the files that nnU-Net has written.

    Its history has one epoch, the last, with the validation Dice of nnU-Net's own final validation.

    Args:
        study, cell: which cell it is.
        work: where the files are.
        folder, labels: the images, and what their masks mean.
        seconds: that everything took.
        command: what was called.
    """
    done = json.loads((work.trained / DONE).read_text())
    plans = json.loads((work.trained.parent / "plans.json").read_text())
    validated = _measure(identified(folder, "val"), work.trained / "validation", labels, "val")
    val_dice = float(np.mean(list(validated.mean("dice").values())))
    return CellResult(
        study=study.name,
        dataset=cell.dataset,
        variant=cell.variant,
        seed=cell.seed,
        lr=None,
        declared=study.declared(cell),
        plan={"name": plans["plans_name"], **plans["configurations"][CONFIGURATION]},
        environment={**environment(), **done["environment"]},
        command=command,
        split=identify(folder),
        parameters=done["parameters"],
        model_sha256=hashlib.sha256((work.trained / "checkpoint_final.pth").read_bytes()).hexdigest(),
        history=[{**{name: done[name] for name in ("epoch", "steps", "seconds")}, "val_dice": val_dice}],
        best_epoch=done["epoch"],
        seconds={"training": done["seconds"], "testing": seconds - done["seconds"]},
        test=_measure(identified(folder, study.split), work.masks, labels, study.split),
    )


def _prepare(
    work: Work, folder: ImageFolder, labels: LabelMap, tool: Installation, log: Path, console: Console
) -> None:
    """Write the raw images, plan and preprocess, once for all trainings on these images."""
    work.data.mkdir(parents=True, exist_ok=True)
    with FileLock(work.data / ".lock"):
        if (work.preprocessed / SPLIT).is_file():
            return
        console.print(f"{folder.name}: nnU-Net plans and preprocesses")
        write_raw(folder, labels, work.raw)
        count = cpu_cores()
        options = ("-d", 1, "-c", CONFIGURATION, "-npfp", count, "-np", count, "--verify_dataset_integrity", "--clean")
        tool.call("nnUNetv2_plan_and_preprocess", *options, log=log, **work.variables)
        (work.preprocessed / SPLIT).write_text(split_file(folder))


def _measure(cases: Mapping[str, Case], masks: Path, labels: LabelMap, split: str) -> Measured:
    pairs = ((case.name, read_mask(masks / f"{name}.png"), load_case(case, labels)[1]) for name, case in cases.items())
    facts = {case.name: case.facts for case in cases.values()}
    return Measured.of(evaluate(pairs, labels.structures, split=split, facts=facts))
