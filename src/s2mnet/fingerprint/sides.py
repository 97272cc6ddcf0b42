"""Classes that differ in their side only, such as the right and the left lung: mirroring an image swaps them.

They have one shape (:func:`find_sides`) and one brightness (:func:`equally_bright`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.fingerprint.record import AXES, Axis, Sides

FEWEST_MASKS = 6  # one order in 6 masks is an accident once in 32 times
FEWEST_ALONE = 10
CONSISTENT = 0.95  # share of the masks
APART = 0.5  # distance of the centres along the axis, as a share of the mean extent: concentric classes have no side
SIZES = 2.0  # largest median ratio of the areas
# The mirrored shape must be this much like the other class's, as a share of how alike shapes of one class are, and at
# least this much (intersection over union at one centre and one area).
AS_ALIKE, LEAST_ALIKE = 0.85, 0.4
AS_BRIGHT = 1.0  # largest difference of the mean brightness, in standard deviations
SIDE = 24  # px: each shape is compared at an area of about its square
WIDE = 4096  # more than any coordinate of a shape


class Silhouette(NamedTuple):
    """A class in one mask: its centre from the middle of the image in px, its extent and area, its resampled pixels."""

    centre: NDArray[np.float64]
    extent: NDArray[np.int64]
    area: int
    pixels: NDArray[np.int64]


def silhouettes(indices: NDArray[np.uint8]) -> dict[int, Silhouette]:
    """Of each foreground class in a mask (H, W) of class indices, 255 where there is no truth.

    Example:
        >>> mask = np.zeros((101, 101), np.uint8)
        >>> mask[:, 80:91] = 1
        >>> silhouettes(mask)[1].centre.tolist()
        [0.0, 35.0]
    """
    shapes = {}
    for index in np.unique(indices).tolist():
        if index in (0, IGNORE_INDEX):
            continue
        places = np.argwhere(indices == index)
        first, extent = places.min(0), np.ptp(places, 0) + 1
        scale = SIDE / np.sqrt(len(places))
        sampled = [
            low + np.linspace(0, n - 1, max(1, round(n * scale))).round().astype(int)
            for low, n in zip(first, extent, strict=True)
        ]
        pixels = np.argwhere(indices[np.ix_(*sampled)] == index)
        centre = places.mean(0) - (np.array(indices.shape) - 1) / 2
        shapes[index] = Silhouette(centre, extent, len(places), pixels - pixels.mean(0).round().astype(int))
    return shapes


def find_sides(masks: Sequence[Mapping[int, Silhouette]], names: Sequence[str]) -> list[Sides]:
    """Pairs of classes of one shape, one of them always on the same side of the other.

    Classes that are seldom in one mask are compared by their side of the middle of the image.

    Args:
        masks: from :func:`silhouettes`.
        names: of the classes, by index.
    """
    pairs = combinations(sorted({index for held in masks for index in held}), 2)
    found = ((a, b, _axis(masks, a, b)) for a, b in pairs)
    return [Sides(first=names[a], second=names[b], axis=axis, masks=len(masks)) for a, b, axis in found if axis]


def one_sided(
    masks: Sequence[Mapping[int, Silhouette]], names: Sequence[str], known: Sequence[Sides] = ()
) -> dict[str, str]:
    """Classes that lie wholly in the "left" or the "right" half of 95 % of at least 10 images, apart from known ones.

    Such a class may have a twin on the other side that is background, which images alone do not tell.
    """
    halves = {}
    for index in sorted({index for held in masks for index in held}):
        shapes = [held[index] for held in masks if index in held]
        sides = [np.sign(s.centre[1]) * (abs(s.centre[1]) > s.extent[1] / 2) for s in shapes]
        named = any(names[index] in (pair.first, pair.second) for pair in known)
        if len(shapes) >= FEWEST_ALONE and abs(np.mean(sides)) >= CONSISTENT and not named:
            halves[names[index]] = "left" if sides[0] < 0 else "right"
    return halves


def _axis(masks: Sequence[Mapping[int, Silhouette]], a: int, b: int) -> Axis | None:
    """The axis along which classes a and b are on different sides and otherwise alike."""
    first, second = ([held[index] for held in masks if index in held] for index in (a, b))
    together = [(held[a], held[b]) for held in masks if a in held and b in held]
    apart = np.array([two.centre - one.centre for one, two in together])
    if len(together) < FEWEST_MASKS:
        if min(len(first), len(second)) < FEWEST_MASKS:
            return None
        together = list(zip(first, second, strict=False))
        apart = np.array([-2 * one.centre for one in first] + [2 * two.centre for two in second])
    distance = np.median(apart, axis=0)
    axis = int(np.abs(distance).argmax())
    extent = np.mean([shape.extent[axis] for pair in together for shape in pair])
    sizes = np.median([np.log(one.area / two.area) for one, two in together])
    consistent = np.mean(np.sign(apart[:, axis]) == np.sign(distance[axis]))
    if consistent < CONSISTENT or abs(distance[axis]) < APART * extent or abs(sizes) > np.log(SIZES):
        return None
    mirror = np.where(np.arange(2) == axis, -1, 1)
    across = _alike((one.pixels * mirror, two.pixels) for one, two in together)
    halves = [(held[: len(held) // 2], held[-(len(held) // 2) :]) for held in (first, second)]
    own = [(one.pixels, two.pixels) for half, other in halves for one, two in zip(half, other, strict=True)]
    return AXES[axis] if across >= max(LEAST_ALIKE, AS_ALIKE * _alike(own)) else None


def brightness(image: NDArray[np.uint8], indices: NDArray[np.uint8]) -> dict[int, NDArray[np.float64]]:
    """Mean and variance of each channel of an image (H, W) or (H, W, C) within each class: (2, C)."""
    pixels = image.reshape(*indices.shape, -1)
    return {
        index: np.stack([pixels[indices == index].mean(0), pixels[indices == index].var(0)])
        for index in np.unique(indices).tolist()
    }


def equally_bright(looks: Sequence[Mapping[int, NDArray[np.float64]]], a: int, b: int) -> bool:
    """Whether classes a and b look alike in images, by their :func:`brightness`, and mirroring can confuse them.

    The standard deviation is that between images and within a class together.
    """
    first, second = (np.array([held[index] for held in looks if index in held]) for index in (a, b))
    if not len(first) or not len(second):
        return True
    means, variances = (np.stack([held[:, row].mean(0) for held in (first, second)]) for row in (0, 1))
    between = np.stack([held[:, 0].var(0) for held in (first, second)])
    deviation = np.sqrt((variances + between).mean(0)) + 1  # one grey level
    return bool((np.abs(means[0] - means[1]) <= AS_BRIGHT * deviation).all())


def _alike(pairs: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> float:
    """Median intersection over union of two shapes whose centres coincide."""
    shares = []
    for pair in pairs:
        one, two = (pixels @ (WIDE, 1) for pixels in pair)
        common = np.intersect1d(one, two, assume_unique=True).size
        shares.append(common / (one.size + two.size - common))
    return float(np.median(shares))
