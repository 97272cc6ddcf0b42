"""What the readers of the public sets share."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from s2mnet.data.images import is_image_file
from s2mnet.errors import S2MNetError

COMPLETE = "Complete the download."


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Sorting key that puts frame 2 before frame 10.

    Example:
        >>> sorted(["10", "2", "a10", "a2"], key=natural)
        ['2', '10', 'a2', 'a10']
    """
    parts = [part for part in re.split(r"([0-9]+)", text) if part]
    return [(False, int(part), "") if part[0] in "0123456789" else (True, 0, part) for part in parts]


def by_stem(folder: Path, pattern: str = "*") -> dict[str, Path]:
    """List the image files of a folder by stem, in natural order.

    Raises:
        S2MNetError: two files with one stem.
    """
    kept: dict[str, Path] = {}
    for file in filter(is_image_file, folder.glob(pattern)):
        if file.stem in kept:
            problem = f"has two files with one stem: {kept[file.stem].name} and {file.name}"
            raise S2MNetError(folder, problem, "Remove one of the two.")
        kept[file.stem] = file
    return {stem: kept[stem] for stem in sorted(kept, key=natural)}


def check_shapes(arrays: dict[Path, np.ndarray]) -> None:
    """Raise unless the arrays, read from these files, all have the shape of the first."""
    first = next(iter(arrays))
    for file, array in arrays.items():
        if array.shape != arrays[first].shape:
            problem = f"has the shape {array.shape}, and {first.name} has {arrays[first].shape}"
            raise S2MNetError(file, problem, "Download it again.")
