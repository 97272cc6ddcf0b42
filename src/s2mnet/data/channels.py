"""Channels of an image by name, however the file stores them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from s2mnet.errors import S2MNetError

GREY = "grey"
COLOURS = ("red", "green", "blue")


def select_channels(image: np.ndarray, names: Sequence[str], stored: Sequence[str] = ()) -> np.ndarray:
    """The channels of an image by name, channels first.

    Args:
        image: uint8 (H, W) grey, (H, W, 3) colour or (H, W, n) a stack, as :func:`s2mnet.data.read_image` gives it.
        names: "grey" (of colour its luma, ITU-R 601), "red", "green", "blue" (each the grey of a grey image), or
            names out of ``stored``.
        stored: the names of the channels of a stack, in order.

    Returns:
        uint8 (len(names), H, W).

    Raises:
        S2MNetError: the number of channels is not that of ``stored``, or the image is a stack without names.

    Example:
        >>> select_channels(np.full((2, 4), 7, np.uint8), COLOURS).shape
        (3, 2, 4)
        >>> select_channels(np.full((1, 2, 3), (1, 2, 3), np.uint8), ["green"]).tolist()
        [[[2, 2]]]
    """
    image = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    count = 1 if image.ndim == 2 else image.shape[2]
    if stored or count not in (1, 3):
        if count != len(stored):
            needed = f"{len(stored)} channels ({', '.join(stored)})" if stored else "a grey or colour image"
            problem = f"has {count} channels; the model needs {needed}"
            raise S2MNetError("The image", problem, "Use images like those the model was trained on.")
        planes = image.reshape(*image.shape[:2], count)
        return np.stack([planes[..., list(stored).index(name)] for name in names])
    return np.stack([_of_colour(image, name) for name in names])


def _of_colour(image: np.ndarray, name: str) -> np.ndarray:
    if image.ndim == 2:
        return image
    if name == GREY:
        return np.asarray(Image.fromarray(image).convert("L"))
    return image[..., COLOURS.index(name)]


def to_show(image: np.ndarray, stored: Sequence[str] = ()) -> np.ndarray:
    """The image as people see it: grey and colour unchanged, of a stack the middle channel.

    Args:
        image: (H, W) or (H, W, C).
        stored: names of its channels, if it is a stack; three without names are colours.

    Example:
        >>> to_show(np.zeros((4, 6, 5), np.uint8)).shape
        (4, 6)
    """
    if image.ndim == 2 or (image.shape[2] == 3 and not stored):
        return image
    return np.ascontiguousarray(image[..., image.shape[2] // 2])


def clahe(plane: np.ndarray, clip: float = 2.0, tiles: int = 8) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation with the paper's clip limit 2 on 8×8 tiles (SPEC 3).

    Args:
        plane: uint8 (H, W).
        clip: highest count of a level in the histogram of a tile, as a multiple of the mean count.
        tiles: number along each side.

    Returns:
        uint8 (H, W).

    Example:
        >>> dim = np.tile(np.arange(100, 116, dtype=np.uint8), (64, 4))
        >>> int(np.ptp(clahe(dim))) > int(np.ptp(dim))
        True
    """
    from skimage.exposure import equalize_adapthist

    if plane.min() == plane.max():  # scikit-image stretches first and cannot stretch a single level
        return plane
    kernel = [max(1, -(-side // tiles)) for side in plane.shape]
    return np.rint(equalize_adapthist(plane, kernel, clip_limit=clip / 256, nbins=256) * 255).astype(np.uint8)
