"""The files of a data folder: image and mask paired, and assigned to a split."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from s2mnet.data.casetable import FILE as CASE_TABLE
from s2mnet.data.casetable import UNKNOWN, CaseFacts, check_names, read_case_table
from s2mnet.data.dataset import Dataset
from s2mnet.data.images import is_image_file
from s2mnet.data.splits import BY_SHARE, SPLITS, Split, by_share
from s2mnet.errors import S2MNetError

Result = TypeVar("Result")
FIELDS = "fields"  # of view: a folder beside images/ and masks/
VOLUMES = (".nii", ".nii.gz", ".dcm")
_ARRANGE = (
    "Arrange the files as DATA/images and DATA/masks, or as DATA/train/images and DATA/train/masks (and val/, test/);"
    " `s2mnet import SOURCE DATA` does it for the layouts of other tools."
)


@dataclass(frozen=True)
class Case:
    """An image and its mask, if it has one. The name is the file stem that both share.

    Attributes:
        facts: what ``cases.csv`` says about it.
        field: the mask of its field of view, above 0 inside, if it has one.
    """

    name: str
    image: Path
    mask: Path | None
    facts: CaseFacts = UNKNOWN
    field: Path | None = None

    @property
    def group(self) -> str:
        """What a split keeps together: its patient, else its volume, else the image itself."""
        return self.facts.patient or self.facts.volume or self.name


@dataclass(frozen=True)
class ImageFolder:
    """The cases of a data folder.

    Attributes:
        root: the folder.
        splits: cases of "train", "val" and "test", each sorted by name; test may be empty.
        split_rule: one sentence saying how the split was made.
        dataset: the content of its ``dataset.yaml``, if it has one.
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
        """The cases of a split; "all" gives the cases of all splits."""
        return [case for name, cases in self.splits.items() if split in (name, "all") for case in cases]


def _readable(find: Callable[[Path], Result]) -> Callable[[str | Path], Result]:
    """Turn an error of the system into one message."""

    @functools.wraps(find)
    def guarded(folder: str | Path) -> Result:
        try:
            return find(Path(folder))
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error})"
            raise S2MNetError(error.filename or folder, problem, "Check the path and its permissions.") from None

    return guarded


@_readable
def find_cases(root: Path) -> ImageFolder:
    """Pair images and masks by equal file stems and split them.

    Either root/images and root/masks: about 70 % are train, 10 % val and 20 % test, by the SHA-1 of the file stem
    (:func:`~s2mnet.data.splits.by_share`), so that images added later move no other image. Or root/train, root/val
    and root/test, each with images and masks: as given; without val about an eighth of train is val, likewise.
    A ``dataset.yaml`` in root is read too, and a ``cases.csv`` (:func:`~s2mnet.data.casetable.read_case_table`):
    where it names patients, or volumes, these are split instead of images, by the SHA-1 of their names.
    Hidden files and files that are not images are skipped. Stems are compared in Unicode's composed form (NFC): some
    systems store é as two characters.

    Raises:
        S2MNetError: a wrong ``dataset.yaml``, no such folder or neither layout, an empty folder, no pair, fewer than
            two pairs to split, an image without a mask or the reverse, two files with one stem, one stem in two splits,
            images in subfolders of these folders, images in other folders than train, val and test, a folder that
            cannot be read, a name that is not UTF-8; a wrong ``cases.csv``, one of other images, one by which a patient
            or volume is in two splits.
    """
    if not root.is_dir():
        if root.exists():
            raise S2MNetError(root, "is a file, not a folder", "Unpack it if it is an archive.")
        raise S2MNetError(root, "does not exist", "Check the path.")
    flat = [name for name in ("images", "masks") if (root / name).is_dir()]
    given = [name for name in SPLITS if (root / name).is_dir()]
    if flat and given:
        raise S2MNetError(root, f"has both {flat[0]}/ and {given[0]}/", f"Keep one of the two layouts. {_ARRANGE}")
    pairs = sorted(path.parent for path in root.glob("[!.]*/images") if (path.parent / "masks").is_dir())
    others = [path.name for path in pairs if path.name not in SPLITS]
    if given and others:
        problem = f"has {others[0]}/images besides {given[0]}/"
        raise S2MNetError(root, problem, f"Name it train/, val/ or test/, or move {others[0]}/ elsewhere.")
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
    shown = ", ".join(inside[:5]) + (", …" if len(inside) > 5 else "")
    problem = f"has neither images/ and masks/ nor train/, only {shown}" if inside else "is an empty folder"
    raise S2MNetError(root, problem, _ARRANGE)


@_readable
def find_images(path: Path) -> list[Path]:
    """The images to predict: the file itself, or the image files of a folder (not of its subfolders), sorted.

    Raises:
        S2MNetError: no such file or folder, no image in it, two images with one stem (their masks would have the same
            name), or a name that is not UTF-8.
    """
    if path.is_file():
        if is_image_file(path):
            return [path]
        problem = f"has the suffix {path.suffix!r}; images are png, jpg, tif, bmp or gif"
        raise S2MNetError(path, problem, "Choose an image or a folder of images.")
    if not path.is_dir():
        raise S2MNetError(path, "does not exist", "Check the path of the image or folder.")
    images = sorted(_by_stem(path).values())
    if not images:
        check_subfolders(path)
        raise S2MNetError(
            path, "contains no png, jpg, tif, bmp or gif image", "Choose the folder that holds the images."
        )
    return images


def image_below(folder: Path, leave_out: Path | None = None) -> Path | None:
    """An image in a subfolder, which is not read; None if there is none but in hidden folders and in ``leave_out``."""
    below = sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    files = (file for inner in below for file in sorted(inner.rglob("*")) if is_image_file(file))
    own = leave_out.resolve() if leave_out else None
    return next((file for file in files if own not in file.resolve().parents), None)


def check_subfolders(folder: Path) -> None:
    """Raise if there are images in subfolders, which are not read."""
    if image := image_below(folder):
        problem = f"has images in subfolders, which are not read, such as {image.relative_to(folder)}"
        raise S2MNetError(folder, problem, "Move the images up, or choose the subfolder; move other files elsewhere.")


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.is_dir() or not is_image_file(file):  # a broken link stays: reading it reports it
            continue
        stem = unicodedata.normalize("NFC", file.stem)
        if any("\ud800" <= letter <= "\udfff" for letter in stem):  # how Python represents bytes that are not UTF-8
            shown = os.fsencode(file.name).decode(errors="backslashreplace")
            fix = "Rename the file and its partner alike; tables and reports cannot contain such a name."
            raise S2MNetError(folder, f"contains a name that is not UTF-8: {shown}", fix)
        if stem in files:
            both = f"{files[stem].name} and {file.name}"
            raise S2MNetError(folder, f"contains two files with one stem: {both}", "Rename or remove one.")
        files[stem] = file
    return files


def _pair(root: Path) -> list[Case]:
    for name in ("images", "masks"):
        if not (root / name).is_dir():
            raise S2MNetError(root, f"has no folder {name}/", "Put images/ and masks/ side by side.")
    folders = [name for name in ("images", "masks", FIELDS) if (root / name).is_dir()]
    for name in folders:
        check_subfolders(root / name)
    images, masks = _by_stem(root / "images"), _by_stem(root / "masks")
    for name, files in (("images", images), ("masks", masks)):
        if not files:
            volumes = [file.name for file in sorted((root / name).iterdir()) if file.name.lower().endswith(VOLUMES)]
            if volumes:
                problem = f"contains volumes ({volumes[0]}); training reads slices, as images, not NIfTI or DICOM"
                raise S2MNetError(root / name, problem, "Use `s2mnet import SOURCE DATA`, which slices volumes.")
            raise S2MNetError(root / name, "contains no png, jpg, tif, bmp or gif file", "Put the files there.")
    common = sorted(images.keys() & masks.keys())
    if not common:
        names = f"{min(images.values()).name} and {min(masks.values()).name}"
        problem = f"has no image and mask with the same name ({names}, for example)"
        raise S2MNetError(root, problem, "Rename the masks like the images, or use `s2mnet import SOURCE DATA`.")
    for what, other, files in (("image", "mask", images), ("mask", "image", masks)):
        alone = [files[stem] for stem in sorted(files.keys() - set(common))]
        if alone:
            names = ", ".join(file.name for file in alone[:5]) + (", …" if len(alone) > 5 else "")
            problem = f"has {len(alone)} {what}{'s' * (len(alone) > 1)} without {other}: {names}"
            raise S2MNetError(alone[0].parent, problem, f"Add the {other} of the same name, or remove the {what}.")
    fields = _by_stem(root / FIELDS) if FIELDS in folders else {}
    without = [images[stem].name for stem in common if fields and stem not in fields]
    if without:
        problem = f"has no field of view for {len(without)} images: {', '.join(without[:5])}"
        raise S2MNetError(root / FIELDS, problem, f"Add the files, or remove the folder {FIELDS}/ to use whole images.")
    return [Case(stem, images[stem], masks[stem], field=fields.get(stem)) for stem in common]


def _with_facts(root: Path, parts: dict[Split, list[Case]]) -> dict[Split, list[Case]]:
    """The cases with their facts from ``cases.csv``, if there is one."""
    table = read_case_table(root)
    if table is None:
        return parts
    check_names(root, table, (case.name for cases in parts.values() for case in cases))
    return {split: [replace(case, facts=table[case.name]) for case in cases] for split, cases in parts.items()}


def _split_by_hash(root: Path, cases: list[Case]) -> ImageFolder:
    groups = {case.group for case in cases}
    if len(groups) < 2:
        unit = _unit(cases)
        only = f"only {unit} {cases[0].group}" if len(cases) > 1 else "only 1 pair"
        problem = f"has {only}; training needs at least 2, one to train and one to validate"
        raise S2MNetError(root, problem, f"Add pairs of another {unit}." if len(cases) > 1 else "Add pairs.")
    chosen = by_share(groups)
    splits = {split: [case for case in cases if chosen[case.group] == split] for split in SPLITS}
    return ImageFolder(root, splits, BY_SHARE.replace("the file stem", _hashed(cases)))


def _split_as_given(root: Path, given: Mapping[Split, list[Case]]) -> ImageFolder:
    _check_apart(root, given)
    splits = {split: list(given.get(split, [])) for split in SPLITS}
    rule = "as given by the folders " + ", ".join(given)
    if "val" not in given:
        splits["train"], splits["val"], how = _take_val(root / "train", splits["train"])
        rule += f"; validation is the last eighth of train by the range of the SHA-1 of {how}"
    return ImageFolder(root, splits, rule)


def _check_apart(root: Path, given: Mapping[Split, list[Case]]) -> None:
    """Raise if an image, a patient or a volume is in two splits."""
    seen: dict[str, Split] = {}
    groups: dict[tuple[str, str], tuple[Split, Case]] = {}
    for split, cases in given.items():
        for case in cases:
            if case.name in seen:
                problem = f"has {case.name} in both {seen[case.name]}/ and {split}/"
                raise S2MNetError(root, problem, "Remove or rename one of the two.")
            seen[case.name] = split
            what = _unit([case])
            other, first = groups.setdefault((what, case.group), (split, case))
            if other != split:
                problem = f"puts {what} {case.group} in both {other}/ ({first.name}) and {split}/ ({case.name})"
                fix = f"Move all images of a {what} into one split; otherwise training data is tested on."
                raise S2MNetError(root / CASE_TABLE, problem, fix)


def _take_val(root: Path, train: list[Case]) -> tuple[list[Case], list[Case], str]:
    """Cases that stay in train, cases that become validation, and what they were told apart by."""
    alone = len({case.group for case in train}) == 1
    keys = {case.name: case.name if alone else case.group for case in train}
    if len(set(keys.values())) < 2:
        problem = "has only 1 pair; training needs at least 2, one to train and one to validate"
        raise S2MNetError(root, problem, "Add pairs.")
    chosen = by_share(keys.values(), (7 / 8, 1))
    how = f"the file stem, since all of train is one {_unit(train)}" if alone else _hashed(train)
    parts = [[case for case in train if chosen[keys[case.name]] == split] for split in SPLITS[:2]]
    return parts[0], parts[1], how


def _unit(cases: list[Case]) -> str:
    """What the cases are grouped by."""
    if any(case.facts.patient for case in cases):
        return "patient"
    return "volume" if any(case.facts.volume for case in cases) else "image"


def _hashed(cases: list[Case]) -> str:
    unit = _unit(cases)
    return "the file stem" if unit == "image" else f"the {unit}'s name"
