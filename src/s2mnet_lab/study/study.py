"""A study as its YAML file declares it, data sets × variants × seeds, and the cells that follow from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from s2mnet.yamlfile import read_yaml

SEEDS = (42, 123, 456, 789, 2024)  # SPEC 3
NNUNET = "nnunetv2"
OWN_COMMANDS = {NNUNET: "s2mnet-lab nnunet"}
"""Architectures that another program trains, and the command that runs it and writes the result of a cell."""


def _canonical(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a plan in today's words, so that a file with the former "32" declares the same as one with float32."""
    return {key: "float32" if (key, value) == ("precision", "32") else value for key, value in options.items()}


PlanOptions = Annotated[dict[str, Any], AfterValidator(_canonical)]
"""Options of :func:`s2mnet.plan.make_plan`, such as ``extent: patches``."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataChoice(_Section):
    """One data set of a study.

    Attributes:
        folder: a data folder below ``--data``, in the layout that training reads; None: the public set of that name.
        plan: options for this data set beyond the study's own.
        also_test: other data sets on whose images, all of them, the models are tested.
    """

    folder: str | None = None
    plan: PlanOptions = {}
    also_test: list[str] = []


class Variant(_Section):
    """One row of a study: how its plan differs from the plan of the data set.

    Attributes:
        title: for tables and charts.
        architecture: s2mnet, the short name of a network to compare with, or a key of :data:`OWN_COMMANDS`.
        network: arguments of :class:`s2mnet.S2MNet`.
        loss, loss_options: masl or dice_ce, and its arguments.
        plan: options of the plan.
        reported: its row in SPEC 3.1 or 3.2.
    """

    title: str
    architecture: str = "s2mnet"
    network: dict[str, Any] = {}
    loss: Literal["masl", "dice_ce"] = "masl"
    loss_options: dict[str, Any] = {}
    plan: PlanOptions = {}
    reported: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        return self.model_dump(mode="json", exclude={"title", "reported"})


class Search(_Section):
    """Learning rates to try for each variant on each data set. The cells run with the one that validates best.

    Attributes:
        lr: highest learning rates.
        steps: of a trial.
        seed: of the trials.
    """

    lr: list[float] = Field(min_length=1)
    steps: int = Field(ge=1)
    seed: int = 7


class Study(_Section):
    """A study: every data set with every variant and every seed.

    Attributes:
        name: of the file, without .yaml.
        title, description: heading and first paragraph of its page.
        headline: whether the page of results opens with it.
        threats: to the validity of its results, a sentence each.
        measure: training, or the spectrum of images and of one trained network.
        data: data sets by name.
        others: data sets that are only tested on.
        plan: options of the plan for all cells.
        clock: what spends a budget of minutes: wall, or the processor time of the training, from which other work on
            the machine takes nothing. On a core of its own a training spends the same by both.
        tta: transforms averaged when testing.
        split: what is measured. A study to choose by measures val and leaves the test split unread.
        variants: by short name; the others are compared with the first.
        seeds: of every random draw.
        search: of the learning rate, the same for every variant.
        networks: for spectra, the trained network of a data set as STUDY/DATASET/VARIANT-SEED.

    Example:
        >>> study = Study(title="t", data={"DRIVE": {}}, variants={"a": {"title": "A"}, "b": {"title": "B"}})
        >>> [str(cell) for cell in study.cells()][:3]
        ['DRIVE/a-42', 'DRIVE/b-42', 'DRIVE/a-123']
    """

    name: str = ""
    title: str
    description: str = ""
    headline: bool = False
    threats: list[str] = []
    measure: Literal["training", "spectrum"] = "training"
    data: dict[str, DataChoice] = Field(min_length=1)
    others: dict[str, DataChoice] = {}
    plan: PlanOptions = {}
    clock: Literal["wall", "processor"] = "wall"
    tta: Literal[1, 4, 8] = 1
    split: Literal["test", "val"] = "test"
    variants: dict[str, Variant] = {}
    seeds: list[int] = Field(default=[*SEEDS], min_length=1)
    search: Search | None = None
    networks: dict[str, str] = {}

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
            S2MNetError: the file cannot be read, is not YAML, or does not declare a study.
        """
        study = read_yaml(Path(path), cls, "Correct that line; studies/small.yaml is an example.")
        return study.model_copy(update={"name": Path(path).stem})

    def cells(self) -> Iterator[Cell]:
        """All cells in running order: trials first, then every comparison with one seed before the next seed."""
        if self.measure == "spectrum":
            yield from (Cell(dataset) for dataset in self.data)
            return
        if self.search:
            for dataset, variant, lr in itertools.product(self.data, self.variants, self.search.lr):
                yield Cell(dataset, variant, self.search.seed, lr)
        for seed, dataset, variant in itertools.product(self.seeds, self.data, self.variants):
            yield Cell(dataset, variant, seed)

    def declared(self, cell: Cell) -> dict[str, Any]:
        """Everything in the study file that the result of a training depends on."""
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
    """One training with one result file; in a study of spectra, one data set.

    Attributes:
        lr: of a trial of the search; None for other cells.
    """

    dataset: str
    variant: str = ""
    seed: int = 0
    lr: float | None = None

    def __str__(self) -> str:
        if not self.variant:
            return self.dataset
        return f"{self.dataset}/{self.variant}-{self.seed}" + (f"-lr-{self.lr:g}" if self.lr else "")
