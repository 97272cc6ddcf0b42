"""Damaged compressed TIFFs: an error of ours, and not a word of the C library on the terminal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2mnet.data.images import read_mask
from s2mnet.errors import S2MNetError

ROWS, COLUMNS = np.mgrid[:64, :64]
DISC = (ROWS - 30) ** 2 + (COLUMNS - 30) ** 2 < 300


def tiff(path: Path, compression: str) -> Path:
    array = DISC if compression in ("group3", "group4", "tiff_ccitt") else DISC * np.uint8(255)
    Image.fromarray(array).save(path, compression=compression)
    return path


def strip(path: Path) -> slice:
    """Where the pixels are in the file."""
    with Image.open(path) as image:
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    return slice(start, start + length)


def damaged(path: Path, compression: str) -> Path:
    """Sixteen bytes in the middle of the pixels that no encoder writes."""
    content, pixels = bytearray(tiff(path, compression).read_bytes()), strip(path)
    middle = (pixels.start + pixels.stop) // 2
    content[middle : middle + 16] = (b"\x00\x10" if compression == "group3" else b"\x02\x81") * 8
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "tiff_lzw", "tiff_adobe_deflate"])
def test_damaged_pixels_are_refused_in_our_words(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], compression: str
) -> None:
    file = damaged(tmp_path / "a.tif", compression)
    with pytest.raises(S2MNetError, match=r"a\.tif"):
        read_mask(file)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "compression", ["group3", "group4", "tiff_ccitt", "tiff_lzw", "tiff_adobe_deflate", "packbits"]
)
def test_whole_files_are_read_after_a_damaged_one(tmp_path: Path, compression: str) -> None:
    with pytest.raises(S2MNetError):
        read_mask(damaged(tmp_path / "a.tif", "group3"))
    np.testing.assert_array_equal(read_mask(tiff(tmp_path / "b.tif", compression)) > 0, DISC)
