"""NIfTI volumes as stacks of slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s2mnet.data import LabelMap
from s2mnet.errors import S2MNetError


def read_volume(path: Path) -> np.ndarray:
    """A NIfTI volume as (slices, H, W): slices along its third axis, rows along its second, columns its first.

    Scaled values are applied; the dtype is that of the file unless there is a scale.

    Raises:
        S2MNetError: the file cannot be read, is no volume of three axes, or nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError:
        mend = "Install it: pip install nibabel."
        raise S2MNetError("nibabel", "no such package", "nibabel, which reads NIfTI files", mend) from None
    try:
        volume = np.asanyarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except Exception as error:  # on broken bytes nibabel raises nearly anything
        found = f"a damaged file ({type(error).__name__}: {error})"
        raise S2MNetError(path, found, "a NIfTI volume", "Download it again.") from None
    if volume.ndim == 4 and volume.shape[3] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3:
        raise S2MNetError(path, f"{volume.ndim} axes", "a volume of three axes", "Check that it is the right file.")
    return volume.transpose(2, 1, 0)


def read_labels(path: Path, values: list[int]) -> np.ndarray:
    """A volume of labels as class indices, uint8 (slices, H, W).

    Args:
        path: the NIfTI file.
        values: the label of each class index, background first.

    Raises:
        S2MNetError: the file cannot be read, or holds another label.
    """
    volume = read_volume(path)
    whole = np.rint(volume).astype(np.int32)
    if not np.array_equal(whole, volume):
        raise S2MNetError(path, "fractional labels", "whole numbers", "Check that it is the right file.")
    return LabelMap(kind="classes", values=values).encode(whole, path)


def storable(volume: np.ndarray) -> np.ndarray:
    """The same values as uint8 or uint16 if they are whole and in range, else as float32.

    Example:
        >>> [storable(np.array(values)).dtype.name for values in ([0.0, 255.0], [0, 256], [-1, 0], [0.5, 1])]
        ['uint8', 'uint16', 'float32', 'float32']
    """
    low, high = volume.min(), volume.max()
    whole = volume.dtype.kind in "bui" or np.array_equal(volume, np.rint(volume))
    if not (whole and low >= 0 and high <= 65535):
        return volume.astype(np.float32)
    return volume.astype(np.uint8 if high <= 255 else np.uint16)
