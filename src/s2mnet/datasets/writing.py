"""Writing a record into a split of the data folder."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np

from s2mnet.data import read_image, write_mask
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.files import unwritable, write_atomically, write_png


def write_record(record: Record, folder: Path) -> int:
    """Write ``folder/images`` and ``folder/masks`` of a record; gives the number of images.

    An image that is a file is copied as it is. Slices of a volume without any signal, all zero, are left out.

    Raises:
        S2MNetError: a file that cannot be read or written, or an image and a mask of different sizes.
    """
    mask = record.mask()
    pixels = read_image(record.image) if isinstance(record.image, Path) else record.image()
    if pixels.shape[: mask.ndim] != mask.shape:
        sizes = [" × ".join(map(str, shape)) for shape in (pixels.shape[: mask.ndim], mask.shape)]
        found = f"an image of {sizes[0]} and a mask of {sizes[1]} pixels"
        raise S2MNetError(record.name, found, "equal sizes", "Check that the download is complete and unchanged.")
    if isinstance(record.image, Path):
        _copy(record.image, folder / "images" / f"{record.name}{record.image.suffix.lower()}")
        write_mask(folder / "masks" / f"{record.name}.png", mask)
        return 1
    if not record.volume:
        _write_pair(folder, record.name, pixels, mask)
        return 1
    kept = [number for number, image in enumerate(pixels) if image.any()]
    for number in kept:
        _write_pair(folder, f"{record.name}_slice{number:03d}", pixels[number], mask[number])
    return len(kept)


def _write_pair(folder: Path, name: str, pixels: np.ndarray, mask: np.ndarray) -> None:
    if pixels.dtype.kind == "f" or (pixels.ndim == 3 and pixels.shape[2] > 3):  # what a PNG cannot hold
        _write_tiff(folder / "images" / f"{name}.tif", pixels)
    else:
        write_png(folder / "images" / f"{name}.png", pixels)
    write_mask(folder / "masks" / f"{name}.png", mask)


def _write_tiff(path: Path, pixels: np.ndarray) -> None:
    import tifffile

    buffer = io.BytesIO()
    planar = "contig" if pixels.ndim == 3 else None
    tifffile.imwrite(buffer, pixels, photometric="minisblack", planarconfig=planar, compression="zlib", metadata=None)
    write_atomically(path, buffer.getvalue())


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise unwritable(target, error) from None
