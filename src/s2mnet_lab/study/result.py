"""What a cell leaves behind: a JSON file that says everything about one training and its test."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from s2mnet.data import ImageFolder
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.metrics import Unit
from s2mnet.evaluation.records import Empty, Evaluation, ImageResult, VolumeResult
from s2mnet.files import write_atomically
from s2mnet_lab.study.columns import Records, rounded, to_columns, to_json, to_records
from s2mnet_lab.study.study import Cell, Study

DIGITS = 6
"""Significant digits of every number in a file, unless :data:`FEWER_DIGITS` says otherwise."""
FEWER_DIGITS = {"history": 4, "figures": 3, "val_dice": DIGITS, "dice": DIGITS}
"""Significant digits below a key. The pages are drawn from Dice; the other figures are for readers of the file."""

Columns = Annotated[
    Records,
    BeforeValidator(lambda value: to_records(value) if isinstance(value, dict) else value),
    PlainSerializer(to_columns),
]
"""Records in memory, columns in the file."""


class SplitIdentity(BaseModel):
    """Which images were in which split.

    Attributes:
        hash: SHA-256 over split, name, and the content of image and mask of every case.
        counts: images of each split.
    """

    model_config = ConfigDict(frozen=True)

    hash: str
    counts: dict[str, int]


class Measured(BaseModel):
    """Every metric of every image or volume, as columns.

    Attributes:
        unit: of HD95, and of the tolerance of the surface Dice.
        names: of the images or volumes, in the order of every column.
        figures: structure → metric → one value for each name. IoU is left out: it is Dice / (2 − Dice).
        empty: structure → name → which mask was empty; names with two non-empty masks are left out.
        volumes: the same for the volumes that the images are slices of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: Unit
    names: list[str]
    figures: dict[str, dict[str, list[float]]]
    empty: dict[str, dict[str, Empty]] = {}
    volumes: Measured | None = None

    @classmethod
    def of(cls, evaluation: Evaluation) -> Measured:
        """The figures of an evaluation, without the summaries that follow from them."""
        volumes = evaluation.volumes
        held = _columns(volumes.cases, volumes.unit) if volumes else None
        return _columns(evaluation.cases, evaluation.unit).model_copy(update={"volumes": held})

    def mean(self, metric: str) -> dict[str, float]:
        """The mean over the structures, by name."""
        rows = zip(*(columns[metric] for columns in self.figures.values()), strict=True)
        return dict(zip(self.names, (float(np.mean(row)) for row in rows), strict=True))


class CellResult(BaseModel):
    """One training and its test.

    Attributes:
        format: of the file.
        study, dataset, variant, seed, lr: which cell this is.
        declared: what the study file said, see :meth:`Study.declared`.
        plan: the whole plan that was followed.
        environment, command: what it was made with, see :func:`s2mnet.provenance.environment`.
        split: of the data.
        parameters: how many numbers the network learns.
        model_sha256: of the weights that were tested.
        history: one record per epoch, with the terms and weights of the loss.
        best_epoch: the epoch whose model was tested, chosen by validation Dice.
        seconds: of training, and of the rest.
        test: every metric of every image of the study's split; None for a trial of the search.
        elsewhere: the same on other data sets.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[2] = 2
    study: str
    dataset: str
    variant: str
    seed: int
    lr: float | None
    declared: dict[str, Any]
    plan: dict[str, Any]
    environment: dict[str, Any]
    command: str
    split: SplitIdentity
    parameters: int
    model_sha256: str
    history: Columns
    best_epoch: int
    seconds: dict[str, float]
    test: Measured | None = None
    elsewhere: dict[str, Measured] = {}

    @property
    def best_dice(self) -> float:
        """Validation Dice of the chosen epoch, in 0..1."""
        return float(next(epoch["val_dice"] for epoch in self.history if epoch["epoch"] == self.best_epoch))

    def dice(self, where: str | None = None) -> dict[str, float]:
        """Dice by image of the study's split, or of another data set: mean over the structures."""
        measured = self.elsewhere[where] if where else self.test
        return measured.mean("dice") if measured else {}


def save_result(result: BaseModel, path: Path) -> None:
    """Write the file, whole or not at all."""
    content = rounded(result.model_dump(mode="json"), FEWER_DIGITS, DIGITS)
    write_atomically(path, (to_json(content) + "\n").encode())


def result_path(results: Path, study: Study, cell: Cell) -> Path:
    """Where the result of a cell lies."""
    return results / study.name / f"{cell}.json"


def load_result(results: Path, study: Study, cell: Cell) -> CellResult | None:
    """The result of a cell; None if there is none yet.

    Raises:
        S2MNetError: the file cannot be read, or is the result of other settings than the study's.
    """
    path = result_path(results, study, cell)
    if not path.is_file():
        return None
    try:
        result = CellResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise S2MNetError(path, f"is no result of a study: {reason}", "Delete it to run the cell again.") from None
    if result.declared != study.declared(cell):
        changed = [key for key, value in study.declared(cell).items() if result.declared.get(key) != value]
        problem = f"is the result of another {', '.join(changed)} than {study.name}.yaml declares"
        raise S2MNetError(path, problem, "Delete it to run the cell again, or undo the change in the study.")
    return result


def identify(folder: ImageFolder) -> SplitIdentity:
    """Which images are in which split, by content."""
    total = hashlib.sha256()
    for split, cases in folder.splits.items():
        for case in cases:
            files = [file for file in (case.image, case.mask) if file]
            digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
            total.update(" ".join([split, case.name, *digests, "\n"]).encode())
    counts = {split: len(cases) for split, cases in folder.splits.items()}
    return SplitIdentity(hash=total.hexdigest(), counts=counts)


def _columns(cases: list[ImageResult] | list[VolumeResult], unit: Unit) -> Measured:
    structures = list(cases[0].metrics) if cases else []
    empty = {
        structure: {case.name: case.empty[structure] for case in cases if case.empty[structure] != "neither"}
        for structure in structures
    }
    return Measured(
        unit=unit,
        names=[case.name for case in cases],
        figures={name: _without_iou(to_columns([case.metrics[name] for case in cases])) for name in structures},
        empty={structure: names for structure, names in empty.items() if names},
    )


def _without_iou(columns: dict[str, list[float]]) -> dict[str, list[float]]:
    return {metric: column for metric, column in columns.items() if metric != "iou"}
