"""What one pair of files contributes to the summary of a data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2mnet.data.label_rules import histogram
from s2mnet.data.pairs import read_pair


@dataclass(frozen=True)
class PairFacts:
    """Facts about one image and its mask; small enough to keep for every pair of a large folder.

    Attributes:
        height, width: of the image, in pixels.
        channels: 1, 3, or those of a stack.
        grey: whether the image is grey, stored as such or as RGB with three equal channels.
        sums, squares: sum and sum of squares of each channel, of a grey image three times, 0–255.
        histogram: pixels of each raw mask value.
    """

    height: int
    width: int
    channels: int
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
    planes = [image] if image.ndim == 2 else [image[..., channel] for channel in range(image.shape[2])]
    grey = len(planes) in (1, 3) and all(np.array_equal(planes[0], plane) for plane in planes[1:])
    levels, squared = np.arange(256.0), np.arange(256.0) ** 2
    bins = [np.bincount(plane.reshape(-1), minlength=256) for plane in (planes[:1] if grey else planes)]
    bins = bins * 3 if grey else bins
    return PairFacts(
        height=image.shape[0],
        width=image.shape[1],
        channels=len(planes),
        grey=grey,
        sums=tuple(float(levels @ counted) for counted in bins),
        squares=tuple(float(squared @ counted) for counted in bins),
        histogram=histogram(mask),
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


def contrast(image: np.ndarray, foreground: np.ndarray, reach: int = 5) -> list[float]:
    """How clearly the foreground stands out in each channel: its mean against that of its surroundings.

    The difference of the two means, over the standard deviation within the surroundings: the pixels that are at most
    ``reach`` away and no foreground.

    Args:
        image: uint8 (H, W) or (H, W, C).
        foreground: (H, W) boolean.
        reach: in pixels, city block.

    Returns:
        One number ≥ 0 for each channel; zeros without foreground or surroundings.

    Example:
        >>> image = np.zeros((20, 20, 2), np.uint8)
        >>> image[5:9, :, 1] = 200
        >>> image[::2] += 10
        >>> contrast(image, image[..., 1] > 100)
        [0.0, 40.0]
    """
    from scipy.ndimage import binary_dilation

    around = binary_dilation(foreground, iterations=reach) & ~foreground
    planes = image.reshape(*foreground.shape, -1)
    if not foreground.any() or not around.any():
        return [0.0] * planes.shape[2]
    inside, outside = planes[foreground].astype(np.float64), planes[around].astype(np.float64)
    deviation = np.maximum(outside.std(axis=0), 1.0)  # a flat background is known to one grey level at best
    return (np.abs(inside.mean(axis=0) - outside.mean(axis=0)) / deviation).tolist()
