"""A volume as a stack of slices, with what is needed to write a mask in its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.errors import S2MNetError

MAX_VALUES = 1_000_000_000  # voxels × channels: 4 GB as float32
_TIE = 1e-3  # relative difference below which two voxel sizes are equal: headers hold rounded values


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices in original intensities.

    Attributes:
        path: the file or folder it was read from.
        array: (n, H, W) grey, float32 or integers; or (n, H, W, 3) RGB, uint8. In a slice of a NIfTI file, columns run
            along the earlier of the two other axes of the file, rows along the later one.
        spacing: mm between slices, rows and columns; None where the file does not say.
        axes: the axis of the file along which slices, rows and columns run. A DICOM series counts as a file with the
            axes column, row, slice: (2, 1, 0).
        shape: of the file's grid, in the order of its axes.
        affine: (4, 4) float64, from an index in the file's axes to RAS+ coordinates; None where unknown.
        header: of the NIfTI file; None for DICOM.
        window: (centre, width) of the intensities to show, from DICOM, if all slices agree on one: centre − width/2
            is black, centre + width/2 is white.
        sources: for each slice the DICOM file and the index of its frame in it, from 0; empty for NIfTI.
    """

    path: Path
    array: np.ndarray
    spacing: tuple[float | None, float | None, float | None]
    axes: tuple[int, int, int]
    shape: tuple[int, ...]
    affine: np.ndarray | None
    header: Any = None
    window: tuple[float, float] | None = None
    sources: tuple[tuple[Path, int], ...] = ()

    @property
    def is_rgb(self) -> bool:
        """Whether slices are in colour."""
        return self.array.ndim == 4


def choose_axes(shape: Sequence[int], spacing: Sequence[float | None]) -> tuple[int, int, int]:
    """Choose the axes of slices, rows and columns: slices run along the largest spacing, in a tie the last axis.

    Spacings within 0.1 % are equal. If one is unknown, slices run along the last axis. A single axis of length 1 is
    the slicing axis, whatever its spacing.

    Args:
        shape: of the grid, three axes.
        spacing: mm along each axis.

    Example:
        >>> choose_axes((256, 256, 10), (1.5, 1.5, 10.0)), choose_axes((20, 256, 256), (5.0, 1.0, 1.0))
        ((2, 1, 0), (0, 2, 1))
        >>> choose_axes((240, 240, 155), (1.0, 1.0, 1.0)), choose_axes((240, 1, 155), (1.0, 1.0, 4.0))
        ((2, 1, 0), (1, 2, 0))
    """
    single = [axis for axis in range(3) if shape[axis] == 1]
    known = [size for size in spacing if size is not None]
    if len(single) == 1:
        axis = single[0]
    elif len(known) < 3:
        axis = 2
    else:
        axis = max(axis for axis in range(3) if known[axis] >= max(known) * (1 - _TIE))
    columns, rows = (other for other in range(3) if other != axis)
    return axis, rows, columns


def check_same_grid(a: Volume, b: Volume) -> None:
    """Check that two volumes, an image and its mask, cover the same voxels in the same order.

    Affines agree if no corner of the grid moves by more than a twentieth of the smallest voxel edge.

    Raises:
        S2MNetError: naming ``b``: its shape, its affine or its slicing axis differs.
    """
    resample = "Resample the mask to the grid of its image, e.g. by nibabel.processing.resample_from_to with order=0."
    image = a.path.name
    if _full(a.shape) != _full(b.shape):
        problem = f"has {_times(b.shape)} voxels; the grid of {image} has {_times(a.shape)}"
        raise S2MNetError(b.path, problem, resample)
    if (a.affine is None) != (b.affine is None):
        known, unknown = ("known", "unknown") if b.affine is not None else ("unknown", "known")
        problem = f"has a position in space that is {known}; the grid of {image} has one that is {unknown}"
        raise S2MNetError(b.path, problem, resample)
    if a.affine is not None and b.affine is not None:
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in _full(a.shape)])).reshape(3, 8)
        apart = np.linalg.norm((b.affine - a.affine) @ np.vstack([corners, np.ones(8)]), axis=0).max()
        smallest = np.linalg.norm(a.affine[:3, :3], axis=0).min()
        if not apart <= smallest / 20:
            problem = f"has an affine that puts a corner {apart:.3g} mm away from the grid of {image}, whose affine is"
            raise S2MNetError(b.path, f"{problem}\n{a.affine.round(4)}", f"\n{resample}")
    if a.axes != b.axes:
        raise S2MNetError(
            b.path,
            f"has slices along axis {b.axes[0]} (voxel sizes {b.spacing}); those of {image} run along axis {a.axes[0]} "
            f"({a.spacing})",
            "Correct the voxel sizes (pixdim) in the header of the wrong one.",
        )


def check_mask(path: Path, mask: np.ndarray, volume: Volume, highest: int) -> None:
    """Check that a mask of integers fits the slices of a volume and holds 0 to ``highest``; ``path`` is its output."""
    if mask.shape != volume.array.shape[:3] or mask.dtype.kind not in "bui":
        problem = f"cannot hold a mask of shape {mask.shape} and type {mask.dtype}"
        fix = f"Pass integers of shape {volume.array.shape[:3]}, the shape of {volume.path.name}."
        raise S2MNetError(path, problem, fix)
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > highest:
        raise S2MNetError(path, f"cannot hold the values {low} to {high}", f"Pass values from 0 to {highest}.")


def is_same_file(a: Path, b: Path) -> bool:
    """Whether both exist and are one file, through links too."""
    return a.exists() and b.exists() and a.samefile(b)


def check_size(path: Path, values: int) -> None:
    """Raise if the values do not fit into the memory of a common machine."""
    if values > MAX_VALUES:
        problem = f"holds {values / 1e6:.0f} million values; at most {MAX_VALUES // 10**6} million are read"
        raise S2MNetError(path, problem, "Cut it into parts.")


def check_finite(path: Path, array: np.ndarray) -> None:
    """Raise if a value is NaN or infinite."""
    if array.dtype.kind != "f":
        return
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        problem = f"has {bad} of {array.size} values that are NaN or infinite"
        raise S2MNetError(path, problem, "Replace them, e.g. by numpy.nan_to_num, and save it again.")


def _full(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1)[:3]


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
