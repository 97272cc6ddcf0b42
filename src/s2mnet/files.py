"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from s2mnet.errors import S2MNetError


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path``, then put it in place in one step; makes the folder if need be.

    Raises:
        S2MNetError: the place cannot be written to.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "new", "a.txt")
        >>> write_atomically(path, b"text")
        >>> path.read_bytes()
        b'text'
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # it may never have come to be
            partial.unlink()
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> S2MNetError:
    """The error for a place that cannot be written to."""
    expected = "a place that can be written to"
    return S2MNetError(path, f"{error.strerror or error}", expected, "Free space or name another folder.")


def write_png(path: Path, array: np.ndarray, level: int = 6) -> None:
    """Write a uint8 or uint16 (H, W), or uint8 (H, W, 3), array as PNG, atomically.

    Args:
        level: how hard zlib tries to make it small, 0 to 9.

    Raises:
        S2MNetError: the place cannot be written to.
    """
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_level=level)
    write_atomically(path, buffer.getvalue())
