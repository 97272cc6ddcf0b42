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
    """A study and its results so far.

    Attributes:
        results: by data set, variant and seed, without the trials of the search.
        borrowed: trainings missing here that another study declares in the same words but measures on another split.
            Their validation Dice is what this study would measure.
        trials: the search's.
        faults: sentences about files that are not results of this study.
    """

    study: Study
    results: dict[tuple[str, str, int], CellResult] = field(default_factory=dict)
    borrowed: dict[tuple[str, str, int], CellResult] = field(default_factory=dict)
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
        """Those of this study, and the borrowed ones."""
        return {**self.borrowed, **self.results}

    @property
    def started(self) -> dict[str, Variant]:
        """The variants that have a result, their own or a borrowed one."""
        names = {name for _, name, _ in self.trainings}
        return {name: variant for name, variant in self.study.variants.items() if name in names}

    @property
    def size(self) -> int:
        """How many results the study has once it is complete, without trials."""
        return sum(cell.lr is None for cell in self.study.cells())

    def of_variant(self, variant: str) -> list[CellResult]:
        """The study's own results of a variant."""
        return [result for (_, name, _), result in self.results.items() if name == variant]

    def seeds(self, dataset: str, *variants: str) -> list[int]:
        """The seeds for which all of the variants have a result."""
        return [seed for seed in self.study.seeds if all((dataset, name, seed) in self.results for name in variants)]

    def common_seeds(self, datasets: Sequence[str], *variants: str) -> list[int]:
        """The seeds for which all of the variants have a result on all of the data sets; none without a data set."""
        by_dataset = [set(self.seeds(dataset, *variants)) for dataset in datasets]
        return sorted(set.intersection(*by_dataset)) if by_dataset else []

    def validated(self, variant: str, *datasets: str) -> Score | None:
        """Validation Dice of the chosen epochs, averaged over the data sets, for the seeds that all of them have."""
        return _score(_means_of([self._validated(name, variant) for name in datasets]))

    def score(self, dataset: str, variant: str, where: str | None = None) -> Score | None:
        """What a variant reached on a data set; None if it has not been run."""
        return _score([*self._reached(dataset, variant, where).values()])

    def mean_score(self, variant: str) -> Score | None:
        """The mean over all data sets, for the seeds that all of them have; None if there is no such seed."""
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
        """The reference against a variant on the mean of the data sets that both have results for; None without any."""
        return self._mean_comparisons.get(variant)

    def lead_by_seed(self, variant: str) -> list[float]:
        """By how many points the reference leads a variant: one number for each seed.

        On the mean of the data sets on which both share a seed, for the seeds that they share on all of these. Another
        seed gives another network; no test over images sees how far such networks differ.
        """
        pairs = [(self._reached(name, self.reference), self._reached(name, variant)) for name in self.study.data]
        leads = [{seed: first[seed] - second[seed] for seed in first if seed in second} for first, second in pairs]
        return _means_of([lead for lead in leads if lead])

    # Resampled once, shown in several tables and figures.
    @cached_property
    def _differences(self) -> dict[tuple[str, str], NDArray[np.float64]]:
        pairs = product(self.study.data, self.others)
        by_pair = {(dataset, variant): self.differences(dataset, variant) for dataset, variant in pairs}
        return {pair: differences for pair, differences in by_pair.items() if differences is not None}

    @cached_property
    def _comparisons(self) -> dict[tuple[str, str], Comparison]:
        return {pair: compare(differences) for pair, differences in self._differences.items()}

    @cached_property
    def _mean_comparisons(self) -> dict[str, MeanComparison]:
        by_variant = {
            name: [differences for (_, variant), differences in self._differences.items() if variant == name]
            for name in self.others
        }
        return {name: compare_means(sets) for name, sets in by_variant.items() if sets}

    def _reached(self, dataset: str, variant: str, where: str | None = None) -> dict[int, float]:
        """Dice by seed, mean over images; on validation images the borrowed trainings count too."""
        if self.study.split == "val" and where is None:
            return self._validated(dataset, variant)
        by_seed = {seed: self.results[dataset, variant, seed].dice(where) for seed in self.seeds(dataset, variant)}
        return {seed: 100 * float(np.mean(list(by_image.values()))) for seed, by_image in by_seed.items()}

    def _validated(self, dataset: str, variant: str) -> dict[int, float]:
        """Validation Dice of the chosen epoch by seed."""
        trained = {seed: self.trainings.get((dataset, variant, seed)) for seed in self.study.seeds}
        return {seed: 100 * result.best_dice for seed, result in trained.items() if result}


def collect(study: Study, results: Path) -> Collected:
    """Read the results of a study; a file that is not one of them is named in ``faults`` and left out."""
    collected, hashes = Collected(study), dict[str, str]()
    for cell in study.cells():
        try:
            result = load_result(results, study, cell)
        except S2MNetError as error:
            collected.faults.append(str(error))
            continue
        if result is None:
            continue
        if hashes.setdefault(cell.dataset, result.split.hash) != result.split.hash:
            collected.faults.append(f"{result_path(results, study, cell)} used other images than the other results.")
        elif cell.lr is None:
            collected.results[cell.dataset, cell.variant, cell.seed] = result
        else:
            collected.trials[cell] = result
    return collected


def share_trainings(studies: Sequence[Collected]) -> None:
    """Fill in ``borrowed`` of each study on validation images from the results of the others."""
    known = {_training(one.study, Cell(*key)): result for one in studies for key, result in one.results.items()}
    for collected in studies:
        if collected.study.split != "val":
            continue
        hashes = {dataset: result.split.hash for (dataset, _, _), result in collected.results.items()}
        for cell in collected.study.cells():
            key, result = (cell.dataset, cell.variant, cell.seed), known.get(_training(collected.study, cell))
            same_images = result is not None and result.split.hash == hashes.get(cell.dataset, result.split.hash)
            if result is not None and same_images and key not in collected.results:
                collected.borrowed[key] = result


def _training(study: Study, cell: Cell) -> str:
    """What a training is declared as, whatever it is tested on."""
    declared = {name: value for name, value in study.declared(cell).items() if name != "split"}
    return json.dumps([cell.dataset, declared], sort_keys=True)


def _means_of(by_dataset: Sequence[dict[int, float]]) -> list[float]:
    """The mean over data sets for each seed that all of them have."""
    seeds = set.intersection(*map(set, by_dataset)) if by_dataset else set()
    return [float(np.mean([by_seed[seed] for by_seed in by_dataset])) for seed in sorted(seeds)]


def _score(means: list[float]) -> Score | None:
    if not means:
        return None
    std = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return Score(float(np.mean(means)), std)
