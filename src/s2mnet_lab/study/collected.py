"""The results of a study put together: what each row reached on each data set, and how two rows compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2mnet.errors import S2MNetError
from s2mnet_lab.study.result import CellResult, load_result, result_path
from s2mnet_lab.study.statistics import Comparison, MeanComparison, compare, compare_means, mean_over_seeds, paired
from s2mnet_lab.study.study import Cell, Study, Variant


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
        alike: trainings missing here that another study declares in the same words and measures on another split. Their
            validation Dice is what this study would find.
        trials: the search's.
        faults: sentences about files that are no results of this study.
    """

    study: Study
    results: dict[tuple[str, str, int], CellResult] = field(default_factory=dict)
    alike: dict[tuple[str, str, int], CellResult] = field(default_factory=dict)
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

    @cached_property
    def trainings(self) -> dict[tuple[str, str, int], CellResult]:
        """Of this study, and alike."""
        return {**self.alike, **self.results}

    @property
    def begun(self) -> dict[str, Variant]:
        """The variants that have a result, or a training alike."""
        run = {name for _, name, _ in self.trainings}
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
        return _score(_means_of([self._validated(name, variant) for name in datasets]))

    def score(self, dataset: str, variant: str, where: str | None = None) -> Score | None:
        """What a variant reached on a data set; None if it has not been run."""
        return _score([*self._reached(dataset, variant, where).values()])

    def mean_score(self, variant: str) -> Score | None:
        """The mean over all data sets, of the seeds that all have; None if there is none."""
        return _score(_means_of([self._reached(name, variant) for name in self.study.data]))

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

        On the mean of the sets that both have a seed of, with the seeds that both have on all of these. A training with
        another seed gives another network: how far these differ is what no test over images sees.
        """
        pairs = [(self._reached(name, self.reference), self._reached(name, variant)) for name in self.study.data]
        ahead = [{seed: first[seed] - second[seed] for seed in first if seed in second} for first, second in pairs]
        return _means_of([one for one in ahead if one])

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

    def _reached(self, dataset: str, variant: str, where: str | None = None) -> dict[int, float]:
        """Dice by seed, mean over images; a study on validation images has that of trainings alike as well."""
        if self.study.split == "val" and where is None:
            return self._validated(dataset, variant)
        found = {seed: self.results[dataset, variant, seed].dice(where) for seed in self.seeds(dataset, variant)}
        return {seed: 100 * float(np.mean(list(of_images.values()))) for seed, of_images in found.items()}

    def _validated(self, dataset: str, variant: str) -> dict[int, float]:
        """Validation Dice of the chosen epoch by seed."""
        found = {seed: self.trainings.get((dataset, variant, seed)) for seed in self.study.seeds}
        return {seed: 100 * result.best_dice for seed, result in found.items() if result}


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


def look_for_alike(every: Sequence[Collected]) -> None:
    """Fill in ``alike`` of each study on validation images from the results of the others."""
    known = {_training(one.study, Cell(*key)): result for one in every for key, result in one.results.items()}
    for found in every:
        if found.study.split != "val":
            continue
        hashes = {dataset: result.split.hash for (dataset, _, _), result in found.results.items()}
        for cell in found.study.cells():
            key, result = (cell.dataset, cell.variant, cell.seed), known.get(_training(found.study, cell))
            same_images = result is not None and result.split.hash == hashes.get(cell.dataset, result.split.hash)
            if result is not None and same_images and key not in found.results:
                found.alike[key] = result


def _training(study: Study, cell: Cell) -> str:
    """What a training is declared as, whatever it is tested on."""
    declared = {name: value for name, value in study.declared(cell).items() if name != "split"}
    return json.dumps([cell.dataset, declared], sort_keys=True)


def _means_of(by_seed: Sequence[dict[int, float]]) -> list[float]:
    """Of several data sets, their mean with each seed that all have."""
    seeds = set.intersection(*map(set, by_seed)) if by_seed else set()
    return [float(np.mean([one[seed] for one in by_seed])) for seed in sorted(seeds)]


def _score(means: list[float]) -> Score | None:
    if not means:
        return None
    std = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return Score(float(np.mean(means)), std)
