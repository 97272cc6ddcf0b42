"""Reading images and masks, and writing masks: what each kind of stored pixel means."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from s2mnet.data.decoding import STACK, WORD_MODES, decode, header
from s2mnet.errors import S2MNetError
from s2mnet.files import write_png

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif"})
WINDOW_PERCENTILES = (0.5, 99.5)

_REEXPORT = "Export it again as an 8-bit PNG, or remove it from the folder."


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image: a known suffix in any case, and not hidden.

    Example:
        >>> [is_image_file(Path(name)) for name in ("a.PNG", "Thumbs.db", ".a.png", "b.jpeg")]
        [True, False, False, True]
    """
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_image(path: str | Path) -> np.ndarray:
    """An image as 8-bit grey or RGB, turned upright by its EXIF orientation.

    Alpha is dropped. A palette, CMYK or YCbCr image becomes RGB (a palette whose used entries are all grey becomes
    grey). Grey and RGB of more than 8 bits, or signed, are windowed per image: the 0.5 and 99.5 percentiles go to 0
    and 255, what lies outside is clipped, a constant image gives zeros, NaN gives 0. An RGB file whose channels are
    equal stays RGB. A TIFF of several grey samples a pixel, none of them alpha, or with a channel on each page, as
    ImageJ and OME write it, is a stack of channels: each is windowed by itself if it has more than 8 bits. Where white
    is zero, the image is inverted.

    Args:
        path: a png, jpg, tif, bmp or gif file with one page.

    Returns:
        uint8 array, (H, W), (H, W, 3) or for a stack (H, W, n), values 0–255.

    Raises:
        S2MNetError: the file is missing, empty, truncated, no image, or has several pages or more than 200 Mpx.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "scan.png"
        ...     Image.fromarray(np.array([[0, 500, 1000]], dtype=np.uint16)).save(file)
        ...     read_image(file).tolist()
        [[0, 128, 255]]
    """
    return _guarded(Path(path), _image_array)


def read_mask(path: str | Path, known: Collection[int] = ()) -> np.ndarray:
    """A mask as its raw values, turned upright by its EXIF orientation.

    Grey of any depth gives its grey values (1-bit gives 0 and 1, 2- and 4-bit the stored samples). A palette gives
    indices, unless the palette is grey, or begins with another colour than black while only its black and white are
    used: then the grey values, so that a GIF with an inverted palette reads right. Where ``known`` has all values of
    one of these two readings, it is that one. RGB(A) with equal channels gives the common grey value.

    Args:
        path: a png, jpg, tif, bmp or gif file with one page.
        known: the values that masks may have, if they are known.

    Returns:
        (H, W) array of integers, which may be signed.

    Raises:
        S2MNetError: as for :func:`read_image`; also a colour mask, an alpha that varies, or fractional values.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "mask.png"
        ...     write_mask(file, np.array([[0, 10, 300]]))
        ...     read_mask(file).tolist()
        [[0, 10, 300]]
    """
    return _guarded(Path(path), partial(_mask_array, known=known))


def write_mask(path: str | Path, array: np.ndarray, source: str = "") -> None:
    """Write a mask as PNG, atomically: 8-bit, or 16-bit if a value is above 255.

    Args:
        path: the file, with suffix .png; an existing one is replaced.
        array: (H, W) integers or booleans in 0–65535.
        source: what made it, see :func:`s2mnet.files.write_png`.

    Raises:
        S2MNetError: the suffix, shape, dtype or range is wrong, or the file cannot be written.
    """
    path, array = Path(path), np.asarray(array)
    if path.suffix.lower() != ".png":
        raise S2MNetError(path, f"has the suffix {path.suffix!r}", "Choose a name that ends in .png.")
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "bui":
        problem = f"cannot store an array of shape {array.shape} and type {array.dtype}"
        raise S2MNetError(path, problem, "Pass a mask (H, W) of integers, one label value per pixel.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise S2MNetError(path, f"cannot store the values {low} to {high}", "Use label values within 0 to 65535.")
    write_png(path, array.astype(np.uint8 if high <= 255 else np.uint16), zlib.Z_RLE, source)


def _guarded(path: Path, convert: Callable[[Path, Image.Image | np.ndarray, str], np.ndarray]) -> np.ndarray:
    try:
        if not path.is_file():
            problem = "is a folder, not an image file" if path.is_dir() else "does not exist"
            raise S2MNetError(path, problem, "Check the path.")
        if path.stat().st_size == 0:
            raise S2MNetError(path, "is an empty file (0 bytes)", _REEXPORT)
        array = convert(path, *decode(path))
        if array.ndim not in (2, 3) or not array.size:
            raise ValueError(f"its pixels have the shape {array.shape}")
        return array
    except S2MNetError:
        raise
    except MemoryError as error:
        problem = "has more pixels than fit the free memory"
        raise S2MNetError(path, problem, "Cut the image into tiles, or free memory.") from error
    except UnidentifiedImageError as error:
        raise S2MNetError(
            path, "is not a png, jpg, tif, bmp or gif image, whatever its name says", _REEXPORT
        ) from error
    except PermissionError as error:
        raise S2MNetError(path, "cannot be read: permission denied", "Change its permissions.") from error
    except Exception as error:  # decoders raise nearly anything on broken bytes
        raise S2MNetError(path, f"is damaged or unsupported ({type(error).__name__}: {error})", _REEXPORT) from error


def _image_array(path: Path, image: Image.Image | np.ndarray, layout: str) -> np.ndarray:
    if isinstance(image, np.ndarray):
        if layout == STACK:
            return np.stack([_window(image[..., channel]) for channel in range(image.shape[2])], axis=-1)
        return _window(_without_alpha(image)[0])
    if image.mode in WORD_MODES:
        return _window(np.asarray(image))
    if image.mode in ("1", "L", "LA", "La"):
        return np.array(image.convert("LA").convert("L") if image.mode == "La" else image.convert("L"))
    if image.mode == "P" and _is_grey(_palette(image)[np.unique(np.asarray(image))]):
        return np.array(image.convert("RGB"))[..., 0].copy()
    if image.mode in ("RGBa", "PA"):
        image = image.convert("RGBA")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _mask_array(path: Path, image: Image.Image | np.ndarray, layout: str, known: Collection[int]) -> np.ndarray:
    if isinstance(image, np.ndarray):
        if layout == STACK:
            problem = f"is a stack of {image.shape[2]} channels; a mask has one value per pixel"
            raise S2MNetError(path, problem, "Save one label per pixel as grey PNG.")
        array, alpha = _without_alpha(image)
    elif image.mode == "P":
        array, alpha = _of_palette(np.asarray(image), _palette(image), known), None
    elif image.mode == "1":
        array, alpha = np.asarray(image).astype(np.uint8), None
    elif image.mode == "L":
        stretch = {"L;2": 85, "L;4": 17}.get(layout.rstrip("IR"), 1)  # Pillow stretches 2 and 4 bits to 8
        array, alpha = np.asarray(image) // stretch, None
    elif image.mode in WORD_MODES:
        array, alpha = np.asarray(image), None
    else:
        opaque = image.mode == "RGB" and "transparency" not in image.info
        array, alpha = _without_alpha(np.asarray(image if opaque else image.convert("RGBA")))
    if alpha is not None and alpha.min() != alpha.max():
        problem = f"has a transparency that varies from {alpha.min()} to {alpha.max()}; a mask has one value per pixel"
        raise S2MNetError(path, problem, "Save the mask without an alpha channel.")
    if array.ndim == 3:
        if not all(np.array_equal(array[..., 0], array[..., channel]) for channel in range(1, array.shape[2])):
            problem = f"is a colour mask with {_colours(array)}; a mask has one value per pixel"
            raise S2MNetError(path, problem, "Save one grey value or one palette index per class.")
        array = array[..., 0]
    if array.dtype.kind == "f":
        whole = array.astype(np.int32) if np.isfinite(array).all() else None
        if whole is None or not np.array_equal(whole, array):
            raise S2MNetError(path, "has fractional values", "Round the mask to whole numbers, one per class.")
        array = whole
    return np.ascontiguousarray(array)


def window_limits(values: np.ndarray) -> tuple[float, float]:
    """The intensities mapped to 0 and 255: the 0.5 and 99.5 percentiles, or the extremes where those are equal."""
    low, high = map(float, np.percentile(values, WINDOW_PERCENTILES))
    if high <= low:  # nearly all values are one
        low, high = float(values.min()), float(values.max())
    return low, high


def _window(array: np.ndarray) -> np.ndarray:
    """Rescale more than 8 bits to uint8 by one window for all channels; 8 bits stay unchanged."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == bool:
        return array * np.uint8(255)
    finite = array if array.dtype.kind in "ui" else array[np.isfinite(array)]
    if finite.size == 0:
        return np.zeros(array.shape, np.uint8)
    low, high = window_limits(finite)
    if high <= low:
        return np.zeros(array.shape, np.uint8)
    if array.dtype == np.uint16:  # by table: a scan of 200 megapixels takes gigabytes as floats
        return _scaled(np.arange(65536.0), low, high)[array]
    return _scaled(array.astype(np.float64), low, high)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map ``low`` to 0 and ``high`` to 255, as uint8; changes the float64 values in place."""
    np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    values -= low
    values /= high - low
    np.clip(values, 0, 1, out=values)
    values *= 255
    return np.rint(values, out=values).astype(np.uint8)


def _without_alpha(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Grey (H, W) or colour (H, W, 3), and the alpha channel if there is one."""
    channels = array.shape[2] if array.ndim == 3 else 0
    if channels > 4:
        raise OSError(f"{channels} channels")
    if channels == 0:
        return array, None
    return array[..., 0] if channels < 3 else array[..., :3], array[..., -1] if channels in (2, 4) else None


def _palette(image: Image.Image | np.ndarray) -> np.ndarray:
    """All 256 palette entries as (256, 3); entries the file leaves out are black."""
    stored = image.getpalette("RGB") if isinstance(image, Image.Image) else None
    entries = np.array(stored or [], dtype=np.uint8).reshape(-1, 3)[:256]
    return np.concatenate([entries, np.zeros((256 - len(entries), 3), np.uint8)])


def _of_palette(indices: np.ndarray, palette: np.ndarray, known: Collection[int]) -> np.ndarray:
    """The indices, or the grey values that they stand for."""
    used = np.unique(indices)
    greys, black_first = palette[used], not palette[0].any()
    as_grey = _is_grey(palette) or (_is_grey(greys) and np.isin(greys, (0, 255)).all() and not black_first)
    if known and _is_grey(greys):
        fits = [bool(np.isin(values, list(known)).all()) for values in (used, greys)]
        as_grey = not black_first if all(fits) else fits[1] if any(fits) else as_grey
    return palette[indices, 0] if as_grey else indices


def check_palettes(counts: Mapping[Path, Mapping[int, int]]) -> None:
    """Raise if masks with a palette give one value two colours: their indices then need not mean the same.

    Args:
        counts: pixels of each raw value, for each mask.
    """
    seen: dict[int, tuple[list[int], Path]] = {}
    for file, held in sorted(counts.items()):
        if getattr(header(file), "mode", "") != "P":
            continue
        image, _ = decode(file)
        palette = _palette(image)
        if palette[0].any() or _is_grey(palette):  # these give grey values
            continue
        for value in (value for value in held if value < 256):
            colour, first = seen.setdefault(value, (palette[value].tolist(), file))
            if colour != palette[value].tolist():
                other = tuple(palette[value].tolist())
                problem = (
                    f"has the colour {other} for the palette index {value}, where {first.name} has {tuple(colour)}"
                )
                raise S2MNetError(
                    file, problem, "Save all masks with one palette, or as grey PNG with one value per class."
                )


def _is_grey(colours: np.ndarray) -> bool:
    return bool((colours == colours[..., :1]).all())


def _colours(array: np.ndarray) -> str:
    flat = array.reshape(-1, 3)
    if flat.dtype == np.uint8:  # one number per colour: np.unique takes seconds for the rows of a photograph
        held = np.bincount(flat @ np.array([65536, 256, 1], np.uint32))
        numbers = np.flatnonzero(held)
        colours, counts = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=-1), held[numbers]
    else:
        colours, counts = np.unique(flat, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:4]
    shown = ", ".join(f"{tuple(colours[i].tolist())} on {counts[i]} px" for i in order)
    return f"{len(colours)} colours ({shown}{', …' if len(colours) > 4 else ''})"
