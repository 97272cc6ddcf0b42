"""Pictures as HTML that needs no other file."""

from __future__ import annotations

import base64
import html
import io
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Scalar = TypeVar("Scalar", bound=np.generic)

LONGEST = 480
"""Longest side of an embedded photograph in pixels: sharp at 240 px on a screen of double density."""


def enlarge(array: NDArray[Scalar], smooth: bool) -> NDArray[Scalar]:
    """A small image or mask, enlarged by the largest whole factor that keeps it within `LONGEST`.

    Contours drawn afterwards are then thin beside the pixels they follow.

    Args:
        array: (H, W) or (H, W, 3).
        smooth: interpolate (images), or repeat each pixel (masks).

    Example:
        >>> enlarge(np.zeros((100, 200), bool), smooth=False).shape
        (200, 400)
    """
    factor = LONGEST // max(array.shape[:2])
    if factor < 2:
        return array
    if smooth:
        size = (array.shape[1] * factor, array.shape[0] * factor)
        return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BICUBIC))
    return array.repeat(factor, axis=0).repeat(factor, axis=1)


def image(picture: NDArray[np.uint8], alt: str, *, drawn: bool = False) -> str:
    """An `<img>` holding the picture as JPEG, reduced to at most `LONGEST` pixels.

    Args:
        picture: (H, W, 3) uint8.
        alt: what the picture shows, any text.
        drawn: it has coloured lines or areas, which keep their edges only at full colour resolution.

    Example:
        >>> image(np.zeros((9, 9, 3), np.uint8), "dark")[:27]
        '<img alt="dark" width="9" h'
    """
    copy = Image.fromarray(picture)
    copy.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", **({"quality": 88, "subsampling": 0} if drawn else {"quality": 85}))
    size = f'width="{copy.width}" height="{copy.height}"'
    return _tag(buffer.getvalue(), "jpeg", alt, size)


def figure(content: bytes, alt: str) -> str:
    """An `<img>` holding an SVG or PNG as `figures` makes it.

    An image and not inline SVG: Matplotlib names the parts of every SVG alike, and inline they would clash.

    Example:
        >>> figure(b"<?xml ?><svg/>", "empty")
        '<img alt="empty" src="data:image/svg+xml;base64,PD94bWwgPz48c3ZnLz4=">'
    """
    return _tag(content, "svg+xml" if content.startswith(b"<?xml") else "png", alt)


def _tag(content: bytes, kind: str, alt: str, size: str = "") -> str:
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{html.escape(alt)}" {size}{" " * bool(size)}src="data:image/{kind};base64,{data}">'
