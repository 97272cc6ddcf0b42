"""From what the user gives, a folder or an archive, to the folder that holds the official layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from s2mnet.datasets.archives import is_archive, unpack
from s2mnet.datasets.record import PublicSet
from s2mnet.errors import S2MNetError

MAX_DEPTH = 3
_SHOWN = 6


def open_source(source: Path, public: PublicSet, scratch: Path) -> Path:
    """The folder that holds the official layout: in a folder, in an archive, or in archives lying in either.

    Args:
        source: a folder, or a zip, tar, tar.gz or tgz file.
        public: the data set looked for.
        scratch: where archives are unpacked; need not exist, and is the caller's to remove.

    Raises:
        S2MNetError: no such source, an archive that cannot be unpacked, no such layout in it, or more than one.
    """
    if not source.exists():
        raise S2MNetError(source, "no such file or folder", f"the download of {public.name}", "Check the path.")
    folder = source
    if source.is_file():
        folder = scratch / "outer"
        unpack(source, folder)
    root = _locate(folder, public, source)
    if root is not None:
        return root
    archives = [file for level in _levels(folder, 1) for file in sorted(level.iterdir()) if is_archive(file)]
    for archive in archives:  # an official download often comes in parts
        unpack(archive, scratch / "inner")
    root = _locate(scratch / "inner", public, source) if archives else None
    if root is not None:
        return root
    raise S2MNetError(
        source,
        _content(folder, source),
        f"the layout of {public.name}: " + "; or ".join(" and ".join(layout) for layout in public.layouts),
        f"Give the folder or archive as it is downloaded from {public.url}",
    )


def _locate(folder: Path, public: PublicSet, source: Path) -> Path | None:
    """The shallowest folder with the layout; of several, the one called like the data set."""
    level = [folder]
    for _ in range(MAX_DEPTH + 1):
        fitting = [place for place in level if any(_fits(place, layout) for layout in public.layouts)]
        named = [place for place in fitting if place.name.casefold() == public.name.casefold()]
        if len(fitting) > 1 and len(named) != 1:
            shown = " and ".join(place.relative_to(folder).as_posix() for place in fitting[:_SHOWN])
            mend = "Give the folder of the one data set."
            raise S2MNetError(source, f"{len(fitting)} places that could be {public.name}: {shown}", "one", mend)
        if fitting:
            return (named or fitting)[0]
        level = [below for place in level for below in _folders(place)]
    return None


def _fits(folder: Path, layout: tuple[str, ...]) -> bool:
    return all(next(iter(folder.glob(pattern)), None) is not None for pattern in layout)


def _folders(folder: Path) -> list[Path]:
    return sorted(
        below for below in folder.iterdir() if below.is_dir() and not below.name.startswith((".", "__MACOSX"))
    )


def _levels(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        for below in _folders(folder):
            yield from _levels(below, depth - 1)


def _content(folder: Path, source: Path) -> str:
    names = [entry.name + "/" * entry.is_dir() for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
    what = "a folder" if source.is_dir() else "an archive"
    return (
        f"{what} with {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
        if names
        else f"{what} of nothing"
    )
