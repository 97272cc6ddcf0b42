"""The one reading of a data folder: from its pairs to the fingerprint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2mnet.data.cases import SPLITS, ImageFolder, find_cases
from s2mnet.data.dataset import FILE as DATASET_FILE
from s2mnet.data.images import check_palettes, read_mask
from s2mnet.data.labels import LABEL_RULES, LabelMap, LabelRule, infer_labels
from s2mnet.data.pairs import load_case
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.files import prefetch
from s2mnet.fingerprint import summary
from s2mnet.fingerprint.duplicates import find_duplicates
from s2mnet.fingerprint.pair import InspectedPair, Pair, Shares, foreground_share, measure, read_sample
from s2mnet.fingerprint.problem import Problem, from_error, inside
from s2mnet.fingerprint.problems import Readings, find_problems, worst_first
from s2mnet.fingerprint.record import Fingerprint, ImageFacts, Spread
from s2mnet.fingerprint.shapes import Shape, measure_shapes
from s2mnet.fingerprint.sides import Silhouette, brightness, equally_bright, find_sides, one_sided, silhouettes
from s2mnet.progress import Progress

EXTREMES = 10  # images of a set of widely varying sizes, on each side
MAX_PLANNED = 50  # train masks whose thickness and contrast the plan is decided from
MAX_INSPECTED = 200
MAX_LOOKED_AT = 12  # train images that are read again where classes may differ in their side only
MAX_VALUES = 256
MAX_SET_ASIDE = 3


def read_folder(
    folder: ImageFolder, labels: LabelRule | LabelMap = "auto", progress: Progress | None = None
) -> Fingerprint:
    """Read every image and mask, check them, and work out what a plan is decided from.

    Files are read in threads and dropped at once.

    Args:
        folder: as :func:`~s2mnet.data.find_cases` gives it.
        labels: how to read the mask values, see :func:`~s2mnet.data.labels.infer_labels`. "auto" takes the classes
            of ``dataset.yaml`` where there are any. A label map is taken as it is.
        progress: called after each pair with the number of pairs read and of all.

    Raises:
        S2MNetError: what an inspection calls an error: files at fault (up to ten are named), labels that make no
            sense, no foreground in train.
    """
    fingerprint = _fingerprint(folder, labels, progress, inspect=False)
    fingerprint.raise_errors()
    return fingerprint


def inspect_folder(root: str | Path, labels: LabelRule = "auto", progress: Progress | None = None) -> Fingerprint:
    """As :func:`read_folder`, but errors become problems of the fingerprint, and there is more in it.

    The other files are inspected all the same. Images are compared with each other; of the masks and of the images, at
    most 200 evenly chosen ones are measured for their shapes and for their spectral energy.

    Args:
        root: the folder, in a form that :func:`~s2mnet.data.find_cases` reads.

    Raises:
        S2MNetError: the folder does not exist, or `labels` is no rule.
    """
    root = Path(root)
    try:
        folder = find_cases(root)
    except S2MNetError as error:
        if not root.is_dir():
            raise
        return Fingerprint(root=str(root), name=root.resolve().name, problems=[from_error("folder", error, root)])
    return _fingerprint(folder, labels, progress, inspect=True)


def _fingerprint(
    folder: ImageFolder, labels: LabelRule | LabelMap, progress: Progress | None, inspect: bool
) -> Fingerprint:
    stated = labels if isinstance(labels, LabelMap) else folder.dataset.label_map() if labels == "auto" else None
    files = _read_files(folder, stated, progress, inspect)
    pairs = files.pairs
    channels, stored, odd = _channels(folder, pairs)
    label_map, strange = (stated, []) if isinstance(labels, LabelMap) or stated else _understand(folder, pairs, labels)
    if labels == "auto":
        strange += _palettes(folder.root, pairs)
    shares, unexpected = _shares(folder.root, pairs, label_map, {problem.file for problem in strange})
    counts = {split: len(cases) for split, cases in folder.splits.items()}
    readings = Readings(folder.root, counts, pairs, label_map, shares)
    inspected = [pair for pair, _ in readings.inspected]
    duplicates, duplicate_counts = find_duplicates(inspected, readings.images(inspected))
    shapes = _measure_shapes(readings)
    longer = [max(pair.height, pair.width) for pair in shapes.pairs]
    thickness, thinnest, growth = summary.thinnest(shapes.planned, longer, label_map)
    contrasts = [contrast for contrast in shapes.contrasts if len(contrast) == channels]
    values = summary.label_values(pairs)
    spectra = [pair.energy for pair in inspected if pair.energy is not None]
    names = label_map.names if label_map else []
    sides = find_sides(shapes.silhouettes, names)
    if sides and label_map:
        looks = [brightness(*load_case(pair.case, label_map)) for pair in _evenly(shapes.pairs, MAX_LOOKED_AT)]
        sides = [s for s in sides if equally_bright(looks, names.index(s.first), names.index(s.second))]
    derived = find_problems(readings, duplicates, duplicate_counts, one_sided(shapes.silhouettes, names, sides))
    return Fingerprint(
        root=str(folder.root),
        name=folder.name,
        dataset=folder.dataset,
        split_rule=folder.split_rule,
        counts=counts,
        height=Spread.of([pair.height for pair in pairs]) if pairs else None,
        width=Spread.of([pair.width for pair in pairs]) if pairs else None,
        channels=channels,
        stored=stored,
        intensity=summary.intensity(files.levels, channels),
        label_map=label_map,
        label_rule=f"{label_map.describe()}; {_source(folder, labels)}" if label_map else "",
        label_values=values[:MAX_VALUES],
        num_label_values=len(values),
        classes=summary.classes(readings, shapes.inspected),
        foreground_share=float(np.median([foreground_share(share) for _, share in readings.marked] or [0])),
        thickness_px=thickness,
        thinnest=thinnest,
        growth=growth,
        sides=sides,
        contrast=np.median(contrasts, axis=0).tolist() if contrasts else [],
        morphology_masks=len(shapes.inspected),
        spectrum_images=len(spectra),
        spectrum=summary.spectrum(spectra),
        duplicates=duplicates,
        duplicate_counts=duplicate_counts,
        images=[_image(pair, folder.root, share) for pair, share in readings.inspected],
        problems=worst_first([*files.unreadable, *odd, *_first_named(strange), *unexpected, *derived]),
    )


@dataclass
class _Files:
    """What reading gives: the pairs, the problems of the others, and the levels of the train images by row count."""

    pairs: list[Pair] = field(default_factory=list)
    unreadable: list[Problem] = field(default_factory=list)
    levels: dict[int, NDArray[np.int64]] = field(default_factory=dict)


def _read_files(folder: ImageFolder, labels: LabelMap | None, progress: Progress | None, inspect: bool) -> _Files:
    cases = [(case, split) for split in SPLITS for case in folder.splits[split]]
    train = range(len(folder.splits["train"]))  # the first of the cases
    chosen = np.linspace(0, len(cases) - 1, min(len(cases), MAX_INSPECTED)).round().astype(int).tolist()
    inspected = set(chosen if inspect else ())
    sampled = inspected | set(_evenly(train, MAX_PLANNED))
    files = _Files()

    def read(place: int) -> tuple[Pair, NDArray[np.int64]] | S2MNetError:
        try:
            return measure(*cases[place], labels, place in sampled, inspect, place in inspected)
        except S2MNetError as error:
            return error

    with ThreadPoolExecutor(worker_count()) as pool:
        for place, result in prefetch(pool, read, range(len(cases)), 4 * worker_count()):
            if isinstance(result, S2MNetError):
                files.unreadable.append(from_error("unreadable", result, folder.root))
            else:
                pair, levels = result
                files.pairs.append(pair)
                if pair.split == "train":
                    files.levels[len(levels)] = files.levels.get(len(levels), 0) + levels
            if progress:
                progress(place + 1, len(cases))
    return files


def _evenly(items: Sequence[Any], most: int) -> Sequence[Any]:
    return items[:: max(1, -(-len(items) // most))]


def _channels(folder: ImageFolder, pairs: Sequence[Pair]) -> tuple[int, list[str], list[Problem]]:
    """Number of channels; their names where they are neither grey nor colour; images that have another number."""
    named = folder.dataset.channels if len(folder.dataset.channels) > 1 else []
    numbers = Counter(pair.channels for pair in pairs)
    if not named and all(number in (1, 3) for number in numbers):
        return (1 if all(pair.grey for pair in pairs) else 3), [], []
    number = len(named) or numbers.most_common(1)[0][0]
    usual = f"{DATASET_FILE} names {number} ({', '.join(named)})" if named else f"most images have {number} channels"
    allowed = (1, 3) if number in (1, 3) and not named else (number,)
    fix = (
        "Make the images alike: TIFF files with that number of grey samples per pixel, or grey or colour images "
        "throughout."
    )
    odd = [
        from_error("channels", S2MNetError(pair.case.image, f"has {pair.channels} channels; {usual}", fix), folder.root)
        for pair in pairs
        if pair.channels not in allowed
    ]
    return number, named or [f"channel {place}" for place in range(1, number + 1)], odd


def _understand(folder: ImageFolder, pairs: Sequence[Pair], labels: LabelRule) -> tuple[LabelMap | None, list[Problem]]:
    """The label map, and the masks set aside because they alone contradict it; or None and the first error."""
    histograms = {pair.mask: pair.values for pair in pairs}
    problems: list[Problem] = []
    while histograms and len(problems) <= MAX_SET_ASIDE:
        try:
            return infer_labels(histograms, labels, read_mask), problems
        except S2MNetError as error:
            if labels not in LABEL_RULES:
                raise
            problems.append(from_error("labels", error, folder.root))
            if histograms.pop(Path(error.where), None) is None:
                break
    return None, problems[:1]


def _first_named(problems: Sequence[Problem]) -> list[Problem]:
    """Without the problems of files that an earlier one names already."""
    texts = [""]
    for problem in problems:
        texts.append(texts[-1] + problem.problem)
    pairs = zip(problems, texts, strict=False)
    return [problem for problem, before in pairs if not problem.file or Path(problem.file).name not in before]


def _palettes(root: Path, pairs: Sequence[Pair]) -> list[Problem]:
    try:
        check_palettes({pair.mask: pair.values for pair in pairs})
    except S2MNetError as error:
        return [from_error("labels", error, root)]
    return []


def _source(folder: ImageFolder, labels: LabelRule | LabelMap) -> str:
    """Where the label map comes from."""
    if isinstance(labels, LabelMap):
        return "from the plan"
    if labels != "auto":
        return f"read with --labels {labels}"
    return f"from {DATASET_FILE}" if folder.dataset.classes else "inferred from the values of all masks"


def _shares(
    root: Path, pairs: Sequence[Pair], label_map: LabelMap | None, known: set[str]
) -> tuple[list[Shares | None], list[Problem]]:
    """Pixels of each class, and the masks that do not fit the label map apart from the known ones."""
    shares: list[Shares | None] = []
    problems: list[Problem] = []
    for pair in pairs:
        try:
            shares.append(label_map.encode_counts(pair.values, pair.mask) if label_map else None)
        except S2MNetError as error:
            shares.append(None)
            problems.append(from_error("labels", error, root))
    return shares, [problem for problem in problems if problem.file not in known]


@dataclass
class _Shapes:
    """Shapes by class index: of the masks a plan is decided from, with contrasts and silhouettes; of the inspected."""

    pairs: list[Pair] = field(default_factory=list)
    planned: list[dict[int, Shape]] = field(default_factory=list)
    contrasts: list[list[float]] = field(default_factory=list)
    silhouettes: list[dict[int, Silhouette]] = field(default_factory=list)
    inspected: list[dict[int, Shape]] = field(default_factory=list)


def _measure_shapes(readings: Readings) -> _Shapes:
    labels, shapes = readings.labels, _Shapes()
    if labels is None:
        return shapes
    planned = {id(pair) for pair, _ in [*_evenly(readings.marked, MAX_PLANNED), *_extremes(readings.marked)]}
    inspected = {id(pair) for pair, _ in readings.known if isinstance(pair, InspectedPair) and pair.energy is not None}

    def measured(pair: Pair) -> tuple[dict[int, Shape], list[float], dict[int, Silhouette]]:
        foreground = labels.foreground(pair.values)
        sample = pair.sample or read_sample(pair.case, labels, foreground)
        indices = sample.indices(labels, pair.mask)
        shape = measure_shapes(indices, descriptors=id(pair) in inspected)
        return shape, sample.contrasts.get(foreground, []), silhouettes(indices)

    chosen = [pair for pair, _ in readings.known if id(pair) in planned | inspected]
    with ThreadPoolExecutor(worker_count()) as pool:
        for pair, (shape, contrast, outlines) in zip(chosen, pool.map(measured, chosen), strict=True):
            if id(pair) in planned:
                shapes.pairs.append(pair)
                shapes.planned.append(shape)
                shapes.contrasts.append(contrast)
                shapes.silhouettes.append(outlines)
            if id(pair) in inspected:
                shapes.inspected.append(shape)
    return shapes


def _extremes(marked: Sequence[tuple[Pair, Shares]]) -> list[tuple[Pair, Shares]]:
    """The smallest and the largest images, if they differ so much that the growth of the structures is measured."""
    by_size = sorted(marked, key=lambda item: max(item[0].height, item[0].width))
    sides = [max(pair.height, pair.width) for pair, _ in by_size]
    if not sides or sides[-1] < summary.VARIED * sides[0]:
        return []
    return by_size[:EXTREMES] + by_size[-EXTREMES:]


def _image(pair: InspectedPair, root: Path, share: Shares | None) -> ImageFacts:
    return ImageFacts(
        name=pair.case.name,
        split=pair.split,
        image=inside(pair.case.image, root),
        mask=inside(pair.mask, root),
        height=pair.height,
        width=pair.width,
        channels=1 if pair.grey else pair.channels,
        mode=pair.mode,
        mask_mode=pair.mask_mode,
        bits=pair.bits,
        foreground=None if share is None else foreground_share(share),
    )
