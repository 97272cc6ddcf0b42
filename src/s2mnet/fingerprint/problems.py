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
from s2mnet.fingerprint.problem import MAX_FILES, SEVERITIES, Problem, Severity, inside
from s2mnet.fingerprint.record import Duplicate

MIN_SIDE = 32  # the smallest extent the network takes (SPEC 1)
SIZE_SPREAD = 16  # largest area over smallest
FEWEST_PIXELS = 0.0005  # share of the pixels
SHARED_MASK = 3  # images
GREY_VALUES, GREY_SHARE = 16, 0.1
LIKE_IMAGE = 0.9  # correlation
MANY_EMPTY = 0.5
MANY_ALIKE = 10  # files with the same fault, which become one problem

_ACROSS = (
    "Most likely the same image twice, neighbours in a video, or one patient twice: validation and test figures are "
    "too good.",
    "Split by patient or by video into train/, val/ and test/, so that look-alikes stay together.",
)
_WITHIN = (
    "Most likely the same image twice, neighbours in a video, or one patient twice: they count more than other images, "
    "and a new split could separate them.",
    "Keep them in one split; remove copies.",
)
_EMPTY = (
    "{is} empty ({share:.0%}), {first} for example",
    "This is right if these images show nothing to segment; a failed export looks the same.",
    "Look at some of them. Remove images whose masks are missing rather than empty.",
)  # fmt: skip
_PLURAL = {"has": "have", "is": "are", "looks": "look", "its": "their"}
# kind → severity, problem, means, fix. The order is that of problems of one severity, after those of single files.
TEXTS: dict[str, tuple[Severity, str, str, str]] = {
    "no foreground": (
        "error", "has no foreground in any train mask", "There is nothing to learn; training refuses the folder.",
        "Move masks with foreground into train, or say how to read the masks with --labels.",
    ),
    "mask is its image": (
        "warning", "{has} exactly the pixels of {its} image",
        "The network would learn to copy brightness, and its figures would be meaningless.",
        "Replace the copies by the masks.",
    ),
    "grey mask": (
        "warning", "{looks} like a grey image{resembles}",
        "A mask has one value per class; training on a picture or a heat map gives nonsense.",
        "Replace them by the masks, or threshold them if they are probability maps.",
    ),
    "exact across": ("warning", "{has} equal pixels in different splits", *_ACROSS),
    "near across": ("warning", "{looks} alike in different splits", *_ACROSS),
    "class absent": (
        "warning", "holds {name}", "A class that is not in train cannot be learned; elsewhere it has no figures.",
        "Split so that each class is in train, val and test, or remove the class from dataset.yaml.",
    ),
    "same mask": (
        "warning", "{has} the same mask",
        "A drawn mask is never the same twice: this may be a field of view, a template or a failed export.",
        "Replace them by the masks of these images.",
    ),
    "many empty masks": ("warning", *_EMPTY),
    "no test split": (
        "warning", "has no test images",
        "The figures will be those of the validation images, on which the best model is chosen.",
        "Add a folder test/ with images and masks that play no part in training.",
    ),
    "constant image": (
        "warning", "{has} one value everywhere", "There is nothing to see.", "Export them again or remove them.",
    ),
    "tiny image": (
        "warning", f"{{has}} a side below {MIN_SIDE} px", "They must be enlarged to be used, and show no detail.",
        "Use the originals, or remove thumbnails.",
    ),
    "few pixels": (
        "warning", f"{{has}} foreground on less than {FEWEST_PIXELS:.2%} of the pixels",
        "These are often stray clicks or lost outlines, and one wrong pixel changes their Dice a lot.",
        "Look at them; correct the mask, or keep it if the structure is that small.",
    ),
    "size spread": (
        "warning", "range from {sizes} px (height × width)",
        "Resized to one size, structures of one kind differ in scale; in patches, they differ in extent.",
        "Check that all images have the resolution they were taken at.",
    ),
    "one side": (
        "warning", "lies in the {side} half of nearly every image",
        "Training mirrors images. If something alike on the other side is background, the two will be confused.",
        "In that case set flip_axes: [rows], rotate_degrees: 30 and tta: 1 in the plan, which turns mirroring off.",
    ),
    "empty masks": ("note", *_EMPTY),
    "exact within": ("note", "{has} equal pixels", *_WITHIN),
    "near within": ("note", "{looks} alike", *_WITHIN),
}  # fmt: skip
KINDS = ("folder", "unreadable", "channels", "labels", *TEXTS)


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
    readings: Readings,
    duplicates: Sequence[Duplicate],
    duplicate_counts: Mapping[str, int],
    one_sided: Mapping[str, str] | None = None,
) -> list[Problem]:
    """All problems that follow from the numbers, in no order.

    Args:
        duplicates, duplicate_counts: as :func:`s2mnet.fingerprint.duplicates.find_duplicates` gives them.
        one_sided: as :func:`s2mnet.fingerprint.sides.one_sided` gives it.
    """
    finders = (_masks, _foreground, _absent_classes, _shared_masks, _images, _splits)
    problems = [problem for finder in finders for problem in finder(readings)]
    problems += [_problem("one side", [], name, side=side) for name, side in (one_sided or {}).items()]
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
    files = [file for problem in group for file in problem.files]
    return group[0].model_copy(update={"files": files[:MAX_FILES], "count": len(files)})


def _problem(kind: str, files: Sequence[str], where: str = "", count: int | None = None, **words: object) -> Problem:
    """A problem of one file by its name or, if `where` is "image" or "mask", of several by their number."""
    severity, text, means, fix = TEXTS[kind]
    many = len(files) > 1
    text = text.format(**{word: plural if many else word for word, plural in _PLURAL.items()}, **words)
    if where in ("image", "mask"):
        where = f"{len(files)} {where}s" if many else files[0]
        text += f" ({files[0]}, for example)" if many else ""
    return Problem(
        severity=severity, kind=kind, where=where or "The folder", problem=text, means=means, fix=fix,
        files=list(files[:MAX_FILES]), count=len(files) if count is None else count,
    )  # fmt: skip


def _masks(readings: Readings) -> Iterator[Problem]:
    copies = [pair for pair, _ in readings.inspected if pair.mask_is_image and not pair.constant]
    if copies:
        yield _problem("mask is its image", readings.masks(copies), "mask")
    declared = readings.labels is not None and readings.labels.kind == "classes"
    grey = [
        pair
        for pair, share in readings.inspected
        if not pair.mask_is_image and not (declared and share is not None) and _is_grey(pair.values)
    ]
    if grey:
        alike = sum(abs(pair.mask_likeness) >= LIKE_IMAGE for pair in grey)
        whose = "its own" if len(grey) == 1 else f"{alike} of them like their own"
        resembles = f", {whose}" if alike else ""
        yield _problem("grey mask", readings.masks(grey), "mask", resembles=resembles)


def _is_grey(values: Mapping[int, int]) -> bool:
    """Many values, and a good part of the pixels near neither 0 nor 255: more than blurred or JPEG edges give."""
    between = sum(pixels for value, pixels in values.items() if not (value <= 40 or 215 <= value <= 255))
    return len(values) >= GREY_VALUES and between > GREY_SHARE * sum(values.values())


def _foreground(readings: Readings) -> Iterator[Problem]:
    known = [(pair, foreground_share(share)) for pair, share in readings.known]
    empty = readings.masks(pair for pair, share in known if share == 0)
    if known and not readings.marked:
        yield _problem("no foreground", [])
    elif empty:
        share = len(empty) / len(known)
        kind = "many empty masks" if share > MANY_EMPTY else "empty masks"
        yield _problem(kind, empty, f"{len(empty)} of {len(known)} masks", share=share, first=empty[0])
    few = readings.masks(pair for pair, share in known if 0 < share < FEWEST_PIXELS)
    if few:
        yield _problem("few pixels", few, "mask")


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
            yield _problem("class absent", [], f"No mask of {' and '.join(absent)}", name=name)


def _look_alikes(duplicates: Sequence[Duplicate], counts: Mapping[str, int]) -> Iterator[Problem]:
    for kind, count in counts.items():
        pairs = [pair for pair in duplicates if pair.group == kind]
        if pairs:
            files = list(dict.fromkeys(file for pair in pairs for file in (pair.first, pair.second)))
            first = f"{pairs[0].first} ({pairs[0].splits[0]}) and {pairs[0].second} ({pairs[0].splits[1]})"
            yield _problem(kind, files, first if count == 1 else f"{count} pairs of images, such as {first},", count)


def _shared_masks(readings: Readings) -> Iterator[Problem]:
    groups: defaultdict[bytes, list[InspectedPair]] = defaultdict(list)
    for pair, share in readings.inspected:
        if foreground_share(share) > 0 if share is not None else len(pair.values) > 1:
            groups[pair.mask_hash].append(pair)
    for group in groups.values():
        if len({pair.image_hash for pair in group}) >= SHARED_MASK:
            yield _problem("same mask", sorted(readings.masks(group)), f"{len(group)} images")


def _images(readings: Readings) -> Iterator[Problem]:
    constant = [pair for pair in readings.pairs if pair.constant]
    tiny = [pair for pair in readings.pairs if min(pair.height, pair.width) < MIN_SIDE]
    for kind, pairs in (("constant image", constant), ("tiny image", tiny)):
        if pairs:
            yield _problem(kind, readings.images(pairs), "image")
    ordered = sorted(readings.pairs, key=lambda pair: pair.height * pair.width)
    if ordered and ordered[-1].height * ordered[-1].width > SIZE_SPREAD * ordered[0].height * ordered[0].width:
        ends = [ordered[0], ordered[-1]]
        sizes = " to ".join(f"{pair.height} × {pair.width}" for pair in ends)
        yield _problem("size spread", readings.images(ends), "The images", sizes=sizes)


def _splits(readings: Readings) -> Iterator[Problem]:
    if not readings.counts.get("test"):
        yield _problem("no test split", [])
