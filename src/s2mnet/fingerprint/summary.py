"""The numbers of a fingerprint, from the facts of all pairs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from s2mnet.data.cases import SPLITS, Split
from s2mnet.data.labels import IGNORE_INDEX, LabelMap
from s2mnet.fingerprint.pair import Pair
from s2mnet.fingerprint.problems import Readings
from s2mnet.fingerprint.record import Channel, ClassFacts, Distribution, LabelValue, SpectralEnergy
from s2mnet.fingerprint.shapes import Shape, summarise
from s2mnet.fingerprint.spectrum import KS

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


def thinnest(shapes: Iterable[Mapping[int, Shape]], labels: LabelMap | None) -> tuple[float, str]:
    """Median thickness of the thinnest class, and its name."""
    by_class: defaultdict[int, list[float]] = defaultdict(list)
    for held in shapes:
        for index, shape in held.items():
            by_class[index].append(shape["thickness_px"])
    if not by_class or labels is None:
        return 0.0, ""
    thickness, index = min((float(np.median(values)), index) for index, values in by_class.items())
    return thickness, labels.names[index]


def spectrum(spectra: Sequence[NDArray[np.float64]]) -> list[SpectralEnergy]:
    """For each K, over the measured images."""
    energies = []
    for place, k in enumerate(KS):
        with_dc, without = ([e[place, c] for e in spectra if not np.isnan(e[place, c])] for c in (0, 1))
        if with_dc:
            rest = Distribution.of(without) if without else None
            energies.append(SpectralEnergy(k=k, with_dc=Distribution.of(with_dc), without_dc=rest))
    return energies
