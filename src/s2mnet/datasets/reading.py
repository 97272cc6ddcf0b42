"""What the readers of the public sets share: listing files, pairing them, and masks as class indices."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from s2mnet.data import LabelMap, read_mask
from s2mnet.data.images import is_image_file
from s2mnet.data.splits import Split
from s2mnet.datasets.record import Download, Record
from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded

COMPLETE = "Complete the download."
_MAX_PNM = 256 * 2**20  # bytes; the images of STARE have 1.3 million
_ABOVE_HALF = LabelMap(kind="threshold", values=[0, 255])

Mask = TypeVar("Mask")
MaskReader = Callable[[Path], np.ndarray]


class Place(NamedTuple):
    """Globs of the images and the masks of a download, and the stem of the mask of an image."""

    images: str
    masks: str
    mask_stem: str = "{}"


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Sorting key that puts frame 2 before frame 10.

    Example:
        >>> sorted(["10", "2", "a10", "a2"], key=natural)
        ['2', '10', 'a2', 'a10']
    """
    parts = [part for part in re.split(r"([0-9]+)", text) if part]
    return [(False, int(part), "") if part[0] in "0123456789" else (True, 0, part) for part in parts]


def by_stem(folder: Path, pattern: str = "*", without: str = "") -> dict[str, Path]:
    """List the image files of a folder by stem, in natural order. Stems that end with ``without`` are skipped.

    Raises:
        S2MNetError: two files with one stem.
    """
    kept: dict[str, Path] = {}
    for file in folder.glob(pattern):
        if not is_image_file(file) or (without and file.stem.endswith(without)):
            continue
        if file.stem in kept:
            problem = f"has two files with one stem: {kept[file.stem].name} and {file.name}"
            raise S2MNetError(folder, problem, "Remove one of the two.")
        kept[file.stem] = file
    return {stem: kept[stem] for stem in sorted(kept, key=natural)}


def pairs(images: dict[str, Path], masks: Mapping[str, Mask], mask_stem: str = "{}") -> dict[str, tuple[Path, Mask]]:
    """Pair image and mask by the stem of the image.

    Args:
        images: files by stem.
        masks: files, or whatever else a mask is read from, by stem.
        mask_stem: the stem of the mask of an image, such as "{}_anno".

    Raises:
        S2MNetError: an image without its mask.
    """
    for stem, image in images.items():
        if mask_stem.format(stem) not in masks:
            raise S2MNetError(image, f"is an image without its mask {mask_stem.format(stem)}", COMPLETE)
    return {stem: (image, masks[mask_stem.format(stem)]) for stem, image in images.items()}


def pair_records(
    files: dict[str, tuple[Path, Path]], split: Mapping[str, Split], read: MaskReader, group: Callable[[str], str] = str
) -> list[Record]:
    """Make records of images and their masks, from the split of each group and the group of each stem."""
    return [
        Record(stem, split[group(stem)], group(stem), image, partial(read, mask))
        for stem, (image, mask) in files.items()
    ]


def find_pairs(
    places: tuple[Place, ...],
    read: MaskReader,
    split: Callable[[Iterable[str]], dict[str, Split]],
    root: Path,
    group: Callable[[str], str] = str,
) -> Download:
    """List the records of a set whose images have one mask file each.

    Args:
        places: alternatives; the first with images and masks counts.
        read: a mask file as class indices.
        split: the split of each group.
        root: the folder of the download.
        group: the group of each stem.
    """
    place = next(place for place in places if all(any(root.glob(pattern)) for pattern in place[:2]))
    files = pairs(by_stem(root, place.images), by_stem(root, place.masks), place.mask_stem)
    return Download(pair_records(files, split(map(group, files)), read, group))


def check_shapes(arrays: dict[Path, np.ndarray]) -> None:
    """Raise unless the arrays, read from these files, all have the shape of the first."""
    first = next(iter(arrays))
    for file, array in arrays.items():
        if array.shape != arrays[first].shape:
            problem = f"has the shape {array.shape}, and {first.name} has {arrays[first].shape}"
            raise S2MNetError(file, problem, "Download it again.")


def above_half(mask: Path) -> np.ndarray:
    """1 where a mask is above 127, for masks with JPEG noise; uint8 (H, W)."""
    return _ABOVE_HALF.encode(read_mask(mask), mask)


def foreground(mask: Path) -> np.ndarray:
    """1 where a two-valued mask, 0 and 1 or 0 and 255, has its higher value; uint8 (H, W)."""
    raw = read_mask(mask)
    return (raw > (127 if raw.max() > 1 else 0)).astype(np.uint8)


def nonzero(mask: Path) -> np.ndarray:
    """1 where a mask is above 0, for instance labels; uint8 (H, W)."""
    return (read_mask(mask) > 0).astype(np.uint8)


def read_pnm(path: Path) -> np.ndarray:
    """Read a ppm or pgm file, gzipped or not, as uint8 (H, W) or (H, W, 3).

    Raises:
        S2MNetError: the file cannot be read.
    """
    with guarded(path, "is a damaged ppm image", "Download it again."):
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(_MAX_PNM)
        with Image.open(io.BytesIO(content), formats=["PPM"]) as image:
            return np.array(image)
