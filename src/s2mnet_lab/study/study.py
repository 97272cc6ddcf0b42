"""What a study declares: data sets × variants × seeds, as a YAML file, and the cells that follow from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from s2mnet.plan.schema import Section, described
from s2mnet.yamlfile import read_yaml

SEEDS = (42, 123, 456, 789, 2024)  # SPEC 3


class DataChoice(Section):
    """One data set of a study: what is planned for it beyond the study's own options."""

    folder: str | None = described(
        None, "a data folder as train reads it, below --data; None: the public set of that name"
    )
    plan: dict[str, Any] = described({}, "options of s2mnet.plan.make_plan, such as extent: patches")
    also_test: list[str] = described([], "other sets of the study's others on which its models are tested, all images")


class Variant(Section):
    """One row of a study: how its plan differs from the plan of the data set."""

    title: str = described(..., "for tables and charts")
    architecture: str = described("s2mnet", "see s2mnet.architecture")
    network: dict[str, Any] = described({}, "arguments of s2mnet.S2MNet")
    loss: Literal["masl", "dice_ce"] = described("masl", "masl or dice_ce")
    loss_options: dict[str, Any] = described({}, "arguments of the loss")
    plan: dict[str, Any] = described({}, "options of s2mnet.plan.make_plan")
    reported: str = described("", "its row in SPEC 3.1 or 3.2")

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        return self.model_dump(mode="json", exclude={"title", "reported"})


class Search(Section):
    """Learning rates to try for each variant on each data set; the best on validation is the one that it runs with."""

    lr: list[float] = described(..., "highest learning rates", min_length=1)
    steps: int = described(..., "steps of a trial", ge=1)
    seed: int = described(7, "of the trials")


class Study(Section):
    """A study: every data set with every variant and every seed.

    Example:
        >>> study = Study(title="t", data={"DRIVE": {}}, variants={"a": {"title": "A"}, "b": {"title": "B"}})
        >>> [str(cell) for cell in study.cells()][:3]
        ['DRIVE/a-42', 'DRIVE/b-42', 'DRIVE/a-123']
    """

    name: str = described("", "of the file, without .yaml")
    title: str = described(..., "heading of its section")
    description: str = described("", "a paragraph for its section")
    headline: bool = described(False, "whether the page opens with it")
    threats: list[str] = described([], "to the validity of its results, a sentence each")
    measure: Literal["training", "spectrum"] = described("training", "spectrum: of images and of one trained network")
    data: dict[str, DataChoice] = described(..., "data sets by name", min_length=1)
    others: dict[str, DataChoice] = described({}, "data sets that are only tested on")
    plan: dict[str, Any] = described({}, "options of s2mnet.plan.make_plan for all")
    tta: Literal[1, 4, 8] = described(1, "transforms averaged when testing")
    split: Literal["test", "val"] = described(
        "test", "what is measured; val to choose by, which leaves the test split unread"
    )
    variants: dict[str, Variant] = described({}, "by short name; the first is what the others are compared with")
    seeds: list[int] = described([*SEEDS], "of every random draw", min_length=1)
    search: Search | None = described(None, "of the learning rate, alike for every variant")
    networks: dict[str, str] = described(
        {}, "spectrum: STUDY/DATASET/VARIANT-SEED by data set, a trained one to look into"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if self.measure == "training" and not self.variants:
            raise ValueError("a study of trainings needs at least one of variants")
        known = {**self.data, **self.others}
        for choice in self.data.values():
            for name in choice.also_test:
                if name not in known:
                    raise ValueError(f"also_test: {name} is neither among data nor among others")
        return self

    @classmethod
    def load(cls, path: Path) -> Study:
        """Read a study.

        Raises:
            S2MNetError: the file is missing, no YAML, or says something a study cannot say.
        """
        study = read_yaml(Path(path), cls, "Correct that line; studies/small.yaml is an example.")
        return study.model_copy(update={"name": Path(path).stem})

    def cells(self) -> Iterator[Cell]:
        """All cells in the order they are run: trials first, then every comparison with one seed before the next."""
        if self.measure == "spectrum":
            yield from (Cell(dataset) for dataset in self.data)
            return
        if self.search:
            for dataset, variant, lr in itertools.product(self.data, self.variants, self.search.lr):
                yield Cell(dataset, variant, self.search.seed, lr)
        for seed, dataset, variant in itertools.product(self.seeds, self.data, self.variants):
            yield Cell(dataset, variant, seed)

    def declared(self, cell: Cell) -> dict[str, Any]:
        """Everything in this file that the result of a training depends on."""
        return {
            "data": self.data[cell.dataset].model_dump(mode="json", exclude={"also_test"}),
            "plan": self.plan,
            "tta": self.tta,
            "variant": self.variants[cell.variant].settings,
            "search": self.search.model_dump(mode="json") if self.search else None,
            "seed": cell.seed,
            **({"split": self.split} if self.split != "test" else {}),
        }


@dataclass(frozen=True)
class Cell:
    """One training, with one result file; of a study of spectra, one data set.

    Attributes:
        lr: of a trial of the search; None for a cell of the study itself.
    """

    dataset: str
    variant: str = ""
    seed: int = 0
    lr: float | None = None

    def __str__(self) -> str:
        if not self.variant:
            return self.dataset
        return f"{self.dataset}/{self.variant}-{self.seed}" + (f"-lr-{self.lr:g}" if self.lr else "")
