"""Many files in parallel, in order; and writing that survives kills and power cuts: a file is whole or absent."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import secrets
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from s2mnet.errors import S2MNetError

LONGEST_JPEG = 65500  # px of a side; the limit of libjpeg
_PARTIAL = re.compile(r"\.s2mnet-.+\.part")  # a file or folder that is not whole yet
_ATTEMPTS = 5
# What a file system answers that cannot sync folders, and the system for a folder that may not be read.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM}

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
    """Write a temporary file beside ``path``, wait until it is on the disk, and rename it; creates missing folders.

    So the file is whole or absent after a kill or a power cut at any time, also if several processes write it at once.
    Temporary files that killed processes left in the folder are deleted.

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
    for attempts_left in reversed(range(_ATTEMPTS)):
        # A short name: that of the file may have the greatest length already.
        partial = path.with_name(f".s2mnet-{secrets.token_hex(8)}.part")
        try:
            _make_folder(path.parent)
            if any(_PARTIAL.fullmatch(folder.name) for folder in path.parents):
                path.write_bytes(content)  # replace_folder waits for the disk, once for all files
                return
            sweep(path.parent)
            try:
                partial.write_bytes(content)
                _sync(partial)
                os.replace(partial, path)
            except BaseException:
                with contextlib.suppress(OSError):  # it may not have been created
                    partial.unlink()
                raise
            _sync(path.parent)
            return
        except OSError as error:
            # Another process may take the temporary file for a leftover, or delete the folder.
            if not (isinstance(error, FileNotFoundError) and attempts_left):
                raise write_error(path, error) from None


def replace_folder(partial: Path, target: Path) -> None:
    """Wait until a partial folder is on the disk, and give it its name; an empty folder of that name is replaced.

    Raises:
        S2MNetError: it cannot be written.
    """
    try:
        for folder, _, names in os.walk(partial):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
        if target.is_dir():
            target.rmdir()  # not every system replaces it
        os.replace(partial, target)
        _sync(target.parent)
    except OSError as error:
        raise write_error(target, error) from None


@contextlib.contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target`` to prepare files in, deleted at the end; see :func:`replace_folder`.

    What a killed process left there is deleted, too.

    Raises:
        S2MNetError: another process works on the same target, or the folder cannot be made.
    """
    partial = target.with_name(f".s2mnet-{target.name}.part")
    with locked(target.with_name(f".s2mnet-{target.name}.lock"), target):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            try:
                partial.mkdir()
            except OSError as error:
                raise write_error(partial, error) from None
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def locked(file: Path, work: Path) -> Iterator[None]:
    """Hold a lock file, so that one process at a time writes ``work``.

    The lock ends with its process, however that ends. Folders that are made for the file and stay empty are deleted.

    Raises:
        S2MNetError: another process holds it, or the file cannot be written.
    """
    made = [folder for folder in file.parents if not folder.exists()]
    lock = FileLock(file, timeout=0)
    try:
        _make_folder(file.parent)
        lock.acquire()
    except Timeout:
        fix = "Wait until it ends, or choose another folder."
        raise S2MNetError(work, "is being written by another process", fix) from None
    except OSError as error:
        raise write_error(work, error) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows does not delete open files
            file.unlink()
        lock.release()
        for folder in made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


def is_locked(file: Path) -> bool:
    """Whether another process holds the lock file. A file that a killed process left is not held."""
    lock = FileLock(file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:  # gone, or not ours to open
        return False
    lock.release()
    return False


@functools.cache
def sweep(folder: Path) -> None:
    """Delete leftover temporary files, once in a process. A process that is still writing one writes it again."""
    for path in folder.glob(".s2mnet-*.part"):
        with contextlib.suppress(OSError):  # a folder, or another process deleted it
            path.unlink()


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY if folder or os.name == "posix" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not (folder and error.errno in _CANNOT_SYNC):
            raise


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


def write_png(path: Path, array: np.ndarray, strategy: int = zlib.Z_FILTERED, source: str = "") -> None:
    """Write a uint8 or uint16 (H, W), or uint8 (H, W, 3), array as PNG, atomically.

    Args:
        strategy: of zlib. Z_RLE suits masks: smaller files than with the default, in less time.
        source: what made it, kept in the file as the text "Source".

    Raises:
        S2MNetError: the file cannot be written.
    """
    buffer = io.BytesIO()
    info = PngInfo()
    if source:
        info.add_text("Source", source)
    Image.fromarray(array).save(buffer, format="PNG", compress_type=strategy, pnginfo=info)
    write_atomically(path, buffer.getvalue())


def write_picture(path: Path, array: np.ndarray, source: str = "") -> None:
    """Write a uint8 (H, W, 3) picture to look at, atomically: a JPEG, or a PNG if a side is too long for JPEG.

    Args:
        path: without suffix; the suffix is added.
        source: what made it, kept in the file as a comment.

    Raises:
        S2MNetError: the file cannot be written.
    """
    if max(array.shape) > LONGEST_JPEG:
        write_png(path.with_name(f"{path.name}.png"), array, source=source)
        return
    buffer = io.BytesIO()
    # 4:4:4: subsampled colours would blur contours one pixel wide.
    Image.fromarray(array).save(buffer, format="JPEG", quality=90, subsampling=0, comment=source)
    write_atomically(path.with_name(f"{path.name}.jpg"), buffer.getvalue())
