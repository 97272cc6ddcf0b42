"""Numbers and lists as people write them, for messages, tables and pages."""

from __future__ import annotations

from collections.abc import Sequence


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
