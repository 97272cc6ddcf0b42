"""Which files of a data folder belong together, and which split they are in."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from s2mnet.data.dataset import Dataset
from s2mnet.data.images import is_image_file
from s2mnet.data.splits import BY_HASH, SPLITS, Split, by_hash, digest
from s2mnet.errors import S2MNetError

_LAYOUTS = "a folder with images/ and masks/, or with train/images and train/masks (and val/, test/)"


@dataclass(frozen=True)
class Case:
    """One image and, where there is a truth, its mask. The name is the file stem that both share."""

    name: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class ImageFolder:
    """The cases of a data folder.

    Attributes:
        root: the folder.
        splits: cases of "train", "val" and "test", each sorted by name; test may be empty.
        split_rule: one sentence saying how the split was made.
        dataset: what its ``dataset.yaml`` says, if it has one.
    """

    root: Path
    splits: dict[Split, list[Case]]
    split_rule: str
    dataset: Dataset = field(default_factory=Dataset)

    @property
    def name(self) -> str:
        """Name of the data set, or of the folder."""
        return self.dataset.name or self.root.resolve().name


def find_cases(root: str | Path) -> ImageFolder:
    """Pair images and masks by equal file stems and split them.

    Either root/images and root/masks: ordered by the SHA-1 hex digest of the file stem, the first 70 % are train,
    the next 10 % val, the rest test, halves rounded up, at least one in train and val. Or root/train, root/val and
    root/test, each with images and masks: as given; without val the last eighth of train by the same order is val.
    A ``dataset.yaml`` in root is read along.
    Hidden files and files that are no images are passed over. Stems are compared, and named, in Unicode's composed form
    (NFC): some systems store é as two letters.

    Raises:
        S2MNetError: a wrong ``dataset.yaml``, no such folder or neither layout, an empty folder, no pair, fewer than
            two pairs to split, an image without a mask or the reverse, two files with one stem, one stem in two splits,
            a folder that cannot be read, a name that is not UTF-8.
    """
    root = Path(root)
    with _readable(root):
        return _find_cases(root)


def _find_cases(root: Path) -> ImageFolder:
    if not root.is_dir():
        found, mend = ("a file", "Unpack it if it is an archive.") if root.exists() else ("no such folder", "")
        raise S2MNetError(root, found, _LAYOUTS, mend or "Check the path.")
    flat = [name for name in ("images", "masks") if (root / name).is_dir()]
    given = [name for name in SPLITS if (root / name).is_dir()]
    if flat and given:
        found = f"both {flat[0]}/ and {given[0]}/"
        raise S2MNetError(root, found, _LAYOUTS, "Keep one of the two layouts.")
    dataset = Dataset.load(root)
    if flat:
        return replace(_split_by_hash(root, _pair(root)), dataset=dataset)
    if "train" in given:
        folder = _split_as_given(root, {split: _pair(root / split) for split in SPLITS if split in given})
        rule = f"{folder.split_rule} ({dataset.split})" if dataset.split else folder.split_rule
        return replace(folder, split_rule=rule, dataset=dataset)
    inside = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    found = ("only " + ", ".join(inside[:5]) + (", …" if len(inside) > 5 else "")) if inside else "an empty folder"
    raise S2MNetError(root, found, _LAYOUTS, "Put the files into that form.")


def find_images(path: str | Path) -> list[Path]:
    """The images to predict: the file itself, or the image files of a folder (not of its subfolders), sorted.

    Raises:
        S2MNetError: nothing there, no image in it, two images with one stem (their masks would have one name), or a
            name that is not UTF-8.
    """
    path = Path(path)
    with _readable(path):
        return _find_images(path)


def _find_images(path: Path) -> list[Path]:
    if path.is_file():
        if is_image_file(path):
            return [path]
        found = f"a file with the suffix {path.suffix!r}"
        raise S2MNetError(path, found, "png, jpg, tif, bmp or gif", "Give an image or a folder of images.")
    if not path.is_dir():
        raise S2MNetError(path, "no such file or folder", "an image or a folder of images", "Check the path.")
    images = sorted(_by_stem(path).values())
    if not images:
        mend = "Give the folder that holds the images themselves."
        raise S2MNetError(path, "no image in it", "png, jpg, tif, bmp or gif files", mend)
    return images


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        found = f"what cannot be read ({error.strerror or error})"
        mend = "Check the path and its permissions."
        raise S2MNetError(error.filename or folder, found, "a folder that you may read", mend) from None


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.is_dir() or not is_image_file(file):  # a link to nowhere stays: reading it says so
            continue
        stem = unicodedata.normalize("NFC", file.stem)
        if any("\ud800" <= letter <= "\udfff" for letter in stem):  # how Python holds bytes that are no UTF-8
            shown = os.fsencode(file.name).decode(errors="backslashreplace")
            mend = "Rename it and its partner alike; tables and reports could not name it."
            raise S2MNetError(folder, f"a name that is not UTF-8: {shown}", "names in UTF-8", mend)
        if stem in found:
            both = f"{found[stem].name} and {file.name}"
            raise S2MNetError(folder, f"two files with one stem: {both}", "one file per stem", "Rename or remove one.")
        found[stem] = file
    return found


def _pair(root: Path) -> list[Case]:
    for name in ("images", "masks"):
        if not (root / name).is_dir():
            raise S2MNetError(root, f"no folder {name}/ in it", "images/ and masks/ side by side", "Add the folder.")
    images, masks = _by_stem(root / "images"), _by_stem(root / "masks")
    for name, files in (("images", images), ("masks", masks)):
        if not files:
            mend = "Put the files there."
            raise S2MNetError(root / name, "no image file in it", "png, jpg, tif, bmp or gif files", mend)
    common = sorted(images.keys() & masks.keys())
    if not common:
        found = f"no pair ({min(images.values()).name} and {min(masks.values()).name}, for example)"
        raise S2MNetError(root, found, "images and masks with equal stems, a.jpg and a.png", "Rename the masks.")
    for what, other, files in (("image", "mask", images), ("mask", "image", masks)):
        alone = [files[stem] for stem in sorted(files.keys() - set(common))]
        if alone:
            names = ", ".join(file.name for file in alone[:5]) + (", …" if len(alone) > 5 else "")
            found = f"{len(alone)} {what}{'s' * (len(alone) > 1)} without {other}: {names}"
            expected = f"a {other} of the same stem for every {what}"
            raise S2MNetError(alone[0].parent, found, expected, f"Add the {other}, or take the {what} away.")
    return [Case(stem, images[stem], masks[stem]) for stem in common]


def _split_by_hash(root: Path, cases: list[Case]) -> ImageFolder:
    _require_two(root, len(cases))
    chosen = by_hash(case.name for case in cases)
    return ImageFolder(
        root, {split: _by_name([case for case in cases if chosen[case.name] == split]) for split in SPLITS}, BY_HASH
    )


def _split_as_given(root: Path, given: Mapping[Split, list[Case]]) -> ImageFolder:
    seen: dict[str, Split] = {}
    for split, cases in given.items():
        for case in cases:
            if case.name in seen:
                found = f"{case.name} in both {seen[case.name]}/ and {split}/"
                raise S2MNetError(root, found, "each image in one split", "Remove or rename one of the two.")
            seen[case.name] = split
    splits = {split: list(given.get(split, [])) for split in SPLITS}
    rule = "as given by the folders " + ", ".join(given)
    if "val" not in given:
        count = len(splits["train"])
        _require_two(root / "train", count)
        ordered, val = sorted(splits["train"], key=lambda case: digest(case.name)), max(1, (count + 4) // 8)
        splits["train"], splits["val"] = _by_name(ordered[:-val]), _by_name(ordered[-val:])
        rule += "; validation is the last eighth of train, sorted by SHA-1 of the file stem"
    return ImageFolder(root, splits, rule)


def _by_name(cases: list[Case]) -> list[Case]:
    return sorted(cases, key=lambda case: case.name)


def _require_two(root: Path, count: int) -> None:
    if count < 2:
        raise S2MNetError(root, f"{count} pair", "at least 2, one to train and one to validate", "Add pairs.")
