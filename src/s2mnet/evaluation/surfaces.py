"""Surfaces of masks, as pixels and as elements with an area, and the distances between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

SLACK = 1 + 1e-6  # of a tolerance: a distance of exactly that much counts as within, whatever its rounding


def surface_pixels(mask: np.ndarray) -> NDArray[np.int64]:
    """Pixels with a face neighbour (4 in an image, 6 in a volume) outside the mask or the array: (n, axes)."""
    return np.argwhere(mask ^ ndimage.binary_erosion(mask))


def surface_elements(
    mask: np.ndarray, spacing: Sequence[float] | NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The surface by marching squares or cubes, in elements between 2×2 or 2×2×2 pixels (Nikolov et al.).

    An element is where the pixels around a corner of the grid are not all alike. It has the length or the area of the
    surface there, which runs half-way between pixels of different value. Outside the array is outside the mask.

    Returns:
        Corners (n, axes), the k-th of an axis in front of pixel k; their length or area in the unit of ``spacing``.

    Example:
        >>> corners, lengths = surface_elements(np.array([[True]]), (2.0, 1.0))
        >>> corners.tolist(), lengths.round(3).tolist()
        ([[0, 0], [0, 1], [1, 0], [1, 1]], [1.118, 1.118, 1.118, 1.118])
    """
    padded = np.pad(mask, 1)
    codes = np.zeros([side - 1 for side in padded.shape], np.uint8)
    for bit, start in enumerate(product((0, 1), repeat=mask.ndim)):
        corner = padded[tuple(slice(first, first + side) for first, side in zip(start, codes.shape, strict=True))]
        codes |= corner.astype(np.uint8) << bit
    sizes = _element_sizes(tuple(map(float, spacing)))[codes]
    return np.argwhere(sizes), sizes[sizes > 0]


@lru_cache(maxsize=64)
def _element_sizes(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Length or area of the surface for each set of pixels around a corner, by its bits.

    A set and its complement have one surface, that of the smaller set: pixels that meet in a corner alone are apart.
    """
    from skimage.measure import find_contours, marching_cubes, mesh_surface_area

    pixels = 2 ** len(spacing)
    sizes = np.zeros(2**pixels)
    for code in range(1, 2**pixels - 1):
        smaller = code if code.bit_count() <= pixels // 2 else 2**pixels - 1 - code
        cell = np.array([smaller >> bit & 1 for bit in range(pixels)], float).reshape((2,) * len(spacing))
        if len(spacing) == 2:
            lines = [np.diff(line * spacing, axis=0) for line in find_contours(cell, 0.5)]
            sizes[code] = sum(np.linalg.norm(line, axis=1).sum() for line in lines)
        else:
            corners, faces, *_ = marching_cubes(cell, 0.5, spacing=spacing, method="lorensen")
            sizes[code] = mesh_surface_area(corners, faces)
    return sizes


def distances(
    places: NDArray[np.int64], others: NDArray[np.int64], spacing: Sequence[float] | NDArray[np.float64],
    within: float = np.inf,
) -> NDArray[np.float64]:  # fmt: skip
    """Distance of each place to the nearest of the others, in the unit of ``spacing``; inf if it is above ``within``.

    It depends on the difference of two places alone: products of places and spacing would be rounded differently from
    place to place, and a shape moved by exactly the tolerance be partly within it.

    Args:
        places, others: indices (n, axes) and (m, axes), m ≥ 1.

    Example:
        >>> distances(np.array([[7, 1]]), np.array([[9, 1], [0, 0]]), (0.1, 1.0))
        array([0.2])
    """
    _, nearest = KDTree(others * spacing, leafsize=32).query(places * spacing, distance_upper_bound=within)
    apart = (places - np.vstack([others, np.full(others.shape[1], np.nan)])[nearest]) * spacing
    return np.nan_to_num(np.linalg.norm(apart, axis=1), nan=np.inf)
