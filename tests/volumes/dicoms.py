"""DICOM files made for tests. pydicom is an extra, so it is imported when the first file is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def stack_of(n: int, height: int = 5, width: int = 7, dtype: type = np.int16) -> np.ndarray:
    """Slices of noise."""
    return np.random.default_rng(0).integers(0, 1000, (n, height, width)).astype(dtype)


def along_z(n: int, step: float = 2.5) -> list[list[float]]:
    """Positions of axial slices, mm."""
    return [[-10, 20, 30 + step * k] for k in range(n)]


def write(path: Path, pixels: np.ndarray, frames: int = 1, **elements: Any) -> Path:
    """A file with the pixels as they stand, (H, W) or (H, W, 3) per frame, and any elements by keyword."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.Modality, dataset.SeriesInstanceUID = "CT", "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[1:3] if frames > 1 else pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == (4 if frames > 1 else 3) else 1
    dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.add_new(0x7FE00010, "OB" if pixels.dtype.itemsize == 1 else "OW", pixels.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def item(**elements: Any) -> Any:
    """One item of a sequence."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write_series(
    folder: Path,
    stack: np.ndarray,
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    spacing: Sequence[float] = (1, 1),
    **elements: Any,
) -> Path:
    """One file per slice, named in the reverse of the order of ``positions``."""
    for k, (pixels, position) in enumerate(zip(stack, positions, strict=True)):
        write(
            folder / f"{len(stack) - k:03}.dcm",
            pixels,
            **{
                "ImagePositionPatient": [float(f"{value:.8g}") for value in position],
                "ImageOrientationPatient": [float(f"{value:.8g}") for value in orientation],
                "PixelSpacing": list(spacing),
                "InstanceNumber": (7 * k) % 101,
                **elements,
            },
        )
    return folder
