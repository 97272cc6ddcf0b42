"""Two rows of a study compared: paired tests over images, effect sizes, intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

RESAMPLES = 5000
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """One row against another on the same images of one data set.

    Attributes:
        images: how many.
        difference: mean over images of first − second; low, high: its 95 % bootstrap interval over images.
        effect: Cohen's d of paired samples, mean over standard deviation of the differences; effect_low, effect_high:
            its interval. 0 if all images are equal.
        p: of the Wilcoxon signed-rank test over images, two-sided, uncorrected (SPEC 3); 1 if all images are equal.
    """

    images: int
    difference: float
    low: float
    high: float
    effect: float
    effect_low: float
    effect_high: float
    p: float


@dataclass(frozen=True)
class MeanComparison:
    """The same on the mean of several data sets, each with equal weight.

    Attributes:
        difference: mean over the sets of the mean difference; low, high: 95 %, images resampled within each set.
        p: of a permutation test, two-sided, uncorrected: the sign of each image's difference is drawn at random.
    """

    sets: int
    difference: float
    low: float
    high: float
    p: float


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> NDArray[np.float64]:
    """Differences first − second over the images of both, in the order of their names.

    Raises:
        ValueError: the images are not the same.
    """
    if first.keys() != second.keys():
        raise ValueError("results of different images cannot be compared")
    return np.array([first[name] - second[name] for name in sorted(first)])


def mean_over_seeds(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each image over several seeds' results.

    Example:
        >>> mean_over_seeds([{"a": 0.5, "b": 1.0}, {"a": 0.7, "b": 0.0}])
        {'a': 0.6, 'b': 0.5}
    """
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}


def compare(differences: NDArray[np.float64]) -> Comparison:
    """Compare by the differences of a data set's images.

    Example:
        >>> one = compare(np.array([0.1, 0.2, 0.3, 0.2, 0.1, 0.2]))
        >>> round(one.difference, 3), one.low > 0, round(one.p, 4)
        (0.183, True, 0.0312)
    """
    drawn = _resampled(differences, np.random.default_rng(0))
    means = drawn.mean(axis=1)
    effects = _effect(drawn)
    low, high = np.percentile(means, _BOUNDS)
    effect_low, effect_high = np.percentile(effects, _BOUNDS)
    p = float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0
    values = (differences.mean(), low, high, float(_effect(differences[None])[0]), effect_low, effect_high, p)
    return Comparison(len(differences), *map(float, values))


def compare_means(sets: Sequence[NDArray[np.float64]]) -> MeanComparison:
    """Compare by the differences of several data sets' images.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> mean = compare_means([rng.normal(0.1, 0.1, 40), rng.normal(0.0, 0.1, 200)])
        >>> 0.02 < mean.difference < 0.08, mean.p < 0.01
        (True, True)
    """
    rng = np.random.default_rng(0)
    difference = float(np.mean([one.mean() for one in sets]))
    means = np.mean([_resampled(one, rng).mean(axis=1) for one in sets], axis=0)
    low, high = np.percentile(means, _BOUNDS)
    flipped = np.mean([_signs(one, rng) @ one / len(one) for one in sets], axis=0)
    # The observed signs count as one of the draws, so that p is never 0.
    p = (1 + int((np.abs(flipped) >= abs(difference) * (1 - 1e-12)).sum())) / (1 + RESAMPLES)
    return MeanComparison(len(sets), difference, float(low), float(high), p)


def corrected(p: float, tests: int) -> float:
    """Bonferroni: p for one of several tests.

    Example:
        >>> corrected(0.01, 5), corrected(0.4, 5)
        (0.05, 1.0)
    """
    return min(1.0, p * tests)


_BOUNDS = (50 * (1 - LEVEL), 50 * (1 + LEVEL))


def _resampled(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return values[rng.integers(0, len(values), (RESAMPLES, len(values)))]


def _signs(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.choice([-1.0, 1.0], (RESAMPLES, len(values)))


def _effect(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cohen's d of each row."""
    deviation = rows.std(axis=1, ddof=1) if rows.shape[1] > 1 else np.zeros(len(rows))
    return np.where(deviation > 0, rows.mean(axis=1) / np.where(deviation > 0, deviation, 1), 0.0).astype(np.float64)
