"""What names say: words for images and masks, and the beginnings or ends in which the names of pairs differ."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from s2mnet.data.splits import Split
from s2mnet.importing.content import split_named

Role = Literal["image", "mask", ""]
_MASK_WORDS = frozenset({
    "mask", "masks", "msk", "label", "labels", "lbl", "seg", "segs", "segm", "segmentation", "segmentations", "gt",
    "gts", "groundtruth", "truth", "truths", "anno", "annos", "annot", "annotation", "annotations", "annotated",
    "manual", "manuals", "contour", "contours", "target", "targets",
})  # fmt: skip
_IMAGE_WORDS = frozenset({
    "image", "images", "img", "imgs", "input", "inputs", "original", "originals", "orig", "raw", "scan", "scans",
    "volume", "volumes", "photo", "photos", "picture", "pictures", "frame", "frames", "ct", "mr", "mri", "us",
    "rgb", "jpegimages",
})  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_MOST = 12  # names of one base: a base of more is what all names begin or end with
_NUMBER = re.compile(r"[_\-. ]?\(?\d+\)?")
_PATIENT = re.compile(r"(patient|pat|subject|subj|sub)[-_ ]?\d+(?![A-Za-z\d])", re.IGNORECASE)
_BORDERS = re.compile(r"[_\-. ]+")


def words(name: str) -> list[str]:
    """The words of a name in lower case, by punctuation and inner capitals.

    Example:
        >>> words("ISIC_Training-GroundTruth"), words("imagesTr")
        (['isic', 'training', 'ground', 'truth'], ['images', 'tr'])
    """
    return [word.lower() for word in _WORD.findall(name)]


def role_of(name: str) -> Role:
    """Whether a name is that of images or of masks; "" if it says neither, or both side by side.

    Example:
        >>> role_of("train_masks"), role_of("Input"), role_of("images_and_masks"), role_of("mask_images")
        ('mask', 'image', '', 'mask')
    """
    held = set(words(name))
    if held & _MASK_WORDS:
        return "" if held & {"and", "with"} else "mask"
    return "image" if held & _IMAGE_WORDS else ""


def role_of_folder(path: PurePath) -> Role:
    """The role of the innermost folder that has one."""
    return next((role for part in reversed(path.parts) if (role := role_of(part))), "")


def split_of_folder(path: PurePath) -> Split | None:
    """The split that a folder of a path names.

    Example:
        >>> split_of_folder(PurePath("Training_Input/a")), split_of_folder(PurePath("masks"))
        ('train', None)
    """
    found = [split for part in path.parts for word in words(part) if (split := split_named(word))]
    return found[-1] if found else None


def patient_of(path: PurePath) -> str:
    """The patient that a folder or the beginning of a file name states; "" if none does.

    Example:
        >>> [patient_of(PurePath(path)) for path in ("train/patient007/a.png", "sub-01_T1.nii", "12.png")]
        ['patient007', 'sub-01', '']
    """
    held = (match[0] for part in path.parts if (match := _PATIENT.match(part)))
    return next(held, "")


def without_roles(path: PurePath) -> tuple[str, ...]:
    """The folders of a path without the words for images and masks: equal for the folders of a pair.

    Example:
        >>> without_roles(PurePath("train/images")) == without_roles(PurePath("train/masks"))
        True
    """
    kept = (" ".join(word for word in words(part) if word not in _MASK_WORDS | _IMAGE_WORDS) for part in path.parts)
    neutral = (part if not role_of(part) else rest for part, rest in zip(path.parts, kept, strict=True))
    return tuple(part for part in neutral if part)


@dataclass(frozen=True, order=True)
class Affix:
    """What the names of all images, or of all masks, begin and end with."""

    start: str = ""
    end: str = ""

    def base(self, stem: str) -> str | None:
        """What is left of a name; None if it does not have the affix."""
        fits = stem.startswith(self.start) and stem.endswith(self.end) and len(stem) >= len(self.start + self.end)
        return stem[len(self.start) : len(stem) - len(self.end)] if fits else None

    def numbered_base(self, stem: str) -> str | None:
        """As :meth:`base`; also of a name with a number after the affix, as files of one object each have.

        Example:
            >>> Affix(end="_mask").numbered_base("benign (1)_mask_2")
            'benign (1)'
        """
        own = self.base(stem)
        if own is not None or not self.end or not stem.startswith(self.start):
            return own
        base, found, number = stem[len(self.start) :].rpartition(self.end)
        return base if found and _NUMBER.fullmatch(number) else None

    @property
    def role(self) -> Role:
        """What the words in it say."""
        return role_of(f"{self.start} {self.end}")

    def __str__(self) -> str:
        return f"{self.start}*{self.end}"


def affixes(stem: str) -> Iterator[Affix]:
    """The ways to cut a name in a base and an affix: the empty affix, the whole name, and by punctuation."""
    yield Affix()
    yield Affix(start=stem)
    for border in _BORDERS.finditer(stem):
        if border.start():
            yield Affix(end=stem[border.start() :])
        if border.end() < len(stem):
            yield Affix(start=stem[: border.end()])


def common_pairs(images: Iterable[str], masks: Iterable[str] | None = None) -> Counter[tuple[Affix, Affix]]:
    """How many names differ in nothing but a pair of affixes. A few names, as of one patient, may differ as a whole.

    Args:
        images: names of images; of both, if ``masks`` is None.
        masks: names of masks.

    Example:
        >>> pair, count = common_pairs(["a_x", "a_y", "b_x", "b_y", "c_x", "c_y"]).most_common(1)[0]
        >>> [str(affix) for affix in pair], count
        (['*_x', '*_y'], 3)
    """
    first = _by_base(images)
    second = first if masks is None else _by_base(masks)
    pairs: Counter[tuple[Affix, Affix]] = Counter()
    for base in first.keys() & second.keys():
        for one in first[base]:
            for other in second[base]:
                if masks is not None or one < other:
                    pairs[one, other] += 1
    return pairs


def _by_base(stems: Iterable[str]) -> dict[str, set[Affix]]:
    bases: dict[str, set[Affix]] = defaultdict(set)
    for stem in stems:
        for affix in affixes(stem):
            base = affix.base(stem)
            if base is not None:
                bases[base].add(affix)
    return {base: held for base, held in bases.items() if len(held) <= _MOST}
