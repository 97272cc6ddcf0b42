"""What is wrong with a data folder whose files have been measured, worst first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s2mnet.data.cases import SPLITS, Split
from s2mnet.data.folder import MIN_SIDE
from s2mnet.data.labels import IGNORE_INDEX, LabelMap
from s2mnet.inspection.fingerprint import Duplicate
from s2mnet.inspection.problem import SEVERITIES, Problem, inside, problem
from s2mnet.inspection.reading import CaseFacts, foreground_share

SIZE_SPREAD = 16  # largest area over smallest
FEWEST_PIXELS = 0.0005  # share of the pixels
SHARED_MASK = 3  # images
GREY_VALUES, GREY_SHARE = 16, 0.1
LIKE_IMAGE = 0.9  # correlation
MANY_EMPTY = 0.5
MANY_ALIKE = 10  # files with one and the same fault, which are told together

# The order of problems of one severity.
KINDS = (
    "folder", "unreadable", "labels", "no foreground", "mask is its image", "grey mask", "exact across", "near across",
    "class absent", "same mask", "many empty masks", "no test split", "constant image", "tiny image", "few pixels",
    "size spread", "empty masks", "exact within", "near within",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A folder after reading: what the search for problems is given.

    Attributes:
        counts: pairs per split, readable or not.
        facts: of the pairs that could be read.
        labels: None if the mask values were not understood.
        shares: for each of `facts` the pixels of each class index, None where the label map does not fit the mask.
        duplicates, duplicate_counts: as :func:`s2mnet.inspection.duplicates.find_duplicates` gives them.
    """

    root: Path
    counts: Mapping[Split, int]
    facts: Sequence[CaseFacts]
    labels: LabelMap | None
    shares: Sequence[Mapping[int, int] | None]
    duplicates: Sequence[Duplicate]
    duplicate_counts: Mapping[str, int]

    def image(self, fact: CaseFacts) -> str:
        return inside(fact.case.image, self.root)

    def mask(self, fact: CaseFacts) -> str:
        return inside(fact.case.mask or fact.case.image, self.root)


def find_problems(measured: Measured) -> list[Problem]:
    """All problems that the numbers tell, in no order."""
    finders = (_suspicious_masks, _foreground, _absent_classes, _copies, _shared_masks, _images, _splits)
    return [found for finder in finders for found in finder(measured)]


def worst_first(problems: Iterable[Problem]) -> list[Problem]:
    """By severity, then by kind, then by file; many files with one and the same fault become one problem."""
    groups: dict[tuple[str, str, str], list[Problem]] = defaultdict(list)
    for found in problems:
        groups[found.severity, found.kind, found.mend].append(found)
    told: list[Problem] = []
    for group in groups.values():
        group.sort(key=lambda found: found.file)
        told += [_together(group)] if len(group) >= MANY_ALIKE else group
    return sorted(told, key=lambda p: (SEVERITIES.index(p.severity), KINDS.index(p.kind), -p.count, p.file))


def _together(group: Sequence[Problem]) -> Problem:
    first, files = group[0], [file for found in group for file in found.files]
    found = f"{first.found} (and {len(group) - 1} more files with this fault)"
    return problem(first.severity, first.kind, files, found, first.means, first.mend)


def _suspicious_masks(measured: Measured) -> Iterator[Problem]:
    mend = "Put the masks in their place."
    copies = [fact for fact in measured.facts if fact.mask_is_image and not fact.constant]
    if copies:
        found = f"{_masks(len(copies))} with exactly the pixels of the image"
        means = "The network would learn to copy brightness, and its figures would mean nothing."
        yield problem("warning", "mask is its image", [measured.mask(fact) for fact in copies], found, means, mend)
    declared = measured.labels is not None and measured.labels.kind == "classes"
    grey = [
        fact
        for fact, share in zip(measured.facts, measured.shares, strict=True)
        if not fact.mask_is_image and not (declared and share is not None) and _is_grey(fact.values)
    ]
    if grey:
        like = sum(abs(fact.mask_likeness) >= LIKE_IMAGE for fact in grey)
        found = f"{_masks(len(grey))} that {'look' if len(grey) > 1 else 'looks'} like a grey image"
        found += f", {like} of them like the image beside it" if like else ""
        means = "One value per class was expected; a picture or a heat map in its place trains on nonsense."
        mend = "Put the masks in their place, or threshold them if they are probability maps."
        yield problem("warning", "grey mask", [measured.mask(fact) for fact in grey], found, means, mend)


def _is_grey(values: Mapping[int, int]) -> bool:
    """Many values, and a good part of the pixels near neither 0 nor 255: more than blurred or JPEG edges give."""
    between = sum(pixels for value, pixels in values.items() if not (value <= 40 or 215 <= value <= 255))
    return len(values) >= GREY_VALUES and between > GREY_SHARE * sum(values.values())


def _foreground(measured: Measured) -> Iterator[Problem]:
    known = [(fact, share) for fact, share in zip(measured.facts, measured.shares, strict=True) if share is not None]
    pixels = [(fact, foreground_share(share)) for fact, share in known]
    empty = [fact for fact, share in pixels if share == 0]
    if known and all(share == 0 for fact, share in pixels if fact.split == "train"):
        means = "There is nothing to learn from; training refuses the folder."
        mend = "Move masks with foreground into train, or say how to read the masks with --labels."
        yield problem("error", "no foreground", [], "no foreground in any train mask", means, mend)
    elif empty:
        many = len(empty) > MANY_EMPTY * len(known)
        found = f"{len(empty)} of {len(known)} masks are empty ({len(empty) / len(known):.0%}), no foreground in them"
        means = "Right if these images show nothing to segment; a failed export looks the same."
        mend = "Look at some of them. Take the images out whose masks are missing rather than empty."
        files = [measured.mask(fact) for fact in empty]
        yield problem(
            "warning" if many else "note", "many empty masks" if many else "empty masks", files, found, means, mend
        )
    few = [fact for fact, share in pixels if 0 < share < FEWEST_PIXELS]
    if few:
        found = f"{_masks(len(few))} with foreground on less than 0.05 % of the pixels"
        means = "These are often stray clicks or lost outlines, and one wrong pixel moves their Dice far."
        mend = "Look at them; correct the mask, or keep it if the structure is that small."
        yield problem("warning", "few pixels", [measured.mask(fact) for fact in few], found, means, mend)


def _absent_classes(measured: Measured) -> Iterator[Problem]:
    if measured.labels is None:
        return
    held: dict[Split, set[int]] = {split: set() for split in SPLITS}
    read: dict[Split, int] = dict.fromkeys(SPLITS, 0)
    for fact, share in zip(measured.facts, measured.shares, strict=True):
        if share is not None:
            read[fact.split] += 1
            held[fact.split] |= {index for index, pixels in share.items() if pixels}
    if not any(index not in (0, IGNORE_INDEX) for index in held["train"]):
        return  # said as "no foreground"
    for index in range(1, measured.labels.num_classes):
        absent = [split for split in SPLITS if read[split] and index not in held[split]]
        if absent:
            name = f"{measured.labels.names[index]} (value {measured.labels.values[index]})"
            means = (
                "The network never sees this class and cannot learn it."
                if "train" in absent
                else "No figure can be given for this class there."
            )
            mend = "Split so that each class is in train, val and test, or leave the class out of dataset.yaml."
            yield problem("warning", "class absent", [], f"no mask of {' and '.join(absent)} holds {name}", means, mend)


def _copies(measured: Measured) -> Iterator[Problem]:
    texts = {
        "exact": ("pairs of images with equal pixels", "the same image twice"),
        "near": ("pairs of images that look alike", "neighbours in a video, or one patient twice"),
    }
    for kind, (what, why) in texts.items():
        for where in ("across", "within"):
            count = measured.duplicate_counts[f"{kind} {where}"]
            if not count:
                continue
            across = where == "across"
            pairs = [pair for pair in measured.duplicates if pair.kind == kind and pair.across == across]
            first = pairs[0]
            shown = f"{first.first} ({first.splits[0]}) and {first.second} ({first.splits[1]})"
            found = f"{count} {what if count > 1 else what.replace('pairs', 'pair', 1)}: {shown}"
            found += " for one" if count > 1 else ""
            if across:
                found, means = (
                    f"{found}, in different splits",
                    f"Most likely {why}: validation and test look better than they are.",
                )
                mend = "Split by patient or by video into train/, val/ and test/, so that look-alikes stay together."
            else:
                means = f"Most likely {why}; they count more than other images, and a new split could part them."
                mend = "Keep them in one split; take copies out."
            files = list(dict.fromkeys(file for pair in pairs for file in (pair.first, pair.second)))
            yield problem("warning" if across else "note", f"{kind} {where}", files, found, means, mend, count)


def _shared_masks(measured: Measured) -> Iterator[Problem]:
    groups: dict[bytes, list[CaseFacts]] = defaultdict(list)
    for fact, share in zip(measured.facts, measured.shares, strict=True):
        marked = foreground_share(share) > 0 if share is not None else len(fact.values) > 1
        if marked:
            groups[fact.mask_hash].append(fact)
    for group in groups.values():
        if len({fact.image_hash for fact in group}) >= SHARED_MASK:
            found = f"the same mask for {len(group)} images"
            means = "A drawn mask is never the same twice: this may be a field of view, a template or a failed export."
            mend = "Put the masks of these images in their place."
            yield problem("warning", "same mask", sorted(measured.mask(fact) for fact in group), found, means, mend)


def _images(measured: Measured) -> Iterator[Problem]:
    constant = [measured.image(fact) for fact in measured.facts if fact.constant]
    if constant:
        found = f"{len(constant)} image{'s' * (len(constant) > 1)} with one value everywhere"
        yield problem(
            "warning", "constant image", constant, found, "There is nothing to see.", "Export again or take out."
        )
    tiny = [measured.image(fact) for fact in measured.facts if min(fact.height, fact.width) < MIN_SIDE]
    if tiny:
        found = f"{len(tiny)} image{'s' * (len(tiny) > 1)} with a side below {MIN_SIDE} px"
        means = "They are enlarged to be used at all, and show no detail."
        yield problem("warning", "tiny image", tiny, found, means, "Use the originals, or take thumbnails out.")
    ordered = sorted(measured.facts, key=lambda fact: fact.height * fact.width)
    if ordered and ordered[-1].height * ordered[-1].width > SIZE_SPREAD * ordered[0].height * ordered[0].width:
        small, large = ordered[0], ordered[-1]
        found = f"images from {small.height} × {small.width} to {large.height} × {large.width} px (height × width)"
        means = "Brought to one size, structures of one kind differ in scale; in patches, they differ in extent."
        files = [measured.image(small), measured.image(large)]
        mend = "Check that all images come at the resolution they were taken at."
        yield problem("warning", "size spread", files, found, means, mend)


def _splits(measured: Measured) -> Iterator[Problem]:
    if not measured.counts.get("test"):
        means = "The figures will be those of the validation images, on which the best model is chosen."
        mend = "Add a folder test/ with images and masks that play no part in training."
        yield problem("warning", "no test split", [], "no test images", means, mend)


def _masks(count: int) -> str:
    return f"{count} mask{'s' * (count > 1)}"
