"""Working on many files ahead of their turn, and writing one so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from s2mnet.errors import S2MNetError

LONGEST_JPEG = 65500  # px of a side, by libjpeg

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    pool: Executor, function: Callable[[Item], Result], items: Sequence[Item], count: int
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order, while the next ``count`` are worked on.

    Unlike ``pool.map``, which starts on all items at once and so holds a task, and in the end a result, of each.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor() as pool:
        ...     list(ahead(pool, abs, [-1, 2, -3], 2))
        [(-1, 1), (2, 2), (-3, 3)]
    """
    started: deque[Future[Result]] = deque(pool.submit(function, item) for item in items[:count])
    for place, item in enumerate(items):
        result = started.popleft().result()
        if place + count < len(items):
            started.append(pool.submit(function, items[place + count]))
        yield item, result


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


def write_png(path: Path, array: np.ndarray, strategy: int = zlib.Z_FILTERED) -> None:
    """Write a uint8 or uint16 (H, W), or uint8 (H, W, 3), array as PNG, atomically.

    Args:
        strategy: of zlib. Z_RLE suits masks: smaller files than by the default, in less time.

    Raises:
        S2MNetError: the place cannot be written to.
    """
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_type=strategy)
    write_atomically(path, buffer.getvalue())


def write_picture(path: Path, array: np.ndarray) -> None:
    """Write a uint8 (H, W, 3) picture for people, atomically: as JPEG, as PNG where a side is too long for that.

    Args:
        path: without suffix, which is added.

    Raises:
        S2MNetError: the place cannot be written to.
    """
    if max(array.shape) > LONGEST_JPEG:
        write_png(path.with_name(f"{path.name}.png"), array)
        return
    buffer = io.BytesIO()
    # 4:4:4, since halved colours would blur contours of one pixel.
    Image.fromarray(array).save(buffer, format="JPEG", quality=90, subsampling=0)
    write_atomically(path.with_name(f"{path.name}.jpg"), buffer.getvalue())
