"""NIfTI volumes as stacks of slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s2mnet.data import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.volumes.nifti import read_nifti


def read_volume(path: Path) -> np.ndarray:
    """A NIfTI volume as (slices, H, W): slices along its third axis, rows along its second, columns its first.

    Unlike those of :func:`s2mnet.volumes.read_volume` they do not depend on the spacing: a download has one layout.

    Raises:
        S2MNetError: the file cannot be read, is no volume of three axes, or has colours.
    """
    volume = read_nifti(path)
    if volume.is_rgb or len(volume.shape) < 3:
        found = "colours" if volume.is_rgb else f"{len(volume.shape)} axes"
        raise S2MNetError(path, found, "a volume of three axes", "Check that it is the right file.")
    return volume.array.transpose(np.argsort(volume.axes)).transpose(2, 1, 0)


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
