"""Masks drawn over images: outlines, agreement and disagreement, and maps in [0, 1] as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from s2mnet.data.channels import to_show
from s2mnet.data.label_rules import histogram
from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.errors import S2MNetError

Colour = tuple[int, int, int]

# Okabe and Ito's colours, safe for the common forms of colour blindness. Their yellow is reserved for the truth, and
# light grey replaces their black, which vanishes in dark images.
PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (187, 187, 187),
    (230, 159, 0),
    (136, 34, 85),
)
TRUTH: Colour = (255, 225, 25)
# Blue and yellow mean the same in both pictures: blue is the model's, yellow the expert's.
BOTH: Colour = (240, 240, 240)
ONLY_PREDICTED: Colour = PALETTE[0]
ONLY_TRUE: Colour = TRUTH
OTHER_CLASS: Colour = PALETTE[3]
_FILL = 0.25
_DIM = 0.45


def overlay(
    image: ArrayLike,
    prediction: ArrayLike,
    truth: ArrayLike | None = None,
    *,
    colours: Sequence[Colour] = PALETTE,
    thickness: int = 1,
    ignore_index: int = IGNORE_INDEX,
) -> NDArray[np.uint8]:
    """The image with the prediction as a light fill with a contour, and the truth as a contour on top.

    Contours lie inside the object they bound and are `thickness` pixels wide; the edge of the image is not a contour.
    Where the two contours coincide they alternate in dashes, so that neither hides the other, even on thin vessels.
    Every pixel outside the prediction and the truth's contour keeps its value.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        prediction: (H, W) class indices, 0 is background. bool is read as 0 and 1.
        truth: (H, W) class indices, `ignore_index` where nothing is known, or None.
        colours: one per foreground class; further classes start again from the first.
        thickness: width of the contours in pixels, at least 1.
        ignore_index: the label that is never drawn.

    Returns:
        (H, W, 3) uint8.

    Raises:
        S2MNetError: an array has the wrong shape or type, or two sizes differ.

    Example:
        >>> mask = np.zeros((5, 5), int)
        >>> mask[1:4, 1:4] = 1
        >>> picture = overlay(np.zeros((5, 5), np.uint8), mask)
        >>> bool((picture[1, 1] == PALETTE[0]).all()), picture[2, 2].tolist(), picture[0, 0].tolist()
        (True, [22, 45, 58], [0, 0, 0])
    """
    picture = as_rgb(image)
    predicted = _indices(prediction, picture, "the predicted mask", ignore_index)
    outlined = np.zeros_like(predicted, dtype=bool)
    for index in _present(predicted):
        colour = np.array(colours[(index - 1) % len(colours)])
        inside = predicted == index
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        # A table of the 256 levels, one channel at a time: twice as fast as floats for every pixel.
        blend = np.round((1 - _FILL) * np.arange(256)[:, None] + _FILL * colour).astype(np.uint8)
        for channel, table in enumerate(blend.T):
            plane = picture[box][..., channel]
            np.copyto(plane, table.take(plane), where=inside[box])
        contour = _contour(inside, thickness)
        _paint(picture, contour, colour)
        outlined |= contour
    if truth is not None:
        true = _indices(truth, picture, "the true mask", ignore_index)
        diagonal = np.arange(true.shape[0])[:, None] + np.arange(true.shape[1])
        visible = ~outlined | (diagonal // (4 * thickness) % 2 == 0)
        for index in _present(true):
            _paint(picture, _contour(true == index, thickness) & visible, TRUTH)
    return picture


def errors(
    image: ArrayLike, prediction: ArrayLike, truth: ArrayLike, *, ignore_index: int = IGNORE_INDEX
) -> NDArray[np.uint8]:
    """Agreement and disagreement over a dimmed grey image, in the solid colours named in this module.

    `BOTH` marks true positives, `ONLY_PREDICTED` false positives, `ONLY_TRUE` false negatives, and `OTHER_CLASS` pixels
    that are foreground in both masks but of different classes. Ignored pixels are not marked.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        prediction: (H, W) class indices, 0 is background.
        truth: (H, W) class indices, `ignore_index` where nothing is known.
        ignore_index: the label that is never drawn.

    Returns:
        (H, W, 3) uint8.

    Raises:
        S2MNetError: an array has the wrong shape or type, or two sizes differ.

    Example:
        >>> picture = errors(np.zeros((1, 4), np.uint8), [[1, 1, 0, 0]], [[1, 0, 1, 0]])
        >>> [tuple(pixel) for pixel in picture[0].tolist()] == [BOTH, ONLY_PREDICTED, ONLY_TRUE, (0, 0, 0)]
        True
    """
    rgb = as_rgb(image)
    predicted = _indices(prediction, rgb, "the predicted mask", ignore_index)
    true = _indices(truth, rgb, "the true mask", ignore_index)
    known = np.asarray(truth) != ignore_index
    grey = np.round(_DIM * (rgb @ np.array([0.299, 0.587, 0.114]))).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[known & (predicted > 0) & (predicted == true)] = BOTH
    picture[known & (predicted > 0) & (true == 0)] = ONLY_PREDICTED
    picture[known & (predicted == 0) & (true > 0)] = ONLY_TRUE
    picture[known & (predicted > 0) & (true > 0) & (predicted != true)] = OTHER_CLASS
    return picture


def heat(map01: ArrayLike) -> NDArray[np.uint8]:
    """A map in [0, 1] as colours, from black (0) over purple and orange to pale yellow (1): Matplotlib's magma.

    Args:
        map01: (H, W), every value in [0, 1].

    Returns:
        (H, W, 3) uint8.

    Raises:
        S2MNetError: the map is not two-dimensional or has values outside [0, 1].

    Example:
        >>> heat([[0.0, 1.0]]).tolist()
        [[[0, 0, 3], [251, 252, 191]]]
    """
    from matplotlib import colormaps

    values = np.asarray(map01, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise S2MNetError("the map", f"has the shape {values.shape} instead of (H, W)", "Pass one map at a time.")
    if not ((values >= 0) & (values <= 1)).all():  # also catches NaN
        problem = f"has values from {values.min():g} to {values.max():g}, not in [0, 1]"
        raise S2MNetError("the map", problem, "Pass probabilities, not logits.")
    return np.asarray(colormaps["magma"](values, bytes=True))[..., :3].copy()


def as_rgb(image: ArrayLike) -> NDArray[np.uint8]:
    """A copy of a grey or colour image as (H, W, 3) uint8; of a stack of channels the middle one.

    Raises:
        S2MNetError: the array is neither (H, W) nor (H, W, C), or not uint8.

    Example:
        >>> as_rgb(np.full((2, 3), 7, np.uint8)).shape
        (2, 3, 3)
    """
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size:
        problem = f"is {array.dtype} of shape {array.shape} instead of uint8 of shape (H, W) or (H, W, C)"
        raise S2MNetError("the image", problem, "Convert it to 8-bit grey or RGB.")
    array = to_show(array)
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array.copy()


def _indices(mask: ArrayLike, image: NDArray[np.uint8], what: str, ignore_index: int) -> NDArray[Any]:
    array = np.asarray(mask)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise S2MNetError(what, f"has {array.dtype} values, not class indices", "Threshold or take the argmax first.")
    if array.shape != image.shape[:2]:
        problem = f"has the shape {array.shape}, but the image has {image.shape[:2]}"
        raise S2MNetError(what, problem, "Resize one to the size of the other.")
    return np.where(array == ignore_index, array.dtype.type(0), array)


def _present(indices: NDArray[Any]) -> list[int]:
    """The foreground classes that occur."""
    if indices.max() == 1:  # as in most masks: nothing to count
        return [1]
    return [index for index in histogram(indices) if index > 0]


def _paint(picture: NDArray[np.uint8], where: NDArray[np.bool_], colour: ArrayLike) -> None:
    # By the indices of the few contour pixels: several times as fast as picture[where] = colour.
    picture.reshape(-1, 3)[np.flatnonzero(where)] = colour


def _contour(inside: NDArray[np.bool_], thickness: int) -> NDArray[np.bool_]:
    # Erosion by a cross, as if the object went on beyond the edge of the image; takes a quarter of SciPy's time.
    core = inside
    for _ in range(thickness):
        wider, core = core, core.copy()
        core[1:] &= wider[:-1]
        core[:-1] &= wider[1:]
        core[:, 1:] &= wider[:, :-1]
        core[:, :-1] &= wider[:, 1:]
    return inside & ~core
