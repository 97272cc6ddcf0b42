"""Writing a record into a split of the data folder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from s2mnet.data import read_image, read_mask, write_mask
from s2mnet.data.casetable import CaseFacts
from s2mnet.datasets.record import Record
from s2mnet.datasets.volumes import Slices
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically, write_png
from s2mnet.volumes.slices import with_neighbours


def write_record(record: Record, folder: Path, neighbours: int = 0) -> tuple[dict[str, CaseFacts], str]:
    """Write ``folder/images`` and ``folder/masks`` of a record.

    An image or a mask that is a file is copied unchanged. Slices of a volume that are all zero and have no foreground
    are left out, but still serve as neighbours.

    Args:
        record: the image or volume.
        folder: of the split.
        neighbours: slices on either side that become channels of each slice of a volume.

    Returns:
        The facts of each image by name, and the orientation of slices, see :class:`Slices`.

    Raises:
        S2MNetError: a file cannot be read or written, or an image and its mask differ in size.
    """
    mask = read_mask(record.mask) if isinstance(record.mask, Path) else record.mask()
    image = read_image(record.image) if isinstance(record.image, Path) else record.image()
    pixels = image.pixels if isinstance(image, Slices) else image
    if pixels.shape[: mask.ndim] != mask.shape:
        sizes = [" × ".join(map(str, shape)) for shape in (pixels.shape[: mask.ndim], mask.shape)]
        problem = f"has an image of {sizes[0]} and a mask of {sizes[1]} pixels"
        raise S2MNetError(record.name, problem, "Check that the source is complete and unchanged.")
    if isinstance(image, Slices):
        return _write_slices(record, folder, image, mask, neighbours), image.orientation
    if isinstance(record.image, Path):
        _copy(record.image, folder / "images", record.name)
    else:
        _write_image(folder, record.name, pixels)
    if isinstance(record.mask, Path):
        _copy(record.mask, folder / "masks", record.name)
    else:
        write_mask(folder / "masks" / f"{record.name}.png", mask)
    return {record.name: CaseFacts(patient=record.group if record.group != record.name else None)}, ""


def _copy(file: Path, folder: Path, name: str) -> None:
    write_atomically(folder / f"{name}{file.suffix.lower()}", file.read_bytes())


def _write_slices(
    record: Record, folder: Path, slices: Slices, mask: np.ndarray, neighbours: int
) -> dict[str, CaseFacts]:
    slice_mm, row_mm, column_mm = slices.spacing
    stacked, facts = with_neighbours(slices.pixels, neighbours), {}
    for number, (own, truth) in enumerate(zip(slices.pixels, mask, strict=True)):
        if own.any() or truth.any():
            name = f"{record.name}_slice{number:03d}"
            _write_image(folder, name, stacked[number])
            write_mask(folder / "masks" / f"{name}.png", truth)
            facts[name] = CaseFacts(record.group, record.name, number, row_mm, column_mm, slice_mm)
    return facts


def _write_image(folder: Path, name: str, pixels: np.ndarray) -> None:
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        write_png(folder / "images" / f"{name}.png", pixels)
        return
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="minisblack", planarconfig="contig", compression="zlib", metadata=None)
    write_atomically(folder / "images" / f"{name}.tif", file.getvalue())
