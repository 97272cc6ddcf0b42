"""How a file stores its pixels, from its header."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from s2mnet.data.decoding import header, sample_layout

_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}


def stored_form(path: Path) -> tuple[str, int]:
    """Pillow's mode and the stored bits per sample; ("other", 0) for what Pillow has no mode for.

    Only the header is read. The file must be one that :func:`s2mnet.data.read_image` can read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("1", (4, 4)).save(Path(folder, "a.png"))
        ...     stored_form(Path(folder, "a.png"))
        ('1', 1)
    """
    image = header(path)
    if image is None:
        return "other", 0
    if image.format == "TIFF":
        return image.mode, max(getattr(image, "tag_v2", {}).get(258, (1,)))
    return image.mode, _stored_bits(image)


def _stored_bits(image: Image.Image) -> int:
    digits = sample_layout(image).partition(";")[2].rstrip("BLNRIS")  # PNG: "L;4", "P;2", "RGB;16B"
    return int(digits) if digits.isdigit() else _BITS.get(image.mode, 8)
