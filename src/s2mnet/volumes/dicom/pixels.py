"""From stored pixels to intensities: rescaled, MONOCHROME1 inverted, colour as RGB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.volumes.dicom.frames import Frame, text

_RGB = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"})  # pydicom converts each of them to RGB

Window = tuple[float, float]


def read_slices(path: Path, dataset: Any, frames: list[Frame]) -> Iterator[tuple[np.ndarray, Window | None]]:
    """Yield the intensities of each frame of a file, with its window in the same units.

    Grey: integers where the rescaling keeps them whole, else float32. MONOCHROME1 (low is bright) is inverted within
    the range of the stored bits, v → min + max − v after rescaling, and its window with it.

    Args:
        path: the file, for messages.
        dataset: with pixels.
        frames: all frames of the file, in stored order.

    Raises:
        S2MNetError: pixels are missing, truncated, in a compression that no installed package reads, or in a colour
            space that cannot be converted to RGB.
    """
    from pydicom.pixels import pixel_array

    photometric = text(dataset, "PhotometricInterpretation")
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if not (photometric in _RGB if samples == 3 else photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")):
        problem = f"has the colour space {photometric or 'unknown'} with {samples} samples per pixel"
        raise S2MNetError(path, f"{problem}; grey, palette, RGB and YBR_FULL are read", "Export it as RGB or grey.")
    syntax = dataset.file_meta.TransferSyntaxUID
    fix = "Export it again."
    if syntax.is_compressed:
        install = "pip install 's2mnet[dicom]' installs what reads most compressions"
        fix = f"Its compression is {syntax.name}; {install}. Or export it uncompressed, e.g. with gdcmconv --raw."
    with guarded(path, "has pixels that cannot be decoded", fix):
        # All at once: frame by frame pydicom 3.0 fails on JPEG 2000 whose sign differs from the header's.
        if len(frames) == 1:
            dataset.pop("NumberOfFrames", None)  # it may be no number
        array = pixel_array(dataset)
        for frame, stored in zip(frames, array if len(frames) > 1 else array[None], strict=True):
            if samples == 3:
                yield _eight_bits(stored, int(dataset.BitsStored)), None
            elif photometric == "PALETTE COLOR":
                yield _palette(stored, dataset), None
            else:
                yield _grey(stored, dataset, frame, photometric == "MONOCHROME1")


def _grey(stored: np.ndarray, dataset: Any, frame: Frame, inverted: bool) -> tuple[np.ndarray, Window | None]:
    values, window = _rescale(stored, dataset, frame), frame.window
    if not inverted:
        return values, window
    bits = int(dataset.BitsStored)
    low = -(1 << (bits - 1)) if stored.dtype.kind == "i" else 0
    ends = _rescale(np.array([low, low + (1 << bits) - 1], stored.dtype), dataset, frame)
    total = ends[0].astype(np.float64) + ends[1].astype(np.float64)
    negative = (total - values).astype(np.float32 if values.dtype.kind == "f" else np.int32)
    return negative, None if window is None else (float(total) - window[0], window[1])


def _rescale(stored: np.ndarray, dataset: Any, frame: Frame) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    if dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(stored, dataset)
    if frame.slope == 1 and frame.intercept == 0:
        return stored.astype(np.float32) if stored.dtype.kind == "f" else stored
    if frame.slope == 1 and frame.intercept.is_integer() and stored.dtype.kind != "f" and stored.dtype.itemsize < 4:
        return stored.astype(np.int32) + np.int32(frame.intercept)
    return (stored.astype(np.float64) * frame.slope + frame.intercept).astype(np.float32)


def _palette(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """RGB by the tables of the file. pydicom reads 16-bit tables in the byte order of the machine, so not by it."""
    if "RedPaletteColorLookupTableData" not in dataset:  # segmented
        from pydicom.pixels import apply_color_lut

        colours = apply_color_lut(stored, dataset)[..., :3]
    else:
        little = dataset.file_meta.TransferSyntaxUID.is_little_endian
        colours = np.stack([_channel(stored, dataset, name, little) for name in ("Red", "Green", "Blue")], axis=-1)
    return _eight_bits(colours, 16 if colours.max() > 255 else 8)  # some tables of 16 bits hold 8-bit values


def _channel(stored: np.ndarray, dataset: Any, name: str, little: bool) -> np.ndarray:
    count, first, _ = dataset[f"{name}PaletteColorLookupTableDescriptor"].value
    content = dataset[f"{name}PaletteColorLookupTableData"].value
    count = int(count) or 65536  # as 0 is stored what 16 bits cannot hold
    words = np.frombuffer(content, "<u2" if little else ">u2")
    table = words if len(words) >= count else words.astype("<u2").view(np.uint8)
    return table[np.clip(stored.astype(np.int64) - int(first), 0, count - 1)]


def _eight_bits(colours: np.ndarray, bits: int) -> np.ndarray:
    return (colours >> max(bits - 8, 0)).astype(np.uint8)
