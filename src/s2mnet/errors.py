"""The one error a user sees: which file, what was found, what was expected, how to mend it."""

from __future__ import annotations

from pathlib import Path


class S2MNetError(Exception):
    """Bad input, said in one message. The command line prints it and exits with status 2; no traceback.

    Args:
        where: the file, folder or argument at fault.
        found: what is there.
        expected: what should have been there.
        mend: what the user can do about it, as an imperative sentence.

    Example:
        >>> print(S2MNetError("masks/a.png", "an empty file", "a PNG image", "Export the mask again."))
        masks/a.png: found an empty file; expected a PNG image. Export the mask again.
    """

    def __init__(self, where: str | Path, found: str, expected: str, mend: str) -> None:
        self.where, self.found, self.expected, self.mend = str(where), found, expected, mend
        super().__init__(f"{where}: found {found}; expected {expected}. {mend}")
