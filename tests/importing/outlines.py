"""Objects of a mask, and their outlines along the edges of pixels: an encoder that shares no code with the importer."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from sources import HEIGHT, WIDTH, blobs

Object = tuple[int, np.ndarray]


def objects_of(number: int, values: int = 2) -> list[Object]:
    """Label and mask (H, W) of connected objects without holes; those of different labels overlap."""
    labels = blobs(number, values)
    objects = []
    for value in range(1, values + 1):
        parts, count = ndimage.label(labels >= value)
        objects += [(value, ndimage.binary_fill_holes(parts == part)) for part in range(1, count + 1)]
    return objects


def painted(objects: list[Object]) -> np.ndarray:
    """The mask of objects, the later over the earlier."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, where in objects:
        mask[where] = value
    return mask


def border(mask: np.ndarray) -> list[tuple[int, int]]:
    """The outermost pixels (x, y) of one object, in their order along its edge, as OpenCV's findContours gives them."""
    corners = outline(mask)
    inside = {(1, 0): (0, 0), (0, 1): (-1, 0), (-1, 0): (-1, -1), (0, -1): (0, -1)}
    pixels = []
    for (x, y), (next_x, next_y) in zip(corners, corners[1:] + corners[:1], strict=True):
        dx, dy = inside[next_x - x, next_y - y]
        pixels.append((x + dx, y + dy))
    return pixels


def outline(mask: np.ndarray) -> list[tuple[int, int]]:
    """The corners (x, y) of one object, in their order along its edge."""
    padded = np.pad(mask, 1).astype(int)
    after: dict[tuple[int, int], tuple[int, int]] = {}
    for y, x in zip(*np.nonzero(mask), strict=True):
        y, x = int(y), int(x)
        for free, start, end in (
            (padded[y, x + 1] == 0, (x, y), (x + 1, y)),
            (padded[y + 1, x + 2] == 0, (x + 1, y), (x + 1, y + 1)),
            (padded[y + 2, x + 1] == 0, (x + 1, y + 1), (x, y + 1)),
            (padded[y + 1, x] == 0, (x, y + 1), (x, y)),
        ):
            if free:
                assert start not in after, "touches itself at a corner"
                after[start] = end
    first = point = next(iter(after))
    corners = [first]
    while (point := after[point]) != first:
        corners.append(point)
    assert len(corners) == len(after), "has a hole"
    return corners
