"""``docs/reliability.md``: one section for each command, with the figures of its last run."""

from __future__ import annotations

import re
from pathlib import Path

from s2mnet.files import write_atomically
from s2mnet.provenance import environment

TITLE = "# Reliability\n\nThe last figures of the commands below. A short form of each command is in the tests.\n"


def write_section(page: Path, title: str, text: str) -> None:
    """Replace, or append, the section of this title; the commit and the date are added.

    Example:
        >>> import tempfile
        >>> page = Path(tempfile.mkdtemp(), "page.md")
        >>> for text in ("Old.", "New."):
        ...     write_section(page, "Kills", text)
        >>> page.read_text().count("## Kills"), "Old" in page.read_text()
        (1, False)
    """
    facts = environment()
    commit, date = (facts["commit"] or "of no checkout")[:12], facts["date"][:10]
    section = f"\n## {title}\n\n{text.strip()}\n\nMeasured on {date}, commit {commit}, Python {facts['python']}.\n"
    content = page.read_text(encoding="utf-8") if page.is_file() else TITLE
    held = re.compile(rf"\n## {re.escape(title)}\n.*?(?=\n## |\Z)", re.DOTALL)
    changed = held.sub(lambda _: section, content) if held.search(content) else content + section
    write_atomically(page, changed.encode())
