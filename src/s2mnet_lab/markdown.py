"""Tables and links in Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. All columns but the first are right-aligned.

    Example:
        >>> print(table(("a", "b"), [("x", "1")]))
        | a | b |
        |---|--:|
        | x | 1 |
    """
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    bars = ["|" + "|".join(line) + "|" if line[0] == "---" else "| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(bars)


def relative(file: Path, page: Path) -> str:
    """The path of a file in a link on a page.

    Example:
        >>> relative(Path("results/a.json"), Path("docs/page.md"))
        '../results/a.json'
    """
    return Path(os.path.relpath(file, page.parent)).as_posix()
