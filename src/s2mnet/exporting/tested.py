"""What a run folder says of the test of its model: figures, and the data that it was tested on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from s2mnet.data import Case, ImageFolder, find_cases
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.records import Evaluation
from s2mnet.evaluation.results import JSON_NAME, load


class Tested(NamedTuple):
    """The test of a run: its figures, the split, and the data folder as it was given (it may be gone)."""

    evaluation: Evaluation
    split: str
    data: Path

    def folder(self) -> ImageFolder | None:
        """The data folder, or None if it cannot be read any more."""
        try:
            return find_cases(self.data)
        except S2MNetError:
            return None

    def cases(self) -> list[Case]:
        """The images that the model was tested on; none if they are gone."""
        folder = self.folder()
        return folder.cases_of(self.split) if folder else []


def tested(run: Path) -> Tested | None:
    """The test that ``s2mnet train`` ended with; None for a model without one.

    Raises:
        S2MNetError: its record is damaged.
    """
    for split in ("test", "val"):
        folder = run / "evaluation" / split
        if (folder / JSON_NAME).is_file():
            evaluation = load(folder)
            return Tested(evaluation, split, Path(str(evaluation.context.get("data", ""))))
    return None
