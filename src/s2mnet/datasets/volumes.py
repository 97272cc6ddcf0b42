"""NIfTI volumes of a download as stacks of slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2mnet.data import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.volumes import Volume, to_uint8
from s2mnet.volumes.nifti import orientation_of, read_nifti, whole_numbers


@dataclass(frozen=True, eq=False)
class Slices:
    """The slices of a volume.

    Attributes:
        pixels: uint8 (slices, H, W), or (slices, H, W, C).
        spacing: mm between slices, rows and columns; None where the file does not say.
        orientation: the directions in which slices, rows and columns count up, such as "SPL"; "" if unknown.
    """

    pixels: np.ndarray
    spacing: tuple[float | None, float | None, float | None]
    orientation: str = ""


def read_slices(path: Path) -> Slices:
    """Read a NIfTI volume in 8 bits: slices along its third axis, rows along its second, columns along its first.

    Intensities of more than 8 bits are windowed as in prediction (:func:`s2mnet.volumes.to_uint8`), with one window
    for the whole volume. Unlike in :func:`s2mnet.volumes.read_volume`, the order is that of the file: a download has
    one layout.

    Raises:
        S2MNetError: the file cannot be read, does not have three axes, or is in colour.
    """
    volume = _read(path)
    first, second, third = (volume.spacing[place] for place in np.argsort(volume.axes))
    return Slices(_third_axis_first(volume, to_uint8(volume)), (third, second, first), orientation_of(volume))


def read_labels(path: Path, values: list[int]) -> np.ndarray:
    """Read a volume of labels as class indices, uint8 (slices, H, W).

    Args:
        path: the NIfTI file.
        values: the label of each class index, background first.

    Raises:
        S2MNetError: the file cannot be read, or holds another label.
    """
    volume = _read(path)
    return LabelMap(kind="classes", values=values).encode(_third_axis_first(volume, whole_numbers(volume)), path)


def _read(path: Path) -> Volume:
    volume = read_nifti(path)
    if volume.is_rgb or len(volume.shape) < 3:
        problem = f"has {'colours' if volume.is_rgb else f'{len(volume.shape)} axes'}; a grey volume has three axes"
        raise S2MNetError(path, problem, "Check that it is the right file.")
    return volume


def _third_axis_first(volume: Volume, array: np.ndarray) -> np.ndarray:
    return volume.in_file_order(array).transpose(2, 1, 0)
