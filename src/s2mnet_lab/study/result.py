"""What one cell leaves behind: a JSON file that says everything about one training and its test."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from s2mnet.data import ImageFolder
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.records import Evaluation
from s2mnet.files import write_atomically
from s2mnet_lab.study.study import Cell, Study

DIGITS = 6  # of every number in the file


class SplitIdentity(BaseModel):
    """Which images were in which split.

    Attributes:
        hash: SHA-256 over split, name, and the content of image and mask of every case.
        counts: images of each split.
    """

    model_config = ConfigDict(frozen=True)

    hash: str
    counts: dict[str, int]


class CellResult(BaseModel):
    """One training and its test.

    Attributes:
        study, dataset, variant, seed, lr: which cell this is.
        declared: what the study file said, see :meth:`Study.declared`.
        plan: the whole plan that was followed.
        environment, command: what it was made with, see :func:`s2mnet.provenance.environment`.
        split: of the data.
        parameters: numbers that the network learns.
        model_sha256: of the weights that were tested.
        history: one record an epoch, with the loss's terms and weights.
        best_epoch: the epoch whose model was tested, by validation Dice; ``best_dice``: that Dice.
        seconds: of training, and of the rest.
        test: every metric of every image of the study's split; None for a trial of the search.
        elsewhere: the same on other data sets.
    """

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
    history: list[dict[str, Any]]
    best_epoch: int
    best_dice: float
    seconds: dict[str, float]
    test: Evaluation | None = None
    elsewhere: dict[str, Evaluation] = {}

    def dice(self, where: str | None = None) -> dict[str, float]:
        """Dice by image of the test split, or of another data set: mean over the structures."""
        found = self.elsewhere[where] if where else self.test
        return {case.name: case.mean("dice") for case in found.cases} if found else {}


def save_result(result: BaseModel, path: Path) -> None:
    """Write the file, whole or not at all, numbers with six digits."""
    write_atomically(path, (json.dumps(_rounded(result.model_dump(mode="json")), indent=1) + "\n").encode())


def result_path(results: Path, study: Study, cell: Cell) -> Path:
    """Where the result of a cell lies."""
    return results / study.name / f"{cell}.json"


def load_result(results: Path, study: Study, cell: Cell) -> CellResult | None:
    """The result of a cell, None where there is none yet.

    Raises:
        S2MNetError: the file cannot be read, or is the result of other settings than the study's.
    """
    path = result_path(results, study, cell)
    if not path.is_file():
        return None
    try:
        result = CellResult.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        found = " ".join(str(error).split())[:200]
        raise S2MNetError(path, found, "a result of s2mnet experiment", "Take it away to run it again.") from None
    if result.declared != study.declared(cell):
        changed = [key for key, value in study.declared(cell).items() if result.declared.get(key) != value]
        found = f"a result with another {', '.join(changed)} than {study.name}.yaml says"
        raise S2MNetError(path, found, "one of the same", "Take it away to run it again, or undo the change.")
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


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
