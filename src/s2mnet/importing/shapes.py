"""Objects drawn as outlines or run lengths, as one mask of class indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from s2mnet.data import IGNORE_INDEX, read_image
from s2mnet.errors import S2MNetError

MOST_CLASSES = 254
BACKGROUND = "background"


@dataclass(frozen=True)
class Drawn:
    """One object.

    Attributes:
        label: the name of its class.
        mask: returns bool (H, W) for an image of height and width.
    """

    label: str
    mask: Callable[[tuple[int, int]], np.ndarray]


def class_values(names: Iterable[str]) -> dict[str, int]:
    """A mask value for each class, from 1 on in the order given; 0 for the background, 255 for ``__ignore__``.

    Raises:
        ValueError: more than 254 classes.

    Example:
        >>> class_values(["cell", "background", "vessel", "__ignore__"])
        {'background': 0, '__ignore__': 255, 'cell': 1, 'vessel': 2}
    """
    fixed = {BACKGROUND: 0, "_background_": 0, "__ignore__": IGNORE_INDEX}
    names = list(dict.fromkeys(names))
    others = [name for name in names if name not in fixed]
    if len(others) > MOST_CLASSES - 1:
        raise ValueError(f"it has {len(others)} classes; at most {MOST_CLASSES - 1} are possible")
    special = {name: fixed[name] for name in names if name in fixed}
    return special | {name: value for value, name in enumerate(others, start=1)}


def class_names(values: dict[str, int]) -> dict[int, str]:
    """The classes of ``dataset.yaml`` for :func:`class_values`."""
    named = {value: name for name, value in values.items() if 0 < value < IGNORE_INDEX}
    return {0: BACKGROUND} | dict(sorted(named.items()))


def ignored_value(values: dict[str, int]) -> int | None:
    """The value of pixels without a truth, if there are such."""
    return IGNORE_INDEX if IGNORE_INDEX in values.values() else None


def draw(
    image: Path | None, objects: Sequence[Drawn], values: dict[str, int], size: tuple[int, int] | None
) -> np.ndarray:
    """The objects of an image as class indices, uint8 (H, W); later objects lie over earlier ones.

    Args:
        image: the file, whose size counts; None if the size by the annotations does.
        objects: in their order.
        values: the mask value of each class.
        size: (height, width) by the annotations, if they state it: another one than that of the image is an error.

    Raises:
        S2MNetError: the image cannot be read, or has another size.
    """
    height, width = read_image(image).shape[:2] if image else size or (0, 0)
    if image and size is not None and size != (height, width):
        problem = f"has {height} × {width} px (height × width); its annotation was made on {size[0]} × {size[1]} px"
        raise S2MNetError(image, problem, "Use the images that were annotated.")
    result = np.zeros((height, width), np.uint8)
    for one in objects:
        result[one.mask((height, width))] = values[one.label]
    return result


def polygon(points: Sequence[Sequence[float]] | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centre lies in a polygon, bool (H, W).

    Args:
        points: (x, y) in pixels; (0, 0) is the upper left corner of the first pixel, and (0.5, 0.5) its centre.
        size: height and width.

    Example:
        >>> polygon([(1, 0), (3, 0), (3, 1), (1, 1)], (2, 4)).astype(int).tolist()
        [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    from skimage.draw import polygon2mask

    corners = np.asarray(points, np.float64).reshape(-1, 2)
    return np.asarray(polygon2mask(size, corners[:, ::-1] - 0.5), bool)


def drawn_polygon(points: Sequence[Sequence[float]] | np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels within a polygon and on its outline, bool (H, W).

    Args:
        points: (x, y) in pixels; (0, 0) is the centre of the first pixel.
        size: height and width.

    Example:
        >>> drawn_polygon([(1, 0), (3, 0), (3, 1), (1, 1)], (2, 4)).astype(int).tolist()
        [[0, 1, 1, 1], [0, 1, 1, 1]]
    """
    picture = Image.new("1", size[::-1])
    ImageDraw.Draw(picture).polygon([(float(x), float(y)) for x, y in points], fill=1, outline=1)
    return np.array(picture)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], angle: float, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centre lies in an ellipse, bool (H, W).

    Args:
        centre, radii: x and y, as in :func:`polygon`.
        angle: by which it is turned, in degrees from x to y.
        size: height and width.
    """
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    turn = np.deg2rad(angle)
    x, y = columns - centre[0], rows - centre[1]
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return np.asarray((along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1)
