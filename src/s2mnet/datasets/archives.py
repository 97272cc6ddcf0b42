"""Unpacking a downloaded archive, none of whose entries may reach beyond the folder it is unpacked into."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
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
    content: zipfile.ZipInfo | tarfile.TarInfo


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive this module unpacks, and not hidden.

    Example:
        >>> [is_archive(Path(name)) for name in ("a.ZIP", "b.tar.gz", "im0001.ppm.gz", ".c.zip")]
        [True, True, False, False]
    """
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip, tar, tar.gz or tgz file into a folder, which is made if need be; no file in it is replaced.

    Only plain files and folders are unpacked, up to 128 GiB and 500,000 entries in one archive.

    Raises:
        S2MNetError: no such archive, a damaged or encrypted one, or an entry that is absolute, climbs out with
            ``..``, or is a link or a device; more than the bounds; no space left.
    """
    total = 0
    try:
        with _opened(archive) as opened:
            for number, entry in enumerate(_entries(opened)):
                total += entry.size
                target = folder.joinpath(*_inside(archive, entry).parts)
                _within_bounds(archive, total, number + 1)
                if entry.kind == "folder":
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with _stream(opened, entry) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 2**20)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise S2MNetError(archive, f"a damaged archive ({error})", "a whole archive", "Download it again.") from None
    except RuntimeError as error:  # how zipfile says that a password is wanted
        raise S2MNetError(
            archive, f"what cannot be unpacked ({error})", "an archive without a password", _UNPACK
        ) from None
    except OSError as error:
        found = f"that it cannot be unpacked ({error.strerror or error})"
        raise S2MNetError(archive, found, "a whole archive, and space beside the output", "Free space.") from None


def _opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    if tarfile.is_tarfile(archive):
        return tarfile.open(archive)
    mend = "Unpack it yourself, if it is a rar or 7z file for one, and give the folder."
    raise S2MNetError(archive, "a file that is no such archive", "a folder, or a zip, tar, tar.gz or tgz file", mend)


def _entries(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[_Entry]:
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            link = (info.external_attr >> 16) & 0o170000 == 0o120000
            yield _Entry(
                info.filename, info.file_size, "a link" if link else _kind(not info.is_dir(), info.is_dir()), info
            )
    else:
        for member in opened:
            kind = f"a link to {member.linkname!r}" if member.issym() or member.islnk() else ""
            yield _Entry(member.name, member.size, kind or _kind(member.isreg(), member.isdir()), member)


def _kind(file: bool, folder: bool) -> str:
    return "file" if file else "folder" if folder else "a device or pipe"


def _inside(archive: Path, entry: _Entry) -> PurePosixPath:
    """Where the entry goes, relative to the folder."""
    path = PurePosixPath(entry.name.replace("\\", "/"))
    expected = "only files and folders inside the archive"
    if path.is_absolute() or PureWindowsPath(entry.name).drive or ".." in path.parts:
        raise S2MNetError(archive, f"the entry {entry.name!r}, which points out of it", expected, _UNPACK)
    if entry.kind not in ("file", "folder"):
        raise S2MNetError(archive, f"the entry {entry.name!r}, {entry.kind}", expected, _UNPACK)
    return path


def _within_bounds(archive: Path, size: int, entries: int) -> None:
    if size > MAX_BYTES:
        found = f"more than {MAX_BYTES / 2**30:g} GiB when unpacked"
        raise S2MNetError(archive, found, f"at most {MAX_BYTES / 2**30:g} GiB", _UNPACK)
    if entries > MAX_ENTRIES:
        raise S2MNetError(archive, f"more than {MAX_ENTRIES} entries", f"at most {MAX_ENTRIES}", _UNPACK)


def _stream(opened: zipfile.ZipFile | tarfile.TarFile, entry: _Entry) -> IO[bytes]:
    if isinstance(opened, zipfile.ZipFile):
        return opened.open(entry.content)  # type: ignore[arg-type]
    stream = opened.extractfile(entry.content)  # type: ignore[arg-type]
    if stream is None:
        raise tarfile.TarError(f"{entry.name} has no content")
    return stream
