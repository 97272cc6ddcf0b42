"""The numbers of a fingerprint, from the facts of all pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from s2mnet.data.cases import SPLITS, Split
from s2mnet.data.labels import IGNORE_INDEX, LabelMap
from s2mnet.fingerprint.pair import Pair
from s2mnet.fingerprint.problems import Readings
from s2mnet.fingerprint.record import Channel, ClassFacts, Distribution, LabelValue, SpectralEnergy
from s2mnet.fingerprint.shapes import Shape, summarise
from s2mnet.fingerprint.spectrum import KS

VARIED = 3  # times the smallest: sides of images that differ enough to see how structures grow with them
PERCENTILES = ("0.5", "5", "25", "50", "75", "95", "99.5")


def intensity(levels: Mapping[int, NDArray[np.int64]], channels: int) -> list[Channel]:
    """Each channel over the train images, from their levels by number of rows: one row fits any number of channels."""
    fitting = [np.broadcast_to(held, (channels, 256)) for count, held in levels.items() if count in (1, channels)]
    level = np.arange(256) / 255
    intensity = []
    for counts in np.sum(fitting, axis=0) if fitting else ():
        pixels = counts.sum()
        mean = float(counts @ level / pixels)
        reached = np.searchsorted(counts.cumsum(), [float(p) / 100 * pixels for p in PERCENTILES])
        std = float(np.sqrt(counts @ (level - mean) ** 2 / pixels))
        percentiles = dict(zip(PERCENTILES, level[reached].tolist(), strict=True))
        intensity.append(Channel(mean=mean, std=std, percentiles=percentiles))
    return intensity


def label_values(pairs: Sequence[Pair]) -> list[LabelValue]:
    """The raw mask values, the most common first."""
    pixels: Counter[int] = Counter()
    masks: Counter[int] = Counter()
    for pair in pairs:
        pixels.update(pair.values)
        masks.update(pair.values.keys())
    total = sum(pixels.values())
    return [LabelValue(value=v, share=n / total, masks=masks[v]) for v, n in pixels.most_common()]


def classes(readings: Readings, shapes: Sequence[Mapping[int, Shape]]) -> list[ClassFacts]:
    """Each class, with the shapes of some masks; nothing without a label map."""
    if readings.labels is None:
        return []
    pixels: Counter[int] = Counter()
    masks: Counter[tuple[int, Split]] = Counter()
    for pair, share in readings.known:
        pixels.update(share)
        masks.update((index, pair.split) for index in share)
    known = sum(count for index, count in pixels.items() if index != IGNORE_INDEX)
    return [
        ClassFacts(
            index=index,
            name=name,
            value=value,
            share=pixels[index] / known if known else 0.0,
            masks={split: masks[index, split] for split in SPLITS},
            morphology=summarise(held[index] for held in shapes if index in held),
        )
        for index, (name, value) in enumerate(zip(readings.labels.names, readings.labels.values, strict=True))
    ]


def thinnest(
    shapes: Sequence[Mapping[int, Shape]], sides: Sequence[int], labels: LabelMap | None
) -> tuple[float, str, tuple[float, float] | None]:
    """Median thickness of the thinnest class, its name, and its :func:`growth`.

    Args:
        shapes: of the classes in each measured mask.
        sides: the longer side of each of these masks in pixels.
        labels: None if the masks were not understood.
    """
    by_class: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for side, held in zip(sides, shapes, strict=True):
        for index, shape in held.items():
            by_class[index].append((side, shape["thickness_px"]))
    if not by_class or labels is None:
        return 0.0, "", None
    medians = {index: float(np.median([thickness for _, thickness in held])) for index, held in by_class.items()}
    index = min(medians, key=lambda index: (medians[index], index))
    return medians[index], labels.names[index], growth(*zip(*by_class[index], strict=True))


def growth(sides: Sequence[int], thickness: Sequence[float]) -> tuple[float, float] | None:
    """How the thickness of a class grows with the size of the image: the 95 % interval of a in thickness ∝ side^a.

    1: photographs of one scene at several resolutions. 0: structures of one size in smaller and larger cuts.

    Args:
        sides: the longer side of each image in pixels.
        thickness: of the class in its mask, in pixels, above 0.

    Returns:
        The interval, by Theil and Sen; None if the sides differ by less than a factor of three.

    Example:
        >>> growth([50, 100, 200, 400], [5.0, 10.0, 20.0, 40.0])
        (1.0, 1.0)
    """
    if len(sides) < 3 or max(sides) < VARIED * min(sides):
        return None
    fit = theilslopes(np.log(thickness), np.log(sides))
    return round(float(fit.low_slope), 6), round(float(fit.high_slope), 6)


def spectrum(spectra: Sequence[NDArray[np.float64]]) -> list[SpectralEnergy]:
    """For each K, over the measured images."""
    energies = []
    for place, k in enumerate(KS):
        with_dc, without = ([e[place, c] for e in spectra if not np.isnan(e[place, c])] for c in (0, 1))
        if with_dc:
            rest = Distribution.of(without) if without else None
            energies.append(SpectralEnergy(k=k, with_dc=Distribution.of(with_dc), without_dc=rest))
    return energies
