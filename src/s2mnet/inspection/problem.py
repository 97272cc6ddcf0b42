"""One thing that is wrong with a data folder: the file, what it means and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from s2mnet.errors import S2MNetError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MAX_FILES = 20


class Problem(BaseModel):
    """A problem of a data folder.

    Attributes:
        severity: "error": training refuses the folder. "warning": it trains, but the result or its figures may mean
            nothing. "note": good to know.
        kind: a short name, such as "unreadable" or "near across".
        file: the first file at fault, as a path inside the folder; "" for the folder itself.
        files: the files at fault, at most 20.
        count: how many there are.
        found: what was found.
        means: what it means for training or for the figures.
        mend: what to do about it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity
    kind: str
    file: str
    files: list[str]
    count: int
    found: str
    means: str
    mend: str


def problem(
    severity: Severity, kind: str, files: Sequence[str], found: str, means: str, mend: str, count: int | None = None
) -> Problem:
    """A problem of some files; none stands for the whole folder.

    Example:
        >>> problem("note", "empty masks", ["masks/a.png"], "1 mask", "It counts.", "Check it.").file
        'masks/a.png'
    """
    return Problem(
        severity=severity,
        kind=kind,
        file=files[0] if files else "",
        files=list(files[:MAX_FILES]),
        count=len(files) if count is None else count,
        found=found,
        means=means,
        mend=mend,
    )


def from_error(kind: str, error: S2MNetError, root: Path) -> Problem:
    """What would have stopped the training, as a problem.

    Example:
        >>> error = S2MNetError("data/masks/a.png", "an empty file", "a mask", "Export it again.")
        >>> from_error("unreadable", error, Path("data")).file
        'masks/a.png'
    """
    file = inside(error.where, root)
    means = f"Training refuses the folder; it expects {error.expected}."
    return problem("error", kind, [file] if file else [], error.found, means, error.mend)


def inside(path: str | Path, root: Path) -> str:
    """The path inside the folder, with forward slashes, "" for the folder itself; another place stays as it is.

    Example:
        >>> inside("data/images/a.png", Path("data")), inside("data", Path("data")), inside("--labels", Path("data"))
        ('images/a.png', '', '--labels')
    """
    path = Path(path)
    return path.relative_to(root).as_posix().removeprefix(".") if path.is_relative_to(root) else str(path)
