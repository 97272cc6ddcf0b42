"""Names from configurations, tables and downloads as parts of a path."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

LONGEST = 255  # bytes of a file name, on every common file system
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # by Windows, with any suffix


def safe_stem(name: str, suffix: str = "", distinct: bool = False) -> str:
    """The name as a file name without its suffix: equal to ``name`` where that is safe.

    The result is neither a path nor hidden, fits every common file system, and is not reserved by Windows. If
    anything had to be changed, a hash of the name is appended, so different names stay different.

    Args:
        name: any text.
        suffix: what will be appended to the result, such as ".png".
        distinct: append the hash in any case.

    Example:
        >>> safe_stem("left lung"), safe_stem("../lung"), safe_stem("nul")
        ('left lung', '_._lung-7045bbc7', '_nul-5bc585ee')
        >>> len(safe_stem("ü" * 200, ".nii.gz").encode())
        247
    """
    stem = _UNSAFE.sub("_", name).rstrip(". ")
    stem = f"_{stem[1:]}" if stem.startswith(".") else stem
    stem = f"_{stem}" if _RESERVED.fullmatch(stem) else stem
    room = LONGEST - len(suffix.encode())
    if stem and stem == name and len(stem.encode()) <= room and not distinct:
        return stem
    mark = "-" + hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return stem.encode()[: room - len(mark)].decode(errors="ignore") + mark


def safe_stems(names: Sequence[str], suffix: str = "") -> list[str]:
    """:func:`safe_stem` of names that lie in one folder: distinct for different names, even where case is ignored.

    Example:
        >>> safe_stems(["a", "core", "Core"])
        ['a', 'core-ba213070', 'Core-6e515a0d']
    """
    stems = [safe_stem(name, suffix) for name in names]
    counts = Counter(stem.casefold() for stem in stems)
    return [
        safe_stem(name, suffix, distinct=counts[stem.casefold()] > 1) for name, stem in zip(names, stems, strict=True)
    ]
