"""Numbers, lists and foreign names as people can read them, for messages, tables and pages."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control and format characters, surrogates, separators of lines
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "image"), counted(2, "image")
        ('1 image', '2 images')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def listed(names: Sequence[str], most: int | None = None) -> str:
    """Names in one phrase, the rest counted beyond the first ``most``.

    Example:
        >>> listed(["rim"]), listed(["rim", "core", "cyst"]), listed(["a", "b", "c", "d"], most=2)
        ('rim', 'rim, core and cyst', 'a, b and 2 more')
    """
    shown = list(names)
    if most is not None and len(shown) > most:
        shown = [*shown[:most], f"{len(shown) - most} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def shown(text: str, most: int | None = None) -> str:
    """Text with control characters escaped, so that no name can steer a terminal, and cut in the middle.

    Args:
        text: may hold anything; line breaks stay.
        most: number of characters to keep at most, besides the note of how many are left out.

    Example:
        >>> print(shown("a\x1b[2J.png"), shown("0123456789", 4))
        a\\x1b[2J.png 01[… 6 characters …]89
    """
    if most is not None and len(text) > most:
        half = most // 2
        text = f"{text[:half]}[… {len(text) - 2 * half} characters …]{text[len(text) - half :]}"
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode()
        if letter != "\n" and unicodedata.category(letter) in _HIDDEN
        else letter
        for letter in text
    )


def as_cell(text: str) -> str:
    """Text for a cell of a CSV file. A spreadsheet takes some first letters for a formula: an apostrophe stops it.

    Example:
        >>> as_cell("=1+1"), as_cell("a=1"), from_cell(as_cell("=1+1"))
        ("'=1+1", 'a=1', '=1+1')
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def from_cell(text: str) -> str:
    """The text that :func:`as_cell` was given."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text
