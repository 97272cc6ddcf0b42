"""Which files of a data folder belong together, and which split they are in."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from s2mnet.data.casetable import FILE as CASE_TABLE
from s2mnet.data.casetable import UNKNOWN, CaseFacts, check_names, read_case_table
from s2mnet.data.dataset import Dataset
from s2mnet.data.images import is_image_file
from s2mnet.data.splits import BY_HASH, SPLITS, Split, by_hash, digest
from s2mnet.errors import S2MNetError

FIELDS = "fields"  # of view, beside images/ and masks/
_LAYOUTS = "a folder with images/ and masks/, or with train/images and train/masks (and val/, test/)"


@dataclass(frozen=True)
class Case:
    """One image and, where there is a truth, its mask. The name is the file stem that both share.

    Attributes:
        facts: what ``cases.csv`` says of it.
        field: the mask of its field of view, above 0 inside, if it has one.
    """

    name: str
    image: Path
    mask: Path | None
    facts: CaseFacts = UNKNOWN
    field: Path | None = None

    @property
    def group(self) -> str:
        """What must not be torn apart: its patient, else its volume, else the image itself."""
        return self.facts.patient or self.facts.volume or self.name


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

    def cases_of(self, split: str) -> list[Case]:
        """The cases of a split; of all of them for "all"."""
        return [case for name, cases in self.splits.items() if split in (name, "all") for case in cases]


def find_cases(root: str | Path) -> ImageFolder:
    """Pair images and masks by equal file stems and split them.

    Either root/images and root/masks: ordered by the SHA-1 hex digest of the file stem, the first 70 % are train,
    the next 10 % val, the rest test, halves rounded up, at least one in train and val. Or root/train, root/val and
    root/test, each with images and masks: as given; without val the last eighth of train by the same order is val.
    A ``dataset.yaml`` in root is read along, and a ``cases.csv`` (:func:`~s2mnet.data.casetable.read_case_table`):
    where it names patients, or volumes, these are split rather than images, in the order of the SHA-1 of their names.
    Hidden files and files that are no images are passed over. Stems are compared, and named, in Unicode's composed form
    (NFC): some systems store é as two letters.

    Raises:
        S2MNetError: a wrong ``dataset.yaml``, no such folder or neither layout, an empty folder, no pair, fewer than
            two pairs to split, an image without a mask or the reverse, two files with one stem, one stem in two splits,
            a folder that cannot be read, a name that is not UTF-8; a wrong ``cases.csv``, one of other images, one
            by which a patient or volume is in two splits.
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
        cases: dict[Split, list[Case]] = {"train": _pair(root)}
        return replace(_split_by_hash(root, _with_facts(root, cases)["train"]), dataset=dataset)
    if "train" in given:
        parts = {split: _pair(root / split) for split in SPLITS if split in given}
        folder = _split_as_given(root, _with_facts(root, parts))
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
    fields = _by_stem(root / FIELDS) if (root / FIELDS).is_dir() else {}
    without = [images[stem].name for stem in common if fields and stem not in fields]
    if without:
        found = f"{len(without)} images without a field of view: {', '.join(without[:5])}"
        mend = f"Add the files, or take the folder {FIELDS}/ away to use whole images."
        raise S2MNetError(root / FIELDS, found, "a file of the same stem for every image", mend)
    return [Case(stem, images[stem], masks[stem], field=fields.get(stem)) for stem in common]


def _with_facts(root: Path, parts: dict[Split, list[Case]]) -> dict[Split, list[Case]]:
    """The cases with what ``cases.csv`` says of them, if there is one."""
    table = read_case_table(root)
    if table is None:
        return parts
    check_names(root, table, (case.name for cases in parts.values() for case in cases))
    return {split: [replace(case, facts=table[case.name]) for case in cases] for split, cases in parts.items()}


def _split_by_hash(root: Path, cases: list[Case]) -> ImageFolder:
    groups = {case.group for case in cases}
    if len(groups) < 2:
        found = f"{_unit(cases)} {cases[0].group} alone" if len(cases) > 1 else "1 pair"
        expected = "at least 2, one to train and one to validate"
        mend = "Add pairs of others." if len(cases) > 1 else "Add pairs."
        raise S2MNetError(root, found, expected, mend)
    chosen = by_hash(groups)
    splits = {split: [case for case in cases if chosen[case.group] == split] for split in SPLITS}
    return ImageFolder(root, splits, BY_HASH.replace("the file stem", _hashed(cases)))


def _split_as_given(root: Path, given: Mapping[Split, list[Case]]) -> ImageFolder:
    _check_apart(root, given)
    splits = {split: list(given.get(split, [])) for split in SPLITS}
    rule = "as given by the folders " + ", ".join(given)
    if "val" not in given:
        splits["train"], splits["val"], how = _take_val(root / "train", splits["train"])
        rule += f"; validation is the last eighth of train, sorted by SHA-1 of {how}"
    return ImageFolder(root, splits, rule)


def _check_apart(root: Path, given: Mapping[Split, list[Case]]) -> None:
    """Raise if an image, a patient or a volume is in two splits."""
    seen: dict[str, Split] = {}
    groups: dict[tuple[str, str], tuple[Split, Case]] = {}
    for split, cases in given.items():
        for case in cases:
            if case.name in seen:
                found = f"{case.name} in both {seen[case.name]}/ and {split}/"
                raise S2MNetError(root, found, "each image in one split", "Remove or rename one of the two.")
            seen[case.name] = split
            what = _unit([case])
            other, first = groups.setdefault((what, case.group), (split, case))
            if other != split:
                found = f"{what} {case.group} in both {other}/ ({first.name}) and {split}/ ({case.name})"
                mend = f"Move all images of a {what} into one split: else the test is of what was trained on."
                raise S2MNetError(root / CASE_TABLE, found, f"each {what} in one split", mend)


def _take_val(root: Path, train: list[Case]) -> tuple[list[Case], list[Case], str]:
    """What stays in train, what becomes validation, and by what it was sorted."""
    alone = len({case.group for case in train}) == 1
    keys = {case.name: case.name if alone else case.group for case in train}
    ordered = sorted(set(keys.values()), key=digest)
    if len(ordered) < 2:
        raise S2MNetError(root, "1 pair", "at least 2, one to train and one to validate", "Add pairs.")
    val = set(ordered[-max(1, (len(ordered) + 4) // 8) :])
    how = f"the file stem, though all of train is of one {_unit(train)}" if alone else _hashed(train)
    return [c for c in train if keys[c.name] not in val], [c for c in train if keys[c.name] in val], how


def _unit(cases: list[Case]) -> str:
    """What the groups of the cases are."""
    if any(case.facts.patient for case in cases):
        return "patient"
    return "volume" if any(case.facts.volume for case in cases) else "image"


def _hashed(cases: list[Case]) -> str:
    unit = _unit(cases)
    return "the file stem" if unit == "image" else f"the {unit}'s name"
