"""How a file stores its pixels, from its header."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}


def stored_form(path: Path) -> tuple[str, int]:
    """Pillow's mode and the stored bits per sample; ("other", 0) for what Pillow has no mode for.

    Only the header is read, and the file is one that :func:`s2mnet.data.read_image` could read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("1", (4, 4)).save(Path(folder, "a.png"))
        ...     stored_form(Path(folder, "a.png"))
        ('1', 1)
    """
    try:
        with Image.open(path, formats=("PNG", "JPEG", "TIFF", "BMP", "GIF")) as image:
            if image.format == "TIFF":
                return image.mode, max(getattr(image, "tag_v2", {}).get(258, (1,)))
            return image.mode, _stored_bits(image)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return "other", 0


def _stored_bits(image: Image.Image) -> int:
    tiles = getattr(image, "tile", [])
    arguments = tiles[0][3] if tiles else ""
    layout = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    stated = layout.partition(";")[2] if isinstance(layout, str) else ""  # PNG: "L;4", "P;2", "RGB;16B"
    digits = stated.rstrip("BLNRIS")
    return int(digits) if digits.isdigit() else _BITS.get(image.mode, 8)
