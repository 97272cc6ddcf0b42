"""Unpacking a downloaded archive. No entry may reach beyond the target folder."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from s2mnet.errors import S2MNetError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_BYTES = 128 * 2**30
MAX_ENTRIES = 500_000

_UNPACK = "If you trust it, unpack it yourself and give the folder."


class _Entry(NamedTuple):
    name: str
    size: int
    kind: str  # "file", "folder", or what it is instead
    open: Callable[[], IO[bytes] | None]


class Unpacked(NamedTuple):
    """Bytes and entries that archives held."""

    size: int
    entries: int


NOTHING = Unpacked(0, 0)


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive this module unpacks, and not hidden.

    Example:
        >>> [is_archive(Path(name)) for name in ("a.ZIP", "b.tar.gz", "im0001.ppm.gz", ".c.zip")]
        [True, True, False, False]
    """
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def unpack(archive: Path, folder: Path, before: Unpacked = NOTHING) -> Unpacked:
    """Unpack a zip, tar, tar.gz or tgz file into a folder, which is created if needed. No file is replaced.

    Only plain files and folders are unpacked, up to 128 GiB and 500,000 entries, with those ``before`` it.

    Returns:
        What has been unpacked in all.

    Raises:
        S2MNetError: the file is no such archive, damaged or encrypted; an entry is absolute, climbs out with ``..``,
            or is a link or a device; a bound is exceeded; the disk is full.
    """
    size, entries = before
    try:
        with _opened(archive) as opened:
            for entry in _entries(opened):
                size, entries = size + entry.size, entries + 1
                target = folder / _checked(archive, entry, size, entries)
                if entry.kind == "folder":
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with entry.open() as source, target.open("xb") as file:  # type: ignore[union-attr]
                    shutil.copyfileobj(source, file, 2**20)
    except (S2MNetError, MemoryError):
        raise
    except OSError as error:
        fix = "Check that the archive is complete, and free space beside the output."
        raise S2MNetError(archive, f"cannot be unpacked ({error.strerror or error})", fix) from None
    except Exception as error:  # of zipfile, tarfile and four decompressors
        if type(error) is RuntimeError:  # zipfile's error for a missing password
            raise S2MNetError(archive, f"needs a password ({error})", _UNPACK) from None
        raise S2MNetError(archive, f"is a damaged archive ({error})", "Download it again.") from None
    return Unpacked(size, entries)


def _opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    if tarfile.is_tarfile(archive):
        return tarfile.open(archive)
    fix = "Unpack a rar or 7z file yourself, and give the folder."
    raise S2MNetError(archive, "is no folder, and no zip, tar, tar.gz or tgz file", fix)


def _entries(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[_Entry]:
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            kind = "a link" if stat.S_ISLNK(info.external_attr >> 16) else "folder" if info.is_dir() else "file"
            yield _Entry(info.filename, info.file_size, kind, partial(opened.open, info))
    else:
        for member in opened:
            link = f"a link to {member.linkname!r}" if member.issym() or member.islnk() else "a device or pipe"
            kind = "folder" if member.isdir() else "file" if member.isreg() else link
            yield _Entry(member.name, member.size, kind, partial(opened.extractfile, member))


def _checked(archive: Path, entry: _Entry, size: int, entries: int) -> PurePosixPath:
    """The path of the entry relative to the folder; ``size`` and ``entries`` are the sums so far, with this entry."""
    path = PurePosixPath(entry.name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(entry.name).drive or ".." in path.parts:
        raise S2MNetError(archive, f"has the entry {entry.name!r}, which points out of it", _UNPACK)
    if entry.kind not in ("file", "folder"):
        raise S2MNetError(archive, f"has the entry {entry.name!r}, {entry.kind}", _UNPACK)
    if size > MAX_BYTES:
        raise S2MNetError(archive, f"has more than {MAX_BYTES / 2**30:g} GiB when unpacked", _UNPACK)
    if entries > MAX_ENTRIES:
        raise S2MNetError(archive, f"has more than {MAX_ENTRIES} entries", _UNPACK)
    return path
