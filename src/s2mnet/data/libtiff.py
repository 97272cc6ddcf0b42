"""The errors of libtiff, the C library inside Pillow: raised, where Pillow lets libtiff print them and goes on."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator

from PIL import Image

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_thread = threading.local()


@contextlib.contextmanager
def raise_libtiff_errors() -> Iterator[None]:
    """Raise what a codec of libtiff finds wrong inside the block; libtiff prints nothing.

    It has no effect where the library is not visible inside Pillow's module, as on Windows.

    Raises:
        OSError: damaged pixels, such as a bad code word of a fax, after which Pillow goes on with white ones.
    """
    _install()
    _thread.damage = None
    yield
    if _thread.damage:
        raise OSError(_thread.damage)


@_HANDLER
def _keep(module: bytes | None, text: bytes, _: int) -> None:
    module = module or b""  # C passes NULL for a message of no module
    if b"Decode" in module or module == b"JPEGLib":  # the codecs; other modules read tags, often ones that nobody needs
        _thread.damage = f"{module.decode()} cannot decode the pixels"


@functools.cache
def _install() -> None:
    library = ctypes.CDLL(Image.core.__file__)
    for name, handler in (("TIFFSetErrorHandler", _keep), ("TIFFSetWarningHandler", None)):
        with contextlib.suppress(AttributeError):
            function = getattr(library, name)
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
            function(ctypes.cast(handler, ctypes.c_void_p) if handler else None)
