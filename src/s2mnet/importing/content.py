"""What a source holds, and what each layout declares of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from s2mnet.data import Dataset
from s2mnet.data.images import is_image_file
from s2mnet.data.splits import Split
from s2mnet.datasets.reading import natural
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.text import listed
from s2mnet.volumes.nifti import is_nifti_name

_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "tr"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "ts"),
}


@dataclass(frozen=True)
class Content:
    """The images of a source with their masks.

    Attributes:
        records: images or volumes that have a mask. A source without splits has all of them in "train".
        dataset: the names of classes and channels, and whatever else the source states.
        without: images without a mask, which are left out.
        notes: one sentence for each other thing that the import leaves out or decides.
    """

    records: list[Record]
    dataset: Dataset = field(default_factory=Dataset)
    without: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """One way to arrange images and masks.

    Attributes:
        name: for ``--as``.
        title: what it is called on the screen.
        fits: whether a folder looks like it. Reads names and small text files, no pixels.
        read: lists what the folder holds.
    """

    name: str
    title: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Content]


def split_named(name: str) -> Split | None:
    """The split that a folder, a file or a table calls by this name; None if it is no such name.

    Example:
        >>> split_named("Training"), split_named("valid"), split_named("images")
        ('train', 'val', None)
    """
    return next((split for split, names in _SPLIT_NAMES.items() if name.strip().lower() in names), None)


def visible(root: Path) -> list[Path]:
    """The files below a folder in natural order, without hidden ones and those of hidden folders."""
    files = (file for file in root.rglob("*") if file.is_file())
    shown = [file for file in files if not _hidden(file.relative_to(root))]
    return sorted(shown, key=lambda file: natural(file.relative_to(root).as_posix()))


def files_holding(root: Path, suffix: str, *parts: bytes) -> list[Path]:
    """The visible files with this suffix that hold all of these bytes; each is read once."""

    def holds(file: Path) -> bool:
        content = file.read_bytes()
        return all(part in content for part in parts)

    return [file for file in visible(root) if file.suffix.lower() == suffix and holds(file)]


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def is_picture(path: Path) -> bool:
    """Whether a name is that of an image or of a NIfTI volume."""
    return is_image_file(path) or is_nifti_name(path)


def stem_of(path: Path) -> str:
    """The name of a file without its suffix; of NIfTI without both.

    Example:
        >>> stem_of(Path("a/heart.nii.gz")), stem_of(Path("b.01.png"))
        ('heart', 'b.01')
    """
    name = path.name
    for ending in (".nii.gz", ".nii"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return path.stem


def unique_names(paths: Sequence[Path], root: Path) -> dict[Path, str]:
    """A name for each file: its stem, or its path below the root with underscores where stems repeat.

    Example:
        >>> list(unique_names([Path("r/1/a.png"), Path("r/2/a.png")], Path("r")).values())
        ['1_a', '2_a']
    """
    stems = [stem_of(path) for path in paths]
    if len({stem.casefold() for stem in stems}) == len(stems):
        return dict(zip(paths, stems, strict=True))
    parents = [path.parent.relative_to(root).parts for path in paths]
    return {path: "_".join((*parts, stem)) for path, parts, stem in zip(paths, parents, stems, strict=True)}


def without_note(names: Iterable[str]) -> list[str]:
    """A sentence on the images that are left out; none without such images."""
    names = list(names)
    if not names:
        return []
    count = f"{len(names)} images have" if len(names) > 1 else "1 image has"
    return [f"{count} no mask and {'are' if len(names) > 1 else 'is'} left out: {listed(names, most=5)}."]


def no_pairs(root: Path, what: str) -> S2MNetError:
    """The error for a source of a known layout without a single image with its mask."""
    return S2MNetError(root, f"has no {what}", "Check the folder, or choose another layout with --as.")
