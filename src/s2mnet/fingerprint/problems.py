"""What is wrong with a data folder whose files have been measured, worst first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from s2mnet.data.cases import SPLITS, Split
from s2mnet.data.labels import LabelMap
from s2mnet.fingerprint.pair import InspectedPair, Pair, Shares, foreground_share
from s2mnet.fingerprint.problem import SEVERITIES, Problem, inside, problem_of, problem_of_files
from s2mnet.fingerprint.record import Duplicate

MIN_SIDE = 32  # the smallest extent the network takes (SPEC 1)
SIZE_SPREAD = 16  # largest area over smallest
FEWEST_PIXELS = 0.0005  # share of the pixels
SHARED_MASK = 3  # images
GREY_VALUES, GREY_SHARE = 16, 0.1
LIKE_IMAGE = 0.9  # correlation
MANY_EMPTY = 0.5
MANY_ALIKE = 10  # files with the same fault, which become one problem

# The order of problems of one severity.
KINDS = (
    "folder", "unreadable", "channels", "labels", "no foreground", "mask is its image", "grey mask", "exact across",
    "near across", "class absent", "same mask", "many empty masks", "no test split", "constant image", "tiny image",
    "few pixels", "size spread", "empty masks", "exact within", "near within",
)  # fmt: skip


@dataclass(frozen=True)
class Readings:
    """A folder after reading: what problems are looked for in.

    Attributes:
        counts: pairs per split, readable or not.
        pairs: those that could be read.
        labels: None if the mask values were not understood.
        shares: for each of `pairs` the pixels of each class index, None where the label map does not fit the mask.
    """

    root: Path
    counts: Mapping[Split, int]
    pairs: Sequence[Pair]
    labels: LabelMap | None
    shares: Sequence[Shares | None]

    @cached_property
    def known(self) -> list[tuple[Pair, Shares]]:
        """Pairs whose mask fits the label map, with the pixels of each class."""
        return [(pair, share) for pair, share in zip(self.pairs, self.shares, strict=True) if share is not None]

    @cached_property
    def marked(self) -> list[tuple[Pair, Shares]]:
        """Those of the train split that have foreground."""
        return [(pair, share) for pair, share in self.known if pair.split == "train" and foreground_share(share) > 0]

    @cached_property
    def inspected(self) -> list[tuple[InspectedPair, Shares | None]]:
        """All pairs with the facts of an inspection; none while training."""
        both = zip(self.pairs, self.shares, strict=True)
        return [(pair, share) for pair, share in both if isinstance(pair, InspectedPair)]

    def images(self, pairs: Iterable[Pair]) -> list[str]:
        return [inside(pair.case.image, self.root) for pair in pairs]

    def masks(self, pairs: Iterable[Pair]) -> list[str]:
        return [inside(pair.mask, self.root) for pair in pairs]


def find_problems(
    readings: Readings, duplicates: Sequence[Duplicate], duplicate_counts: Mapping[str, int]
) -> list[Problem]:
    """All problems that follow from the numbers, in no order.

    Args:
        duplicates, duplicate_counts: as :func:`s2mnet.fingerprint.duplicates.find_duplicates` gives them.
    """
    finders = (_copied_masks, _grey_masks, _foreground, _absent_classes, _shared_masks, _images, _splits)
    problems = [problem for finder in finders for problem in finder(readings)]
    return problems + list(_look_alikes(duplicates, duplicate_counts))


def worst_first(problems: Iterable[Problem]) -> list[Problem]:
    """By severity, then by kind, then by file; many files with the same fault become one problem."""
    groups: defaultdict[tuple[str, str, str], list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[problem.severity, problem.kind, problem.fix].append(problem)
    merged: list[Problem] = []
    for group in groups.values():
        group.sort(key=lambda problem: problem.file)
        merged += [_merged(group)] if len(group) >= MANY_ALIKE else group
    return sorted(merged, key=lambda p: (SEVERITIES.index(p.severity), KINDS.index(p.kind), -p.count, p.file))


def _merged(group: Sequence[Problem]) -> Problem:
    first, files = group[0], [file for problem in group for file in problem.files]
    return problem_of(first.severity, first.kind, files, first.where, first.problem, first.means, first.fix)


def _copied_masks(readings: Readings) -> Iterator[Problem]:
    copies = [pair for pair, _ in readings.inspected if pair.mask_is_image and not pair.constant]
    if copies:
        yield problem_of_files(
            "warning", "mask is its image", "mask", readings.masks(copies),
            "has exactly the pixels of its image", "have exactly the pixels of their images",
            "The network would learn to copy brightness, and its figures would be meaningless.",
            "Replace the copies by the masks.",
        )  # fmt: skip


def _grey_masks(readings: Readings) -> Iterator[Problem]:
    declared = readings.labels is not None and readings.labels.kind == "classes"
    grey = [
        pair
        for pair, share in readings.inspected
        if not pair.mask_is_image and not (declared and share is not None) and _is_grey(pair.values)
    ]
    if grey:
        alike = sum(abs(pair.mask_likeness) >= LIKE_IMAGE for pair in grey)
        also = f"; {alike} of them {'resemble' if alike > 1 else 'resembles'} the image it belongs to" if alike else ""
        yield problem_of_files(
            "warning", "grey mask", "mask", readings.masks(grey),
            "looks like a grey image" + ("; it resembles the image it belongs to" if alike else ""),
            f"look like grey images{also}",
            "A mask has one value per class; training on a picture or a heat map gives nonsense.",
            "Replace them by the masks, or threshold them if they are probability maps.",
        )  # fmt: skip


def _is_grey(values: Mapping[int, int]) -> bool:
    """Many values, and a good part of the pixels near neither 0 nor 255: more than blurred or JPEG edges give."""
    between = sum(pixels for value, pixels in values.items() if not (value <= 40 or 215 <= value <= 255))
    return len(values) >= GREY_VALUES and between > GREY_SHARE * sum(values.values())


def _foreground(readings: Readings) -> Iterator[Problem]:
    known = [(pair, foreground_share(share)) for pair, share in readings.known]
    empty = readings.masks(pair for pair, share in known if share == 0)
    if known and not readings.marked:
        yield problem_of(
            "error", "no foreground", [], "The folder", "has no foreground in any train mask",
            "There is nothing to learn from; training refuses the folder.",
            "Move masks with foreground into train, or say how to read the masks with --labels.",
        )  # fmt: skip
    elif empty:
        many = len(empty) > MANY_EMPTY * len(known)
        is_empty = f"{'is' if len(empty) == 1 else 'are'} empty ({len(empty) / len(known):.0%}), {empty[0]} for example"
        yield problem_of(
            "warning" if many else "note", "many empty masks" if many else "empty masks", empty,
            f"{len(empty)} of {len(known)} masks", is_empty,
            "This is right if these images show nothing to segment; a failed export looks the same.",
            "Look at some of them. Remove images whose masks are missing rather than empty.",
        )  # fmt: skip
    few = readings.masks(pair for pair, share in known if 0 < share < FEWEST_PIXELS)
    if few:
        foreground = f"foreground on less than {FEWEST_PIXELS:.2%} of the pixels"
        yield problem_of_files(
            "warning", "few pixels", "mask", few, f"has {foreground}", f"have {foreground}",
            "These are often stray clicks or lost outlines, and one wrong pixel changes their Dice a lot.",
            "Look at them; correct the mask, or keep it if the structure is that small.",
        )  # fmt: skip


def _absent_classes(readings: Readings) -> Iterator[Problem]:
    if readings.labels is None or not readings.marked:
        return
    held: dict[Split, set[int]] = {split: set() for split in SPLITS}
    for pair, share in readings.known:
        held[pair.split] |= share.keys()
    for index in range(1, readings.labels.num_classes):
        absent = [split for split in SPLITS if held[split] and index not in held[split]]
        if absent:
            name = f"{readings.labels.names[index]} (value {readings.labels.values[index]})"
            yield problem_of(
                "warning", "class absent", [], f"No mask of {' and '.join(absent)}", f"holds {name}",
                "The network never sees this class and cannot learn it."
                if "train" in absent
                else "There are no figures for this class there.",
                "Split so that each class is in train, val and test, or remove the class from dataset.yaml.",
            )  # fmt: skip


def _look_alikes(duplicates: Sequence[Duplicate], counts: Mapping[str, int]) -> Iterator[Problem]:
    texts = {
        "exact": ("have equal pixels", "the same image twice"),
        "near": ("look alike", "neighbours in a video, or one patient twice"),
    }
    for name, count in counts.items():
        if not count:
            continue
        kind, place = name.split()
        alike, why = texts[kind]
        across = place == "across"
        pairs = [pair for pair in duplicates if pair.kind == kind and pair.across == across]
        first, second = (
            f"{file} ({split})" for file, split in zip((pairs[0].first, pairs[0].second), pairs[0].splits, strict=True)
        )
        where = f"{first} and {second}" if count == 1 else f"{count} pairs of images"
        example = "" if count == 1 else f" ({first} and {second}, for example)"
        if across:
            means = f"Most likely {why}: validation and test figures are too good."
            fix = "Split by patient or by video into train/, val/ and test/, so that look-alikes stay together."
        else:
            means = f"Most likely {why}; they count more than other images, and a new split could separate them."
            fix = "Keep them in one split; remove copies."
        yield problem_of(
            "warning" if across else "note", name,
            list(dict.fromkeys(file for pair in pairs for file in (pair.first, pair.second))),
            where, alike + (" in different splits" if across else "") + example, means, fix, count,
        )  # fmt: skip


def _shared_masks(readings: Readings) -> Iterator[Problem]:
    groups: defaultdict[bytes, list[InspectedPair]] = defaultdict(list)
    for pair, share in readings.inspected:
        if foreground_share(share) > 0 if share is not None else len(pair.values) > 1:
            groups[pair.mask_hash].append(pair)
    for group in groups.values():
        if len({pair.image_hash for pair in group}) >= SHARED_MASK:
            files = sorted(readings.masks(group))
            yield problem_of(
                "warning", "same mask", files, f"{len(files)} images", f"have the same mask ({files[0]}, for example)",
                "A drawn mask is never the same twice: this may be a field of view, a template or a failed export.",
                "Replace them by the masks of these images.",
            )  # fmt: skip


def _images(readings: Readings) -> Iterator[Problem]:
    constant = readings.images(pair for pair in readings.pairs if pair.constant)
    if constant:
        yield problem_of_files(
            "warning", "constant image", "image", constant, "has one value everywhere", "have one value everywhere",
            "There is nothing to see.", "Export them again or remove them.",
        )  # fmt: skip
    tiny = readings.images(pair for pair in readings.pairs if min(pair.height, pair.width) < MIN_SIDE)
    if tiny:
        side = f"a side below {MIN_SIDE} px"
        yield problem_of_files(
            "warning", "tiny image", "image", tiny, f"has {side}", f"have {side}",
            "They must be enlarged to be used, and show no detail.", "Use the originals, or remove thumbnails.",
        )  # fmt: skip
    ordered = sorted(readings.pairs, key=lambda pair: pair.height * pair.width)
    if ordered and ordered[-1].height * ordered[-1].width > SIZE_SPREAD * ordered[0].height * ordered[0].width:
        small, large = ordered[0], ordered[-1]
        sizes = f"{small.height} × {small.width} to {large.height} × {large.width} px (height × width)"
        yield problem_of(
            "warning", "size spread", readings.images([small, large]), "The images", f"range from {sizes}",
            "Resized to one size, structures of one kind differ in scale; in patches, they differ in extent.",
            "Check that all images have the resolution they were taken at.",
        )  # fmt: skip


def _splits(readings: Readings) -> Iterator[Problem]:
    if not readings.counts.get("test"):
        yield problem_of(
            "warning", "no test split", [], "The folder", "has no test images",
            "The figures will be those of the validation images, on which the best model is chosen.",
            "Add a folder test/ with images and masks that play no part in training.",
        )  # fmt: skip
