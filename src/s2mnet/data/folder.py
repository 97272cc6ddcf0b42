"""A data folder as a whole: its cases read once, checked, and summed up for the training and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from s2mnet.data.cases import SPLITS, Case, ImageFolder, Split, find_cases, find_images
from s2mnet.data.dataset import FILE as DATASET_FILE
from s2mnet.data.labels import IGNORE_INDEX, LabelMap, LabelRule, infer_labels
from s2mnet.data.measure import PairFacts, contrast, mean_thickness, measure_pair
from s2mnet.data.pairs import load_case
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.files import ahead
from s2mnet.progress import progress_bar

__all__ = ["SPLITS", "Case", "FolderError", "FolderSummary", "ImageFolder", "find_cases", "find_images", "read_folder"]

MAX_REPORTED = 10
MAX_THICKNESS_MASKS = 50
MIN_SIDE = 32  # the smallest extent the network takes (SPEC 1)


class FolderSummary(BaseModel):
    """What :func:`read_folder` found.

    Attributes:
        counts: cases per split.
        height, width: minimum, median and maximum over all images, in pixels.
        channels: 1 if every image is grey (stored as grey, or as RGB with equal channels), 3 in colour, or the number
            of channels of every image where it is neither.
        stored: names of those channels; empty for grey and colour.
        neighbours, orientation, modality: from ``dataset.yaml``.
        label_map: what the mask values mean.
        label_rule: where that is known from, one sentence.
        pixel_share: share of each class among the pixels with a truth, over all masks; sums to 1.
        mean, std: of the train images per channel, over pixels, in 0..1.
        foreground_share: foreground among the pixels with a truth, median over the train masks with foreground.
        thickness_px: mean thickness (:func:`~s2mnet.data.measure.mean_thickness`) of the thinnest class: the smallest
            of the medians over those of at most 50 train masks that hold the class.
        thinnest: name of that class.
        contrast: of the whole foreground to its surroundings in each channel
            (:func:`~s2mnet.data.measure.contrast`), median over those.
        split_rule: how the split was made.
        warnings: sentences about what may hurt but does not stop.
    """

    model_config = ConfigDict(frozen=True)

    counts: dict[Split, int]
    height: tuple[int, float, int]
    width: tuple[int, float, int]
    channels: int
    stored: list[str] = []
    neighbours: int = 0
    orientation: str = ""
    modality: str = ""
    label_map: LabelMap
    label_rule: str = ""
    pixel_share: list[float]
    mean: list[float]
    std: list[float]
    foreground_share: float
    thickness_px: float
    thinnest: str = "the foreground"
    contrast: list[float] = []
    split_rule: str
    warnings: list[str]


class FolderError(S2MNetError):
    """Several files at fault at once.

    Attributes:
        problems: one error for each file.
    """

    def __init__(self, root: Path, problems: list[S2MNetError]) -> None:
        self.problems = problems
        shown = [f"  - {problem}" for problem in problems[:MAX_REPORTED]]
        if len(problems) > MAX_REPORTED:
            shown.append(f"  - … and {len(problems) - MAX_REPORTED} more")
        found = f"{len(problems)} files at fault"
        super().__init__(root, found, "images and masks that fit together", "\n".join(["Mend each:", *shown]))


def read_folder(folder: ImageFolder, labels: LabelRule | LabelMap = "auto", progress: bool = True) -> FolderSummary:
    """Read every image and mask, check them, and work out what the labels mean.

    Files are read in threads and let go at once; at most 50 train masks are read a second time, for the thickness.

    Args:
        folder: as :func:`find_cases` gives it; every case has a mask.
        labels: how to read the mask values, see :func:`~s2mnet.data.labels.infer_labels`. "auto" takes the classes
            of ``dataset.yaml`` where there are any. A label map is taken as it is.
        progress: show a progress bar with the time left, if standard error is a terminal.

    Raises:
        S2MNetError: one file at fault, labels that make no sense, no foreground in train.
        FolderError: several files at fault; shows up to ten.
    """
    facts = _measure_all(folder, progress)
    stored = _stored_channels(folder, facts)
    files = {split: [case.mask for case in cases if case.mask] for split, cases in folder.splits.items()}
    rule = "as the plan says" if isinstance(labels, LabelMap) else f"read as --labels {labels} says"
    if labels == "auto" and (declared := folder.dataset.label_map()):
        labels, rule = declared, f"as {DATASET_FILE} says"
    if isinstance(labels, LabelMap):
        label_map = labels
    else:
        rule = "worked out from the values of all masks" if labels == "auto" else rule
        label_map = infer_labels({file: held.histogram for file, held in facts.items()}, labels)
    shares = {file: label_map.encode_counts(held.histogram, file) for file, held in facts.items()}
    marked = [file for file in files["train"] if any(0 < index != IGNORE_INDEX for index in shares[file])]
    if not marked:
        mend = "Move masks with foreground into train, or say how to read the masks with --labels."
        raise S2MNetError(folder.root, "no foreground in any train mask", "foreground in train", mend)
    train = [facts[file] for file in files["train"]]
    channels = len(stored) or (1 if all(held.grey for held in facts.values()) else 3)
    mean, std = _mean_and_std(train, channels)
    step = -(-len(marked) // MAX_THICKNESS_MASKS)
    with ThreadPoolExecutor(worker_count()) as pool:
        chosen = set(marked[::step])
        pairs = [case for case in folder.splits["train"] if case.mask in chosen]
        shapes = list(pool.map(lambda case: _shape(case, label_map), pairs))
    thickness, thinnest = _thinnest([held for held, _ in shapes])
    return FolderSummary(
        counts={split: len(cases) for split, cases in folder.splits.items()},
        height=_spread([held.height for held in facts.values()]),
        width=_spread([held.width for held in facts.values()]),
        channels=channels,
        stored=stored,
        neighbours=folder.dataset.neighbours,
        orientation=folder.dataset.orientation,
        modality=folder.dataset.modality,
        label_map=label_map,
        label_rule=f"{label_map.describe()}; {rule}",
        pixel_share=_pixel_share(shares.values(), label_map.num_classes),
        mean=mean,
        std=std,
        foreground_share=float(np.median([1 - _pixel_share([shares[file]], 1)[0] for file in marked])),
        thickness_px=thickness,
        thinnest=label_map.names[thinnest],
        contrast=_median_contrast([clear for _, clear in shapes], channels),
        split_rule=folder.split_rule,
        warnings=_warnings(files, facts, shares, label_map),
    )


def _measure_all(folder: ImageFolder, progress: bool) -> dict[Path, PairFacts]:
    """Facts of every case, by mask file, in the order of the splits; all problems of files are raised together."""
    cases = [case for split in SPLITS for case in folder.splits[split]]
    facts: dict[Path, PairFacts] = {}
    problems: list[S2MNetError] = []
    with progress_bar("Reading", progress) as advance, ThreadPoolExecutor(worker_count()) as pool:
        for done, (case, result) in enumerate(ahead(pool, _try_measure, cases, 4 * worker_count()), 1):
            if isinstance(result, PairFacts) and case.mask is not None:
                facts[case.mask] = result
            elif isinstance(result, S2MNetError):
                problems.append(result)
            advance(done, len(cases))
    if problems:
        raise problems[0] if len(problems) == 1 else FolderError(folder.root, problems)
    return facts


def _try_measure(case: Case) -> PairFacts | S2MNetError:
    if case.mask is None:
        return S2MNetError(case.image, "an image without a mask", "a mask of the same stem", "Add the mask.")
    try:
        return measure_pair(case.image, case.mask)
    except S2MNetError as error:
        return error


def _stored_channels(folder: ImageFolder, facts: Mapping[Path, PairFacts]) -> list[str]:
    """Names of the channels of images that are neither grey nor colour, or that ``dataset.yaml`` names; else none."""
    named = folder.dataset.channels if len(folder.dataset.channels) > 1 else []
    held = {file: fact.channels for file, fact in facts.items()}
    if not named and all(count in (1, 3) for count in held.values()):
        return []
    number = len(named) or Counter(held.values()).most_common(1)[0][0]
    allowed = (1, 3) if number in (1, 3) and not named else (number,)
    odd = [file for file, count in held.items() if count not in allowed]
    if odd:
        case = next(case for cases in folder.splits.values() for case in cases if case.mask == odd[0])
        why = f" ({', '.join(named)}) as {DATASET_FILE} says" if named else " as in most images"
        expected = f"{number} channels{why}"
        mend = "Make the images alike: a TIFF with so many grey samples per pixel, or grey or colour images throughout."
        raise S2MNetError(case.image, f"{held[odd[0]]} channels", expected, mend)
    return named or [f"channel {place}" for place in range(1, number + 1)]


def _shape(case: Case, label_map: LabelMap) -> tuple[dict[int, float], list[float]]:
    """Mean thickness of each class that the mask holds, and the contrast of the foreground in each channel."""
    image, indices = load_case(case, label_map)
    held = [index for index in np.unique(indices).tolist() if 0 < index != IGNORE_INDEX]
    thickness = {index: mean_thickness(indices == index) for index in held}
    return thickness, contrast(image, np.isin(indices, held))


def _thinnest(measured: list[dict[int, float]]) -> tuple[float, int]:
    """Median thickness of the thinnest class, and its index."""
    by_class: dict[int, list[float]] = {}
    for thickness in measured:
        for index, value in thickness.items():
            by_class.setdefault(index, []).append(value)
    return min((float(np.median(values)), index) for index, values in by_class.items())


def _median_contrast(measured: list[list[float]], channels: int) -> list[float]:
    fitting = [values for values in measured if len(values) == channels]
    return np.median(fitting, axis=0).tolist() if fitting else []


def _spread(sides: list[int]) -> tuple[int, float, int]:
    return min(sides), float(np.median(sides)), max(sides)


def _pixel_share(shares: Iterable[Mapping[int, int]], classes: int) -> list[float]:
    """Share of the classes 0 to ``classes`` − 1 among all pixels with a truth."""
    total = np.zeros(IGNORE_INDEX + 1)
    for counts in shares:
        for index, pixels in counts.items():
            total[index] += pixels
    return (total[:classes] / max(1.0, total[:IGNORE_INDEX].sum())).tolist()


def _mean_and_std(train: list[PairFacts], channels: int) -> tuple[list[float], list[float]]:
    pixels = sum(held.height * held.width for held in train)
    mean = np.sum([held.sums for held in train], axis=0) / pixels / 255
    variance = np.sum([held.squares for held in train], axis=0) / pixels / 255**2 - mean**2
    return mean[:channels].tolist(), np.sqrt(np.maximum(variance, 0))[:channels].tolist()


def _warnings(
    files: Mapping[Split, list[Path]],
    facts: Mapping[Path, PairFacts],
    shares: Mapping[Path, Mapping[int, int]],
    label_map: LabelMap,
) -> list[str]:
    held = {split: {index for file in files[split] for index in shares[file]} for split in SPLITS}
    empty = [file for file, counts in shares.items() if not set(counts) - {0, IGNORE_INDEX}]
    small = [file for file, fact in facts.items() if min(fact.height, fact.width) < MIN_SIDE]
    found = []
    if empty:
        found.append(f"{len(empty)} of {len(shares)} masks are empty (no foreground), {empty[0].name} for one.")
    for index in range(1, label_map.num_classes):
        absent = [split for split in SPLITS if files[split] and index not in held[split]]
        if absent:
            name = f"{label_map.names[index]} (value {label_map.values[index]})"
            found.append(f"No mask of {' and '.join(absent)} holds {name}.")
    if small:
        found.append(f"{len(small)} images have a side below {MIN_SIDE} px, {small[0].stem} for one.")
    if not files["test"]:
        found.append("There are no test images: the figures will be those of the validation images.")
    return found
