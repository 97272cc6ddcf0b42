"""From the folder or archive that the user gives to the folder that holds the official layout."""

from __future__ import annotations

from pathlib import Path

from s2mnet.datasets.archives import NOTHING, is_archive, unpack
from s2mnet.datasets.record import PublicSet
from s2mnet.errors import S2MNetError

MAX_DEPTH = 3
_SHOWN = 6


def open_source(source: Path, public: PublicSet, scratch: Path) -> Path:
    """Find the folder with the official layout: in a folder, in an archive, or in archives inside either.

    Args:
        source: a folder, or a zip, tar, tar.gz or tgz file.
        public: the data set to look for.
        scratch: where archives are unpacked; need not exist. The caller removes it.

    Raises:
        S2MNetError: the source does not exist, an archive cannot be unpacked, or the layout is missing or ambiguous.
    """
    if not source.exists():
        problem = "does not exist: no such file or folder"
        raise S2MNetError(source, problem, f"Check the path, and give the download of {public.name}.")
    folder, unpacked = source, NOTHING
    if source.is_file():
        folder = scratch / "outer"
        unpacked = unpack(source, folder)
    root = _locate(folder, public, source)
    if root is not None:
        return root
    archives = [file for level in (folder, *_folders(folder)) for file in sorted(level.iterdir()) if is_archive(file)]
    for archive in archives:  # an official download often comes in parts
        unpacked = unpack(archive, scratch / "inner", unpacked)
    root = _locate(scratch / "inner", public, source) if archives else None
    if root is not None:
        return root
    layouts = "; or ".join(" and ".join(layout.globs) for layout in public.layouts)
    problem = f"is {_content(folder, source)}; the layout of {public.name} is {layouts}"
    raise S2MNetError(source, problem, f"Give the folder or archive as downloaded from {public.source}")


def _locate(folder: Path, public: PublicSet, source: Path) -> Path | None:
    """The shallowest folder with the layout; of several, the one with the name of the data set."""
    level = [folder]
    for _ in range(MAX_DEPTH + 1):
        fitting = [place for place in level if any(layout.fits(place) for layout in public.layouts)]
        named = [place for place in fitting if place.name.casefold() == public.name.casefold()]
        if len(fitting) > 1 and len(named) != 1:
            shown = " and ".join(place.relative_to(folder).as_posix() for place in fitting[:_SHOWN])
            problem = f"has {len(fitting)} places that could be {public.name}: {shown}"
            raise S2MNetError(source, problem, "Give the folder of the one data set.")
        if fitting:
            return (named or fitting)[0]
        level = [below for place in level for below in _folders(place)]
    return None


def _folders(folder: Path) -> list[Path]:
    return sorted(
        below for below in folder.iterdir() if below.is_dir() and not below.name.startswith((".", "__MACOSX"))
    )


def _content(folder: Path, source: Path) -> str:
    names = [entry.name + "/" * entry.is_dir() for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    shown = ", ".join(names[:_SHOWN]) + ", …" * (len(names) > _SHOWN)
    return f"{'a folder' if source.is_dir() else 'an archive'} with {shown or 'no files'}"
