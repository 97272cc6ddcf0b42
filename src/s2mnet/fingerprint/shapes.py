"""Shapes of the classes of a mask: the four descriptors of MASL, the thickness, the contrast to the surroundings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.fingerprint.record import Distribution, Morphology
from s2mnet.loss.descriptors import describe

Shape = Mapping[str, float]
"""A value for ``thickness_px`` and optionally for each field of :class:`s2mnet.loss.descriptors.Descriptors`."""


def measure_shapes(indices: NDArray[np.uint8], descriptors: bool = True) -> dict[int, Shape]:
    """The shape of each foreground class in a mask.

    Args:
        indices: (H, W) class indices, 255 where there is no truth.
        descriptors: measure these too, not the thickness alone.

    Returns:
        By class index, those that the mask holds.

    Example:
        >>> mask = np.zeros((40, 60), np.uint8)
        >>> mask[10:15] = 2
        >>> {index: round(shape["thickness_px"]) for index, shape in measure_shapes(mask).items()}
        {2: 5}
    """
    valid = torch.from_numpy(indices != IGNORE_INDEX)[None, None]
    shapes: dict[int, Shape] = {}
    for index in np.unique(indices).tolist():
        if index in (0, IGNORE_INDEX):
            continue
        truth = indices == index  # one class at a time bounds the memory
        shape = {"thickness_px": mean_thickness(truth)}
        if descriptors:
            measured = describe(torch.from_numpy(truth)[None, None], valid)
            shape |= {name: float(value) for name, value in measured._asdict().items()}
        shapes[index] = shape
    return shapes


def summarise(shapes: Iterable[Shape]) -> Morphology | None:
    """Distribution of each measure over masks; None for none.

    Example:
        >>> shape = dict(tubularity=0.1, compactness=0.2, irregularity=0.3, size=0.4, thickness_px=5.0)
        >>> summarise([shape]).thickness_px.median
        5.0
    """
    shapes = list(shapes)
    names = Morphology.model_fields
    return (
        Morphology(**{name: Distribution.of([shape[name] for shape in shapes]) for name in names}) if shapes else None
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
