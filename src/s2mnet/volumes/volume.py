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
_DISPLAY = ("RIP", "PIL", "SPL")  # of slices along left and right, front and back, head and foot


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices in original intensities, in one display orientation whatever the order of voxels in the file.

    Attributes:
        path: the file or folder it was read from.
        array: (n, H, W) grey, float32 or integers; or (n, H, W, 3) RGB, uint8.
        spacing: mm between slices, rows and columns; None where the file does not say.
        axes: the axis of the file along which slices, rows and columns run. A DICOM series counts as a file with the
            axes column, row, slice.
        shape: of the file's grid, in the order of its axes.
        affine: (4, 4) float64, from an index in the file's axes to RAS+ coordinates; None where unknown.
        header: of the NIfTI file; None for DICOM.
        window: (centre, width) of the intensities to show, from DICOM, if all slices agree on one: centre − width/2
            is black, centre + width/2 is white.
        sources: for each index along the file's third axis the DICOM file and the index of its frame in it, from 0;
            empty for NIfTI.
        flipped: the axes of ``array`` that run against the axes of the file.
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
    flipped: tuple[int, ...] = ()

    @property
    def is_rgb(self) -> bool:
        """Whether slices are in colour."""
        return self.array.ndim == 4

    def in_file_order(self, array: np.ndarray) -> np.ndarray:
        """An array of the shape of ``self.array`` (n, H, W), in the order of the file's three axes."""
        return np.flip(array, self.flipped).transpose(np.argsort(self.axes))


def choose_axes(
    shape: Sequence[int], spacing: Sequence[float | None], affine: np.ndarray | None, orientation: str = ""
) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Choose which axes of a grid become slices, rows and columns, and which of the three are reversed.

    Slices run along the axis whose spacing differs from two equal ones, which are the pixels of a scanner's slices; if
    no two are equal, along the largest; if all are equal, along the axis closest to the body's. A single axis of
    length 1 is the slicing axis. Spacings within 0.1 % are equal. Slices are shown as radiologists see them: left is
    at the right, and front or head is at the top. So neither the order nor the direction of the file's axes matters.
    If the affine is unknown, the file's order is kept; if a spacing is unknown, slices run along the last axis.

    Args:
        shape: of the grid, three axes.
        spacing: mm along each axis.
        affine: (4, 4), to RAS+ coordinates; None if unknown.
        orientation: instead of that rule, the directions in which slices, rows and columns count up, as in "SPL": to
            superior, posterior and left.

    Returns:
        The axes of slices, rows and columns, and the places (0, 1 or 2) of those to reverse.

    Example:
        >>> choose_axes((256, 256, 10), (1.5, 1.5, 10.0), None), choose_axes((20, 256, 256), (5.0, 1.0, 1.0), None)
        (((2, 1, 0), ()), ((0, 2, 1), ()))
        >>> choose_axes((512, 512, 300), (0.9, 0.9, 0.6), np.diag([-0.9, -0.9, 0.6, 1])), "the usual order in DICOM"
        (((2, 1, 0), ()), 'the usual order in DICOM')
        >>> choose_axes((512, 512, 300), (0.9, 0.9, 0.6), np.diag([0.9, 0.9, 0.6, 1])), "RAS: rows and columns reversed"
        (((2, 1, 0), (1, 2)), 'RAS: rows and columns reversed')
        >>> choose_axes((512, 512, 300), (0.9, 0.9, 0.6), np.diag([0.9, 0.9, 0.6, 1]), "SAR")
        ((2, 1, 0), ())
    """
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    ways = np.full((3, 2), np.nan) if affine is None else io_orientation(affine)
    if np.isnan(ways).any():
        axis = _slicing_axis(shape, spacing, 2)
        columns, rows = (other for other in range(3) if other != axis)
        return (axis, rows, columns), ()
    body = ways[:, 0].astype(int).tolist()  # the axis of the body that each axis of the file is closest to
    orientation = orientation or _DISPLAY[body[_slicing_axis(shape, spacing, body.index(2))]]
    places = ornt_transform(ways, axcodes2ornt(orientation))
    axis, rows, columns = np.argsort(places[:, 0]).tolist()
    flipped = tuple(place for place, file_axis in enumerate((axis, rows, columns)) if places[file_axis, 1] < 0)
    if spacing[axis] is None:  # a film: its order is that of time
        flipped = tuple(place for place in flipped if place)
    return (axis, rows, columns), flipped


def _slicing_axis(shape: Sequence[int], spacing: Sequence[float | None], isotropic: int) -> int:
    single = [axis for axis in range(3) if shape[axis] == 1]
    known = [size for size in spacing if size is not None]
    if len(single) == 1:
        return single[0]
    if len(known) < 3:
        return 2
    equal = [abs(known[a] - known[b]) <= _TIE * max(known[a], known[b]) for a, b in ((1, 2), (0, 2), (0, 1))]
    if all(equal):
        return isotropic
    return max(range(3), key=lambda axis: (equal[axis], known[axis]))


def orient(
    path: Path,
    grid: np.ndarray,
    spacing: Sequence[float | None],
    affine: np.ndarray | None,
    orientation: str = "",
    **attributes: Any,
) -> Volume:
    """Make a volume of a grid in the order of the file's axes, (i, j, k) or (i, j, k, 3); see :func:`choose_axes`.

    Raises:
        S2MNetError: a value is NaN or infinite.
    """
    bad = int(grid.size - np.count_nonzero(np.isfinite(grid))) if grid.dtype.kind == "f" else 0
    if bad:
        problem = f"has {bad} of {grid.size} values that are NaN or infinite"
        raise S2MNetError(path, problem, "Replace them, e.g. by numpy.nan_to_num, and save it again.")
    axes, flipped = choose_axes(grid.shape, spacing, affine, orientation)
    array = np.flip(grid.transpose(*axes, *range(3, grid.ndim)), flipped)
    slices, rows, columns = (spacing[axis] for axis in axes)
    attributes = {"shape": grid.shape[:3], "affine": affine, **attributes}
    return Volume(path, np.ascontiguousarray(array), (slices, rows, columns), axes, flipped=flipped, **attributes)


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


def is_sheared(affine: np.ndarray) -> bool:
    """Whether two axes of an affine are not at right angles, as in slices of a tilted gantry."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3)


def check_size(path: Path, values: int) -> None:
    """Raise if the values do not fit into the memory of a common machine."""
    if values > MAX_VALUES:
        problem = f"holds {values / 1e6:.0f} million values; at most {MAX_VALUES // 10**6} million are read"
        raise S2MNetError(path, problem, "Cut it into parts.")


def _full(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1)[:3]


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
