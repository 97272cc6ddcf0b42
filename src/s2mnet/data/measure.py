"""What one pair of files contributes to the summary of a data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2mnet.data.pairs import read_pair


@dataclass(frozen=True)
class PairFacts:
    """Facts about one image and its mask; small enough to keep for every pair of a large folder.

    Attributes:
        height, width: of the image, in pixels.
        grey: whether the image is grey, stored as such or as RGB with three equal channels.
        sums, squares: sum and sum of squares of each of the three channels (a grey image counts in each), 0–255.
        histogram: pixels of each raw mask value.
    """

    height: int
    width: int
    grey: bool
    sums: tuple[float, ...]
    squares: tuple[float, ...]
    histogram: dict[int, int]


def measure_pair(image_file: Path, mask_file: Path) -> PairFacts:
    """Read an image and its mask once.

    Raises:
        S2MNetError: either cannot be read, or their sizes differ.
    """
    image, mask = read_pair(image_file, mask_file)
    planes = [image] if image.ndim == 2 else [image[..., channel] for channel in range(3)]
    grey = all(np.array_equal(planes[0], plane) for plane in planes[1:])
    levels, squared = np.arange(256.0), np.arange(256.0) ** 2
    bins = [np.bincount(plane.reshape(-1), minlength=256) for plane in (planes[:1] if grey else planes)]
    bins = bins * 3 if grey else bins
    values, counts = np.unique(mask, return_counts=True)
    return PairFacts(
        height=image.shape[0],
        width=image.shape[1],
        grey=grey,
        sums=tuple(float(levels @ counted) for counted in bins),
        squares=tuple(float(squared @ counted) for counted in bins),
        histogram=dict(zip(values.tolist(), counts.tolist(), strict=True)),
    )


def mean_thickness(foreground: np.ndarray) -> float:
    """Mean thickness of the foreground in pixels: over its skeleton, the mean of twice the distance to the edge.

    A line of width w gives w to half a pixel, a disc its diameter. The skeleton is the topological one of
    scikit-image, the distance Euclidean.

    Args:
        foreground: (H, W) boolean.

    Returns:
        The thickness in pixels, 0 without foreground.

    Example:
        >>> mask = np.zeros((40, 200), bool)
        >>> mask[10:15] = True
        >>> round(mean_thickness(mask))
        5
    """
    from scipy.ndimage import distance_transform_edt
    from skimage.morphology import skeletonize

    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    if rows.size == 0:
        return 0.0
    # Cut to the foreground, for speed; the border counts as an edge.
    inside = np.pad(foreground[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    distance = distance_transform_edt(inside)
    return float(2 * distance[skeletonize(inside)].mean() - 0.5)
