"""A data folder, every file of it read once: from the pairs to the fingerprint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from s2mnet.data.cases import SPLITS, Case, ImageFolder, Split, find_cases
from s2mnet.data.labels import IGNORE_INDEX, LABEL_RULES, LabelMap, LabelRule, infer_labels
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.inspection.duplicates import find_duplicates
from s2mnet.inspection.fingerprint import (
    Channel,
    ClassFacts,
    Distribution,
    Fingerprint,
    ImageFacts,
    LabelValue,
    SpectralEnergy,
    Spread,
)  # fmt: skip
from s2mnet.inspection.morphology import Shape, measure_shapes, summarise
from s2mnet.inspection.problem import Problem, from_error, inside
from s2mnet.inspection.problems import Measured, find_problems, worst_first
from s2mnet.inspection.reading import CaseFacts, foreground_share, measure
from s2mnet.inspection.spectrum import KS
from s2mnet.progress import Progress

MAX_MEASURED = 200
MAX_VALUES = 256
MAX_SET_ASIDE = 3
PERCENTILES = ("0.5", "5", "25", "50", "75", "95", "99.5")

Shares = Mapping[int, int]


def inspect_folder(root: str | Path, labels: LabelRule = "auto", progress: Progress | None = None) -> Fingerprint:
    """Read every image and mask of a folder once, in threads, and say what is there and what is wrong with it.

    What :func:`~s2mnet.data.find_cases` or a file's reader refuses becomes a problem of the severity "error"; the other
    files are inspected all the same. Of the masks and of the images, at most 200 evenly chosen ones are measured for
    the shapes and for the spectral energy.

    Args:
        root: the folder, in a form that `find_cases` reads.
        labels: how to read the mask values; "auto" takes the classes of ``dataset.yaml`` where there are any.
        progress: called after each pair with the number of pairs read and of all.

    Raises:
        S2MNetError: the folder does not exist, or `labels` is no rule.
    """
    root = Path(root)
    if labels not in LABEL_RULES:
        raise S2MNetError("--labels", repr(labels), "one of " + ", ".join(LABEL_RULES), "Choose one of them.")
    try:
        folder = find_cases(root)
    except S2MNetError as error:
        if not root.is_dir():
            raise
        return Fingerprint(name=root.resolve().name, labels=labels, problems=[from_error("folder", error, root)])
    facts, unreadable = _measure_all(folder, progress)
    label_map, strange = _understand(folder, facts, labels)
    shares, unexpected = _shares(root, facts, label_map)
    names = [inside(fact.case.image, root) for fact in facts]
    duplicates, duplicate_counts = find_duplicates(facts, names)
    counts = {split: len(cases) for split, cases in folder.splits.items()}
    measured = Measured(root, counts, facts, label_map, shares, duplicates, duplicate_counts)
    told = {found.file for found in strange}
    unexpected = [found for found in unexpected if found.file not in told]
    shapes = _shapes(facts, label_map, shares)
    values = _label_values(facts)
    spectra = [fact.energy for fact in facts if fact.energy is not None]
    return Fingerprint(
        name=folder.name,
        labels=labels,
        split_rule=folder.split_rule,
        counts=counts,
        height=Spread.of([fact.height for fact in facts]) if facts else None,
        width=Spread.of([fact.width for fact in facts]) if facts else None,
        intensity=_intensity(facts),
        label_map=label_map,
        label_values=values[:MAX_VALUES],
        num_label_values=len(values),
        classes=_classes(facts, label_map, shares, shapes),
        empty_masks=sum(share is not None and foreground_share(share) == 0 for share in shares),
        morphology_masks=len(shapes),
        spectrum_images=len(spectra),
        spectrum=_spectrum(spectra),
        duplicates=duplicates,
        duplicate_counts=duplicate_counts,
        images=[_image(fact, root, share) for fact, share in zip(facts, shares, strict=True)],
        problems=worst_first([*unreadable, *strange, *unexpected, *find_problems(measured)]),
    )


def _measure_all(folder: ImageFolder, progress: Progress | None) -> tuple[list[CaseFacts], list[Problem]]:
    cases = [(case, split) for split in SPLITS for case in folder.splits[split]]
    chosen = set(np.linspace(0, len(cases) - 1, min(len(cases), MAX_MEASURED)).round().astype(int).tolist())

    def read(place: int) -> CaseFacts | S2MNetError:
        try:
            return measure(*cases[place], with_mask=place in chosen, with_energy=place in chosen)
        except S2MNetError as error:
            return error

    facts: list[CaseFacts] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(worker_count()) as pool:
        for done, result in enumerate(pool.map(read, range(len(cases))), 1):
            if isinstance(result, CaseFacts):
                facts.append(result)
            else:
                problems.append(from_error("unreadable", result, folder.root))
            if progress:
                progress(done, len(cases))
    return facts, problems


def _understand(
    folder: ImageFolder, facts: Sequence[CaseFacts], labels: LabelRule
) -> tuple[LabelMap | None, list[Problem]]:
    """The label map, and the masks set aside because they alone stood against it; or None and the first refusal."""
    declared = folder.dataset.label_map() if labels == "auto" else None
    if declared or not facts:
        return declared, []
    histograms = {_mask(fact.case): fact.values for fact in facts}
    problems: list[Problem] = []
    for _ in range(MAX_SET_ASIDE + 1):
        try:
            return infer_labels(histograms, labels), problems
        except S2MNetError as error:
            problems.append(from_error("labels", error, folder.root))
            if histograms.pop(Path(error.where), None) is None or not histograms:
                break
    return None, problems[:1]


def _shares(
    root: Path, facts: Sequence[CaseFacts], label_map: LabelMap | None
) -> tuple[list[Shares | None], list[Problem]]:
    shares: list[Shares | None] = []
    problems: list[Problem] = []
    for fact in facts:
        try:
            shares.append(label_map.encode_counts(fact.values, _mask(fact.case)) if label_map else None)
        except S2MNetError as error:
            shares.append(None)
            problems.append(from_error("labels", error, root))
    return shares, problems


def _shapes(
    facts: Sequence[CaseFacts], label_map: LabelMap | None, shares: Sequence[Shares | None]
) -> list[dict[int, Shape]]:
    if label_map is None:
        return []
    chosen = [fact for fact, share in zip(facts, shares, strict=True) if fact.packed and share is not None]

    def of(fact: CaseFacts) -> dict[int, Shape]:
        return measure_shapes(label_map.encode(fact.packed.unpack(), _mask(fact.case))) if fact.packed else {}

    with ThreadPoolExecutor(worker_count()) as pool:
        return list(pool.map(of, chosen))


def _classes(
    facts: Sequence[CaseFacts],
    label_map: LabelMap | None,
    shares: Sequence[Shares | None],
    shapes: Sequence[Mapping[int, Shape]],
) -> list[ClassFacts]:
    if label_map is None:
        return []
    pixels: Counter[int] = Counter()
    masks: Counter[tuple[int, Split]] = Counter()
    for fact, share in zip(facts, shares, strict=True):
        pixels.update(share or {})
        masks.update((index, fact.split) for index, held in (share or {}).items() if held)
    known = sum(held for index, held in pixels.items() if index != IGNORE_INDEX)
    return [
        ClassFacts(
            index=index,
            name=name,
            value=value,
            share=pixels[index] / known if known else 0.0,
            masks={split: masks[index, split] for split in SPLITS},
            morphology=summarise(held[index] for held in shapes if index in held),
        )
        for index, (name, value) in enumerate(zip(label_map.names, label_map.values, strict=True))
    ]


def _intensity(facts: Sequence[CaseFacts]) -> list[Channel]:
    train = [fact.levels for fact in facts if fact.split == "train"]
    if not train:
        return []
    channels = max(len(levels) for levels in train)
    alike = [levels for levels in train if len(levels) in (1, channels)]
    total = np.sum([np.broadcast_to(levels, (channels, 256)) for levels in alike], axis=0)
    level = np.arange(256) / 255
    found = []
    for counts in total:
        pixels = counts.sum()
        mean = float(counts @ level / pixels)
        reached = np.searchsorted(counts.cumsum(), [float(p) / 100 * pixels for p in PERCENTILES])
        found.append(
            Channel(
                mean=mean,
                std=float(np.sqrt(counts @ (level - mean) ** 2 / pixels)),
                percentiles=dict(zip(PERCENTILES, level[reached].tolist(), strict=True)),
            )
        )
    return found


def _label_values(facts: Sequence[CaseFacts]) -> list[LabelValue]:
    pixels: Counter[int] = Counter()
    masks: Counter[int] = Counter()
    for fact in facts:
        pixels.update(fact.values)
        masks.update(fact.values.keys())
    total = sum(pixels.values())
    return [LabelValue(value=v, share=n / total, masks=masks[v]) for v, n in pixels.most_common()]


def _spectrum(spectra: Sequence[np.ndarray]) -> list[SpectralEnergy]:
    found = []
    for place, k in enumerate(KS):
        with_dc, without = ([e[place, c] for e in spectra if not np.isnan(e[place, c])] for c in (0, 1))
        if with_dc:
            rest = Distribution.of(without) if without else None
            found.append(SpectralEnergy(k=k, with_dc=Distribution.of(with_dc), without_dc=rest))
    return found


def _image(fact: CaseFacts, root: Path, share: Shares | None) -> ImageFacts:
    return ImageFacts(
        name=fact.case.name,
        split=fact.split,
        image=inside(fact.case.image, root),
        mask=inside(_mask(fact.case), root),
        height=fact.height,
        width=fact.width,
        channels=len(fact.levels),
        mode=fact.mode,
        mask_mode=fact.mask_mode,
        bits=fact.bits,
        foreground=None if share is None else foreground_share(share),
    )


def _mask(case: Case) -> Path:
    return case.mask or case.image
