"""Shapes of the classes of a mask: the four descriptors of MASL and the thickness in pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.data.measure import mean_thickness
from s2mnet.inspection.fingerprint import Distribution, Morphology
from s2mnet.loss.descriptors import describe


class Shape(NamedTuple):
    """One class in one mask, see :class:`s2mnet.loss.descriptors.Descriptors`; the thickness in pixels."""

    tubularity: float
    compactness: float
    irregularity: float
    size: float
    thickness_px: float


def measure_shapes(indices: NDArray[np.uint8]) -> dict[int, Shape]:
    """The shape of each foreground class in a mask.

    Args:
        indices: (H, W) class indices, 255 where there is no truth.

    Returns:
        By class index, those that are there.

    Example:
        >>> mask = np.zeros((40, 60), np.uint8)
        >>> mask[10:15] = 2
        >>> {index: round(shape.thickness_px) for index, shape in measure_shapes(mask).items()}
        {2: 5}
    """
    valid = torch.from_numpy(indices != IGNORE_INDEX)[None, None]
    shapes = {}
    for index in np.unique(indices).tolist():
        if index in (0, IGNORE_INDEX):
            continue
        truth = indices == index  # one class at a time bounds the memory
        found = describe(torch.from_numpy(truth)[None, None], valid)
        tubularity, compactness, irregularity, size = (float(value) for value in found)
        shapes[index] = Shape(tubularity, compactness, irregularity, size, mean_thickness(truth))
    return shapes


def summarise(shapes: Iterable[Shape]) -> Morphology | None:
    """Distribution of each measure over masks; None for none.

    Example:
        >>> summarise([Shape(0.1, 0.2, 0.3, 0.4, 5.0)]).thickness_px.median
        5.0
    """
    columns = list(zip(*shapes, strict=True))
    if not columns:
        return None
    parts = {name: Distribution.of(column) for name, column in zip(Shape._fields, columns, strict=True)}
    return Morphology(**parts)
