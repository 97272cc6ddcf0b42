"""One thing that is wrong with a data folder, in the same words for inspection and training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from s2mnet.errors import S2MNetError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MAX_FILES = 20
MAX_REPORTED = 10


class Problem(BaseModel):
    """A problem of a data folder.

    Attributes:
        severity: "error": training refuses the folder. "warning": it trains, but the result or its figures may be
            meaningless. "note": good to know.
        kind: a short name, such as "unreadable" or "near across".
        where: subject of the sentence that `problem` goes on with: a path inside the folder, "3 masks", "The folder".
        problem: the rest of that sentence, without the full stop.
        means: what it means for training or for the figures, in sentences.
        fix: what to do about it, in sentences.
        files: the files concerned, as paths inside the folder, at most 20; none for the folder as a whole.
        count: number of files concerned, or of pairs of look-alikes.

    Example:
        >>> print(Problem(severity="note", kind="empty masks", where="1 of 9 masks", problem="is empty",
        ...     means="It may be right.", fix="Check it."))
        1 of 9 masks is empty. It may be right. Check it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity
    kind: str
    where: str
    problem: str
    means: str
    fix: str
    files: list[str] = []
    count: int = 0

    @property
    def file(self) -> str:
        """The first file concerned; "" for the folder as a whole."""
        return self.files[0] if self.files else ""

    @property
    def sentence(self) -> str:
        """Where and what, as one sentence."""
        alike = (
            f" ({self.count - 1} more files have the same fault)" if self.where == self.file and self.count > 1 else ""
        )
        return f"{self.where} {self.problem}{alike}."

    def __str__(self) -> str:
        return f"{self.sentence} {self.means} {self.fix}"


def from_error(kind: str, error: S2MNetError, root: Path) -> Problem:
    """What stops the training, as a problem.

    Example:
        >>> error = S2MNetError("data/masks/a.png", "is an empty file", "Export it again.")
        >>> print(from_error("unreadable", error, Path("data")))
        masks/a.png is an empty file. Training refuses the folder. Export it again.
    """
    file = inside(error.where, root)
    files, means = [file] if file else [], "Training refuses the folder."
    return Problem(
        severity="error", kind=kind, where=file or "The folder", problem=error.problem, means=means, fix=error.fix,
        files=files, count=len(files),
    )  # fmt: skip


def as_error(problems: Sequence[Problem], root: Path) -> S2MNetError | None:
    """The errors among the problems as one error that names up to ten files; None if there are none.

    Example:
        >>> errors = [S2MNetError(f"d/{name}.png", "is empty", "Export it.") for name in "ab"]
        >>> print(as_error([from_error("unreadable", error, Path("d")) for error in errors], Path("d")))
        d has 2 files with errors. Correct each:
          - a.png is empty. Export it.
          - b.png is empty. Export it.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    total = sum(max(1, problem.count) for problem in errors)
    if total <= 1:
        return S2MNetError(root / errors[0].file, errors[0].problem, errors[0].fix) if errors else None
    lines, left = [], MAX_REPORTED
    for problem in errors:
        if left > 0:
            first, *others = problem.files[:left] or [problem.where]
            also = f" The same fault: {', '.join(others)}." if others else ""
            lines.append(f"  - {first} {problem.problem}. {problem.fix}{also}")
            left -= 1 + len(others)
    more = [f"  - … and {total - MAX_REPORTED} more"] if total > MAX_REPORTED else []
    return S2MNetError(root, f"has {total} files with errors", "\n".join(["Correct each:", *lines, *more]))


def inside(path: str | Path, root: Path) -> str:
    """The path inside the folder, with forward slashes, "" for the folder itself; any other path is unchanged.

    Example:
        >>> inside("data/images/a.png", Path("data")), inside("data", Path("data")), inside("--labels", Path("data"))
        ('images/a.png', '', '--labels')
    """
    path = Path(path)
    if path == root:
        return ""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
