"""The terminal: what is printed may hold names from anywhere, so control characters are shown and not obeyed."""

from __future__ import annotations

from typing import Any

import rich.console
from rich.text import Text

from s2mnet.text import shown


class Console(rich.console.Console):
    r"""Rich's console, which escapes control characters in every text and table cell.

    Example:
        >>> Console(width=40).print("mask of a\\x1b[2J.png")
        mask of a\x1b[2J.png
    """

    def render_str(self, text: str, **options: Any) -> Text:  # type: ignore[override]
        return super().render_str(shown(text), **options)
