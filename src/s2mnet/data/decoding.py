"""From a file to upright pixels in its own bit depth: by Pillow, or by tifffile for TIFFs without a Pillow mode."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from s2mnet.errors import S2MNetError

MAX_PIXELS = 200_000_000
MAX_SAMPLES = 4  # of one pixel: grey or colour, and alpha
MAX_CHANNELS = 64  # of a stack
STACK = "stack"  # the sample layout of a TIFF with several channels that are neither colour nor alpha
WORD_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of one channel and more than 8 bits

# Pillow takes the format from the content, never from the suffix; other decoders (EPS runs a program) stay out.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
_PHOTOMETRIC = (0, 1, 2)  # white is zero, black is zero, RGB: what the samples of a TIFF may mean if Pillow has no mode
_pillow_limit = threading.Lock()


def decode(path: Path) -> tuple[Image.Image | np.ndarray, str]:
    """The upright image (an array where tifffile had to read it) and Pillow's name of the stored sample layout.

    Raises:
        S2MNetError: more than 200 megapixels, more than one page, or too many channels.
        Exception: whatever Pillow or tifffile raises on a file it cannot read.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # the user gets one error from us instead
    # Pillow memory-maps a file that it opens itself, and Pillow 13 then scrambles a TIFF rotated by 90°.
    with path.open("rb") as file:
        try:
            image = _open(file)
        except UnidentifiedImageError:
            if _is_tiff(path):
                return _decode_tiff(path)
            raise
        _check_pixels(path, *image.size)
        pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # MPO: a JPEG with a preview beside it
        _check_pages(path, pages)
        layout = sample_layout(image)
        if image.format == "TIFF" and _is_beyond_pillow(image):
            return _decode_tiff(path)
        try:
            image.load()
        except Image.DecompressionBombError:
            return _decode_tiff(path)  # Pillow checks a TIFF again while decoding, by its own limit
        ImageOps.exif_transpose(image, in_place=True)  # without in_place every image is copied
        return image, layout


def _open(file: BinaryIO) -> Image.Image:
    # Pillow's own limit is lower than ours and global: it is lifted only while the header is read.
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _decode_tiff(path: Path) -> tuple[np.ndarray, str]:
    """A TIFF that Pillow has no mode for, as (H, W) or (H, W, C), upright, in its own dtype; and STACK, or ""."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(path) as tiff:
        _check_pages(path, len(tiff.pages))
        page = tiff.pages.first
        _check_pixels(path, page.imagewidth, page.imagelength)
        stack = page.photometric in (0, 1) and page.samplesperpixel > 1 and not any(page.extrasamples)
        limit = MAX_CHANNELS if stack else MAX_SAMPLES
        if page.samplesperpixel > limit:
            problem = f"has {page.samplesperpixel} channels; at most {limit} are supported"
            raise S2MNetError(path, problem, "Save the channels that matter as grey or RGB.")
        if page.photometric not in _PHOTOMETRIC:
            raise OSError(f"colours stored as {getattr(page.photometric, 'name', page.photometric)}")
        array = page.asarray()
        if page.axes == "SYX":
            array = array.transpose(1, 2, 0)
        elif page.axes not in ("YX", "YXS"):
            raise OSError(f"axes {page.axes}, not one image")
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and array.dtype.kind in "bu":
            array = ~array
        orientation = page.tags.valueof("Orientation", default=1)
    return _upright(array, int(orientation)), STACK if stack else ""


def _upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Undo the eight EXIF orientations on the two first axes."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def sample_layout(image: Image.Image) -> str:
    """Pillow's name of the stored samples, such as "L;4" or "RGB;16B"; "" if it has none."""
    tiles = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _is_beyond_pillow(tiff: Image.Image) -> bool:
    """Stacks; colour of 16 bits, of which Pillow keeps the high byte; unsigned 32 bits, which it reads as signed."""
    tags = getattr(tiff, "tag_v2", {})
    if tags.get(262, 1) in (0, 1) and tags.get(277, 1) > 1 and not any(tags.get(338, ())):
        return True
    bits, sample_format = max(tags.get(258, (1,))), max(tags.get(339, (1,)))
    return bits > 8 and (tiff.mode not in WORD_MODES or (bits == 32 and sample_format == 1))


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        size = f"{width} × {height} = {width * height / 1e6:.0f} megapixels"
        raise S2MNetError(path, f"has {size}; at most {MAX_PIXELS // 10**6} are supported", "Cut the image into tiles.")


def _check_pages(path: Path, pages: int) -> None:
    if pages > 1:
        raise S2MNetError(
            path, f"has {pages} pages or frames; one is allowed", "Save each page as an image of its own."
        )
