"""Many files in parallel, in order; and atomic writing: a file appears complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from s2mnet.errors import S2MNetError

LONGEST_JPEG = 65500  # px of a side; the limit of libjpeg

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result, in order, while the pool works on the next ``count`` items.

    Unlike ``pool.map``, which submits all items at once, this holds at most ``count`` + 1 tasks and results.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor() as pool:
        ...     list(prefetch(pool, abs, [-1, 2, -3], 2))
        [(-1, 1), (2, 2), (-3, 3)]
    """
    started: deque[tuple[Item, Future[Result]]] = deque()
    for item in items:
        started.append((item, pool.submit(function, item)))
        if len(started) > count:
            first, future = started.popleft()
            yield first, future.result()
    for item, future in started:
        yield item, future.result()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file beside ``path`` and rename it; creates missing folders.

    Raises:
        S2MNetError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "new", "a.txt")
        >>> write_atomically(path, b"text")
        >>> path.read_bytes()
        b'text'
    """
    path = Path(path)
    name = path.name
    if len(os.fsencode(name)) > 230:  # with more around it, it would be too long
        name = hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest()
    partial = path.with_name(f".{name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # it may not have been created
            partial.unlink()
        raise write_error(path, error) from None


def find_file(folder: Path, *names: str) -> Path | None:
    """The file of a folder that has one of the names, in upper or lower case; None if there is none.

    Raises:
        S2MNetError: there are two.
    """
    files = sorted(path for path in folder.iterdir() if path.name.lower() in names) if folder.is_dir() else []
    if len(files) > 1:
        raise S2MNetError(folder, f"has both {files[0].name} and {files[1].name}", "Keep one of them.")
    return files[0] if files else None


def write_error(path: Path, error: OSError) -> S2MNetError:
    """The error to raise for a path that cannot be written."""
    return S2MNetError(path, f"cannot be written to: {error.strerror or error}", "Free space or choose another folder.")


def write_png(path: Path, array: np.ndarray, strategy: int = zlib.Z_FILTERED) -> None:
    """Write a uint8 or uint16 (H, W), or uint8 (H, W, 3), array as PNG, atomically.

    Args:
        strategy: of zlib. Z_RLE suits masks: smaller files than with the default, in less time.

    Raises:
        S2MNetError: the file cannot be written.
    """
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_type=strategy)
    write_atomically(path, buffer.getvalue())


def write_picture(path: Path, array: np.ndarray) -> None:
    """Write a uint8 (H, W, 3) picture to look at, atomically: a JPEG, or a PNG if a side is too long for JPEG.

    Args:
        path: without suffix; the suffix is added.

    Raises:
        S2MNetError: the file cannot be written.
    """
    if max(array.shape) > LONGEST_JPEG:
        write_png(path.with_name(f"{path.name}.png"), array)
        return
    buffer = io.BytesIO()
    # 4:4:4: subsampled colours would blur contours one pixel wide.
    Image.fromarray(array).save(buffer, format="JPEG", quality=90, subsampling=0)
    write_atomically(path.with_name(f"{path.name}.jpg"), buffer.getvalue())
