"""The one error that a user sees: where, what the problem is, and what fixes it."""

from __future__ import annotations

from pathlib import Path

from s2mnet.text import shown

WHERE, PROBLEM, FIX = 600, 1_500, 60_000  # longest parts of a message; a fix may list hundreds of files


class S2MNetError(Exception):
    """Bad input, reported in one message. The command line prints it and exits with status 2; no traceback.

    Names and values from files may hold anything, so control characters are escaped and long parts are cut.

    Args:
        where: the file, folder or argument at fault. It is the subject of the first sentence.
        problem: the rest of that sentence, without the full stop: "is empty", "has 3 channels; the model needs 1".
        fix: what the user can do about it: one or more imperative sentences.

    Example:
        >>> print(S2MNetError("masks/a.png", "is an empty file", "Export the mask again."))
        masks/a.png is an empty file. Export the mask again.
    """

    def __init__(self, where: str | Path, problem: str, fix: str) -> None:
        self.where = shown(str(where), WHERE).replace("\n", "\\n")  # lists of files have lines; a name has none
        self.problem = shown(problem, PROBLEM)
        self.fix = shown(fix, FIX)
        super().__init__(f"{self.where} {self.problem}. {self.fix}")
