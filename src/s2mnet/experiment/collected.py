"""The results of a study put together: what each row reached on each data set, and how two rows compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2mnet.errors import S2MNetError
from s2mnet.experiment.result import CellResult, load_result, result_path
from s2mnet.experiment.statistics import Comparison, MeanComparison, compare, compare_means, mean_over_seeds, paired
from s2mnet.experiment.study import Cell, Study, Variant


@dataclass(frozen=True)
class Score:
    """Dice in percent: mean over seeds of the mean over images; ``std`` over seeds, None for one seed."""

    mean: float
    std: float | None


@dataclass
class Collected:
    """A study and the results that there are.

    Attributes:
        results: by data set, variant and seed, trials of the search left out.
        trials: the search's.
        faults: sentences about files that are no results of this study.
    """

    study: Study
    results: dict[tuple[str, str, int], CellResult] = field(default_factory=dict)
    trials: dict[Cell, CellResult] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """The variant that the others are compared with."""
        return next(iter(self.study.variants))

    @property
    def others(self) -> list[str]:
        """The other variants."""
        return list(self.study.variants)[1:]

    @property
    def begun(self) -> dict[str, Variant]:
        """The variants that have a result."""
        run = {name for _, name, _ in self.results}
        return {name: variant for name, variant in self.study.variants.items() if name in run}

    def seeds(self, dataset: str, *variants: str) -> list[int]:
        """The seeds that all of the variants have been run with."""
        return [seed for seed in self.study.seeds if all((dataset, name, seed) in self.results for name in variants)]

    def common_seeds(self, datasets: Sequence[str], *variants: str) -> list[int]:
        """The seeds that all of the variants have been run with on all of the data sets; none without a data set."""
        own = [set(self.seeds(dataset, *variants)) for dataset in datasets]
        return sorted(set.intersection(*own)) if own else []

    def validated(self, variant: str, *datasets: str) -> Score | None:
        """Validation Dice of the chosen epochs, on the mean of the data sets, of the seeds that all have."""
        seeds = self.common_seeds(datasets, variant)
        found = [[100 * self.results[name, variant, seed].best_dice for name in datasets] for seed in seeds]
        return _score([float(np.mean(one)) for one in found])

    def score(self, dataset: str, variant: str, where: str | None = None) -> Score | None:
        """What a variant reached on a data set; None if it has not been run."""
        means = [self._mean(dataset, variant, seed, where) for seed in self.seeds(dataset, variant)]
        return _score(means)

    def mean_score(self, variant: str) -> Score | None:
        """The mean over all data sets, of the seeds that all have; None if there is none."""
        sets = list(self.study.data)
        return _score([self._mean_of_sets(sets, variant, seed) for seed in self.common_seeds(sets, variant)])

    def differences(self, dataset: str, variant: str) -> NDArray[np.float64] | None:
        """Dice of the reference − Dice of the variant for each test image, mean over the seeds of both."""
        seeds = self.seeds(dataset, self.reference, variant)
        if not seeds:
            return None
        first, second = (
            mean_over_seeds([self.results[dataset, name, seed].dice() for seed in seeds])
            for name in (self.reference, variant)
        )
        return paired(first, second)

    def comparison(self, dataset: str, variant: str) -> Comparison | None:
        """The reference against a variant on one data set."""
        return self._comparisons.get((dataset, variant))

    def mean_comparison(self, variant: str) -> MeanComparison | None:
        """The reference against a variant on the mean of the data sets that both were run on; None without any."""
        return self._mean_comparisons.get(variant)

    def by_seed(self, variant: str) -> list[float]:
        """What the reference is ahead of a variant, in points: one number for each seed.

        On the mean of the sets of `mean_comparison`, with the seeds that both have on all of these. A training with
        another seed gives another network: how far these differ is what no test over images sees.
        """
        sets = [name for name in self.study.data if (name, variant) in self._differences]
        return [
            self._mean_of_sets(sets, self.reference, seed) - self._mean_of_sets(sets, variant, seed)
            for seed in self.common_seeds(sets, self.reference, variant)
        ]

    # Resampled once, shown in several tables and figures.
    @cached_property
    def _differences(self) -> dict[tuple[str, str], NDArray[np.float64]]:
        pairs = product(self.study.data, self.others)
        found = {(dataset, variant): self.differences(dataset, variant) for dataset, variant in pairs}
        return {pair: one for pair, one in found.items() if one is not None}

    @cached_property
    def _comparisons(self) -> dict[tuple[str, str], Comparison]:
        return {pair: compare(one) for pair, one in self._differences.items()}

    @cached_property
    def _mean_comparisons(self) -> dict[str, MeanComparison]:
        sets = {name: [one for (_, own), one in self._differences.items() if own == name] for name in self.others}
        return {name: compare_means(own) for name, own in sets.items() if own}

    def _mean_of_sets(self, datasets: Sequence[str], variant: str, seed: int) -> float:
        return float(np.mean([self._mean(name, variant, seed) for name in datasets]))

    def _mean(self, dataset: str, variant: str, seed: int, where: str | None = None) -> float:
        return 100 * float(np.mean(list(self.results[dataset, variant, seed].dice(where).values())))


def collect(study: Study, results: Path) -> Collected:
    """Read what there is; a file that is no result of this study is named in ``faults`` and left out."""
    found, hashes = Collected(study), dict[str, str]()
    for cell in study.cells():
        try:
            result = load_result(results, study, cell)
        except S2MNetError as error:
            found.faults.append(str(error))
            continue
        if result is None:
            continue
        if hashes.setdefault(cell.dataset, result.split.hash) != result.split.hash:
            found.faults.append(f"{result_path(results, study, cell)}: of other images than the other results")
        elif cell.lr is None:
            found.results[cell.dataset, cell.variant, cell.seed] = result
        else:
            found.trials[cell] = result
    return found


def _score(means: list[float]) -> Score | None:
    if not means:
        return None
    std = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return Score(float(np.mean(means)), std)
