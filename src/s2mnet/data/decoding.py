"""From a file to upright pixels in its own bit depth: by Pillow, or by tifffile for TIFFs without a Pillow mode."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError
from PIL import TiffImagePlugin as Tag

from s2mnet.errors import S2MNetError

MAX_PIXELS = 200_000_000
MAX_SAMPLES = 4  # of one pixel: grey or colour, and alpha
MAX_CHANNELS = 64  # of a stack
STACK = "stack"  # the sample layout of a TIFF with several channels that are neither colour nor alpha
WORD_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of one channel and more than 8 bits

# Pillow takes the format from the content, never from the suffix; other decoders (EPS runs a program) stay out.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6  # photometric tag of a TIFF
_TILE_BYTES = 325
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3  # its sample format
_SWAPPED = {(_SIGNED, 16), (_SIGNED, 32), (_FLOAT, 32)}  # Pillow swaps their bytes twice if compressed and big-endian
# The TIFFs that Pillow reads right, by photometric: sample format and bits. tifffile reads or refuses the others, of
# which Pillow drops the low byte, the sign or the inversion.
_PILLOW_READS = {
    _WHITE_IS_ZERO: {(_UNSIGNED, bits) for bits in (1, 2, 4, 8)},
    _BLACK_IS_ZERO: {*((_UNSIGNED, bits) for bits in (1, 2, 4, 8, 12, 16)), *_SWAPPED},
    _RGB: {(_UNSIGNED, 8)},
    _PALETTE: {(_UNSIGNED, bits) for bits in (1, 2, 4, 8)},
    _CMYK: {(_UNSIGNED, 8)},
    _YCBCR: {(_UNSIGNED, 8)},
}
# Of a 16-bit colour PNG Pillow keeps the high byte. Under these names it gives both; and their order.
_WORDS = {
    "RGB;16B": (("RGB;16L", "RGB;16B"), "<u2"),
    "RGBA;16B": (("RGBA;16L", "RGBA;16B"), "<u2"),
    "LA;16B": (("RGBA",), ">u2"),
}
_MAX_METADATA = 2**26  # bytes of a PNG's colour profile or text, unpacked; Pillow's bound is 2**20
_pillow_limits = threading.Lock()


def decode(path: Path) -> tuple[Image.Image | np.ndarray, str]:
    """The upright image (an array where Pillow has no mode for it) and Pillow's name of the stored sample layout.

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
        if image.format == "TIFF" and (pages > 1 or not _pillow_reads(image)):
            return _decode_tiff(path)
        _check_pages(path, pages)
        layout = sample_layout(image)
        if layout in _WORDS and image.format == "PNG":
            return _decode_words(file, layout), ""
        try:
            image.load()
        except Image.DecompressionBombError:
            return _decode_tiff(path)  # Pillow checks a TIFF again while decoding, by its own limit
        colours = image.tag_v2.get(Tag.COLORMAP, ()) if isinstance(image, Tag.TiffImageFile) else ()
        if colours and max(colours) < 256:  # 16 bits by the standard, but some writers store 8
            image.putpalette(bytes(colours), "RGB;L")
        ImageOps.exif_transpose(image, in_place=True)  # without in_place every image is copied
        return image, layout


def header(path: Path) -> Image.Image | None:
    """The image without its pixels, as Pillow knows it; None if it has no mode for it."""
    with path.open("rb") as file:
        try:
            return _open(file)
        except UnidentifiedImageError:
            return None


def _open(file: BinaryIO) -> ImageFile.ImageFile:
    # Pillow's own limits are lower than ours and global: they are lifted only while the header is read.
    with _pillow_limits:
        limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, _MAX_METADATA
        try:
            return Image.open(file, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = limits


def _decode_words(file: BinaryIO, layout: str) -> np.ndarray:
    """A PNG of 16 bits in several channels, uint16 (H, W, C), upright."""
    names, order = _WORDS[layout]
    parts = []
    for name in names:
        file.seek(0)
        image = _open(file)
        image.tile = [tile._replace(args=name) for tile in image.tile]
        parts.append(np.asarray(image))
    words = np.stack(parts, axis=-1).reshape(*parts[0].shape[:2], -1).view(order)
    return _upright(words.astype(np.uint16, copy=False), image.getexif().get(ExifTags.Base.Orientation, 1))


def _decode_tiff(path: Path) -> tuple[np.ndarray, str]:
    """A TIFF that Pillow has no mode for, as (H, W) or (H, W, C), upright, in its own dtype; and STACK, or ""."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    with tifffile.TiffFile(path) as tiff:
        page, pages = tiff.pages.first, len(tiff.pages)
        _check_pixels(path, page.imagewidth, page.imagelength)
        # ImageJ and OME write channels as pages, and say so.
        as_pages = pages > 1 and tiff.series[0].axes == "CYX" and len(tiff.series[0]) == pages
        _check_pages(path, 1 if as_pages else pages)
        channels = pages if as_pages else page.samplesperpixel
        photometric = page.tags.valueof(
            Tag.PHOTOMETRIC_INTERPRETATION, default=_RGB if channels > 2 else _BLACK_IS_ZERO
        )
        grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
        stack = as_pages or (grey and channels > 1 and not any(page.extrasamples))
        limit = MAX_CHANNELS if stack else MAX_SAMPLES
        if channels > limit:
            problem = f"has {channels} channels; at most {limit} are supported"
            raise S2MNetError(path, problem, "Save the channels that matter as grey or RGB.")
        if not grey and photometric != _RGB:
            raise OSError(f"colours stored as {getattr(page.photometric, 'name', photometric)}")
        if tifffile.EXTRASAMPLE.ASSOCALPHA in page.extrasamples:
            raise OSError("colours multiplied by alpha")
        if not any(page.databytecounts):
            raise OSError("no pixels")  # tifffile would give zeros
        try:
            array = (tiff.series[0] if as_pages else page).asarray()
        except (ValueError, NotImplementedError, ImportError) as error:
            if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
                raise
            name = getattr(page.compression, "name", page.compression)
            problem = f"is stored as {name} with {page.bitspersample} bits per sample, which only imagecodecs reads"
            fix = 'Run pip install "s2mnet[tiff]", or save the image without compression in 8 or 16 bits.'
            raise S2MNetError(path, problem, fix) from error
        if array.ndim == 3 and (as_pages or page.axes == "SYX"):
            array = array.transpose(1, 2, 0)
        if array.shape not in ((size := (page.imagelength, page.imagewidth)), (*size, channels)):
            raise OSError(f"pixels of shape {array.shape}, not one image")
        if photometric == _WHITE_IS_ZERO:
            full = array.dtype.type(2**page.bitspersample - 1) if array.dtype.kind == "u" else None
            array = -array if array.dtype.kind == "f" else ~array if full is None else full - array
        orientation = page.tags.valueof(ExifTags.Base.Orientation, default=1)
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


def _pillow_reads(tiff: Image.Image) -> bool:
    if not isinstance(tiff, Tag.TiffImageFile):
        return False
    tags = tiff.tag_v2
    photometric, samples = tags.get(Tag.PHOTOMETRIC_INTERPRETATION, -1), tags.get(Tag.SAMPLESPERPIXEL, 1)
    kinds = {(kind, bits) for kind in tags.get(Tag.SAMPLEFORMAT, (1,)) for bits in tags.get(Tag.BITSPERSAMPLE, (1,))}
    compression, extras = tags.get(Tag.COMPRESSION, 1), tags.get(Tag.EXTRASAMPLES, ())
    grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    if grey and samples > 1 and (not any(extras) or tags.get(Tag.PLANAR_CONFIGURATION) == 2):
        return False  # a stack, or alpha in a plane of its own
    if photometric == _YCBCR and compression not in (6, 7) and tags.get(Tag.YCBCRSUBSAMPLING) != (1, 1):
        return False  # colours of lower resolution, which Pillow knows in a JPEG only
    if not any(tags.get(Tag.STRIPBYTECOUNTS, tags.get(_TILE_BYTES, (1,)))):
        return False  # no pixels; Pillow would show the header
    if compression != 1 and tags.prefix == b"MM" and kinds & _SWAPPED:
        return False
    return kinds <= _PILLOW_READS.get(photometric, set()) and samples <= MAX_SAMPLES


def _check_pixels(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        size = f"{width} × {height} = {width * height / 1e6:.0f} megapixels"
        raise S2MNetError(path, f"has {size}; at most {MAX_PIXELS // 10**6} are supported", "Cut the image into tiles.")


def _check_pages(path: Path, pages: int) -> None:
    if pages > 1:
        raise S2MNetError(
            path,
            f"has {pages} pages or frames; one is allowed",
            "Save each page as an image of its own; save channels as samples per pixel of one page.",
        )
