"""What the readers of the public sets share: listing files, pairing them, and masks as class indices."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from s2mnet.data import LabelMap, read_mask
from s2mnet.data.images import is_image_file
from s2mnet.errors import S2MNetError

_MAX_PNM = 256 * 2**20  # bytes; the images of STARE have 1.3 million
_ABOVE_HALF = LabelMap(kind="threshold", values=[0, 255])


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Sorting key by which frame 2 comes before frame 10.

    Example:
        >>> sorted(["10", "2", "a10", "a2"], key=natural)
        ['2', '10', 'a2', 'a10']
    """
    parts = [part for part in re.split(r"([0-9]+)", text) if part]
    return [(False, int(part), "") if part[0] in "0123456789" else (True, 0, part) for part in parts]


def by_stem(folder: Path, pattern: str = "*", without: str = "") -> dict[str, Path]:
    """Image files of a folder by stem, in natural order; those whose stem ends with ``without`` are passed over.

    Raises:
        S2MNetError: two files with one stem.
    """
    kept: dict[str, Path] = {}
    for file in folder.glob(pattern):
        if not is_image_file(file) or (without and file.stem.endswith(without)):
            continue
        if file.stem in kept:
            found = f"two files with one stem: {kept[file.stem].name} and {file.name}"
            raise S2MNetError(folder, found, "one file per stem", "Take one of the two away.")
        kept[file.stem] = file
    return {stem: kept[stem] for stem in sorted(kept, key=natural)}


def pairs(images: dict[str, Path], masks: dict[str, Path], mask_stem: str = "{}") -> dict[str, tuple[Path, Path]]:
    """Image and mask by the stem of the image.

    Args:
        images, masks: files by stem.
        mask_stem: how the mask of an image is called, such as "{}_anno".

    Raises:
        S2MNetError: an image without its mask.
    """
    for stem, image in images.items():
        if mask_stem.format(stem) not in masks:
            expected = f"a mask {mask_stem.format(stem)} for it"
            raise S2MNetError(image, "an image without a mask", expected, "Complete the download.")
    return {stem: (image, masks[mask_stem.format(stem)]) for stem, image in images.items()}


def above_half(mask: Path) -> np.ndarray:
    """1 where a mask is above 127, for masks with the noise of JPEG; uint8 (H, W)."""
    return _ABOVE_HALF.encode(read_mask(mask), mask)


def foreground(mask: Path) -> np.ndarray:
    """1 where a two-valued mask, 0 and 1 or 0 and 255, has its higher value; uint8 (H, W)."""
    raw = read_mask(mask)
    return (raw > (127 if raw.max() > 1 else 0)).astype(np.uint8)


def nonzero(mask: Path) -> np.ndarray:
    """1 where a mask is above 0, for instance labels; uint8 (H, W)."""
    return (read_mask(mask) > 0).astype(np.uint8)


def read_pnm(path: Path) -> np.ndarray:
    """A ppm or pgm file, gzipped or not, as uint8 (H, W) or (H, W, 3).

    Raises:
        S2MNetError: the file cannot be read.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(_MAX_PNM)
        with Image.open(io.BytesIO(content), formats=["PPM"]) as image:
            return np.array(image)
    except (OSError, EOFError, zlib.error, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise S2MNetError(path, f"a damaged file ({error})", "a ppm image", "Download it again.") from None
