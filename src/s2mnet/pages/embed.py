"""Pictures embedded in the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Scalar = TypeVar("Scalar", bound=np.generic)

LONGEST = 480
"""Longest side of an embedded photograph in pixels: sharp at 240 px on a screen of double density."""


@dataclass(frozen=True)
class Picture:
    """A picture as the macros of ``macros.html`` show it."""

    source: str
    """A data URL; empty if there is only a caption to show."""
    alt: str
    caption: str
    title: str = ""
    """Set in bold before the caption."""
    width: int | None = None
    height: int | None = None


def enlarge(array: NDArray[Scalar], smooth: bool) -> NDArray[Scalar]:
    """A small image or mask, enlarged by the largest whole factor that keeps it within `LONGEST`.

    Contours drawn afterwards are then thin compared with the pixels they follow.

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


def photo(pixels: NDArray[np.uint8], alt: str, caption: str, *, drawn: bool = False) -> Picture:
    """An image as JPEG, reduced to at most `LONGEST` pixels.

    Args:
        pixels: (H, W, 3) uint8.
        alt: what the picture shows, any text.
        caption: any text.
        drawn: it has coloured lines or areas, which keep their edges only at full colour resolution.

    Example:
        >>> photo(np.zeros((9, 9, 3), np.uint8), "dark", "Image").source[:23]
        'data:image/jpeg;base64,'
    """
    copy = Image.fromarray(pixels)
    copy.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    copy.save(buffer, "JPEG", **({"quality": 88, "subsampling": 0} if drawn else {"quality": 85}))
    return Picture(_data_url(buffer.getvalue(), "jpeg"), alt, caption, width=copy.width, height=copy.height)


def plot(content: bytes, alt: str, caption: str, title: str = "") -> Picture:
    """An SVG or PNG of :func:`s2mnet.pages.drawing.draw_figure`.

    It becomes an image, not inline SVG: Matplotlib uses the same ids in every SVG, and inline they would clash.

    Example:
        >>> plot(b"<?xml ?><svg/>", "empty", "Nothing.").source
        'data:image/svg+xml;base64,PD94bWwgPz48c3ZnLz4='
    """
    return Picture(_data_url(content, "svg+xml" if content.startswith(b"<?xml") else "png"), alt, caption, title)


def _data_url(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
