"""A DICOM file or series as a volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.guard import guarded
from s2mnet.volumes.dicom.files import find_series, load_dataset
from s2mnet.volumes.dicom.frames import Frame, read_frames
from s2mnet.volumes.dicom.geometry import Spacing, arrange
from s2mnet.volumes.dicom.pixels import Window, read_slices
from s2mnet.volumes.volume import Volume, check_size, orient


def read_dicom(path: Path, orientation: str = "") -> Volume:
    """Read a DICOM file with one or many frames, or a folder with one series, see :func:`s2mnet.volumes.read_volume`.

    Raises:
        S2MNetError: pydicom is not installed; see also :func:`find_series`, :func:`arrange` and :func:`read_slices`.
    """
    with guarded(path, "is damaged, or holds no image", "Export it again."):
        frames, header, ordered, spacing, affine = _arranged(path)
        rows, columns, samples = int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1)
        check_size(path, rows * columns * samples * len(ordered))
        slices: dict[Frame, np.ndarray] = {}
        windows: set[Window | None] = set()
        for file, members in frames.items():
            read = read_slices(file, load_dataset(file, pixels=True), members)
            for frame, (values, window) in zip(members, read, strict=True):
                slices[frame] = values
                windows.add(window)
        arrays = [slices[frame] for frame in ordered]
        if any(array.dtype.kind == "f" for array in arrays):  # NumPy would promote a mixture to float64
            arrays = [array.astype(np.float32, copy=False) for array in arrays]
        array = np.stack(arrays)
        window = windows.pop() if len(windows) == 1 else None
        sources = tuple((frame.file, frame.index) for frame in ordered)
        grid = array.transpose(2, 1, 0, *range(3, array.ndim))
        return orient(path, grid, spacing[::-1], affine, orientation, window=window, sources=sources)


def read_dicom_grid(path: Path, orientation: str = "") -> Volume:
    """Read the grid of a DICOM file or series without its pixels: all are False.

    Raises:
        S2MNetError: as :func:`read_dicom`.
    """
    with guarded(path, "is damaged, or holds no image", "Export it again."):
        _, header, ordered, spacing, affine = _arranged(path)
        check_size(path, int(header.Rows) * int(header.Columns) * len(ordered))
        grid = np.zeros((int(header.Columns), int(header.Rows), len(ordered)), bool)
        sources = tuple((frame.file, frame.index) for frame in ordered)
        return orient(path, grid, spacing[::-1], affine, orientation, sources=sources)


def _arranged(path: Path) -> tuple[dict[Path, list[Frame]], Any, list[Frame], Spacing, np.ndarray | None]:
    """The frames of each file, the first header; all frames in order, their spacing and affine."""
    series = find_series(path)
    frames = {file: read_frames(file, header) for file, header in series}
    return frames, series[0][1], *arrange(path, [frame for members in frames.values() for frame in members])
