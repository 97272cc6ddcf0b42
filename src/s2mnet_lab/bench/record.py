"""The record of a benchmark: every repeat of every measurement, and what was left out and why."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from s2mnet.device import Precision

Section = Literal["network", "train", "spectral", "loss", "bound", "operations"]
SECTIONS: tuple[Section, ...] = ("network", "train", "spectral", "loss", "bound", "operations")
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")


class Case(BaseModel):
    """The conditions of one comparison. Its contestants take turns.

    Attributes:
        section: "network" is inference, "train" a training step, "bound" the least time of both, "operations" the
            largest operations of both.
        size: side of the square images. In the spectral section, of the image that the maps come from.
        batch: number of images.
        stage: encoder stage 1 to 5, in the spectral section only.
    """

    model_config = ConfigDict(frozen=True)

    section: Section
    size: int
    batch: int
    precision: Precision = "float32"
    stage: int | None = None

    @property
    def conditions(self) -> str:
        """For headings, without the section."""
        return f"{self.size}², batch {self.batch}, {self.precision}"

    @property
    def label(self) -> str:
        """For tables, of inference and training steps."""
        return f"{'training step' if self.section == 'train' else 'inference'}, {self.conditions}"

    def __str__(self) -> str:
        stage = f", stage {self.stage}" if self.stage else ""
        return f"{self.section} {self.size}×{self.size}{stage}, batch {self.batch}, {self.precision}"


class Measurement(BaseModel):
    """One contestant in one case.

    Attributes:
        seconds: of one call, for every repeat in order.
        calls: number of calls that a repeat is the mean of; more than one for very short calls.
        peak: FLOP/s of a matrix product in the same rounds, for every repeat.
        flops: of one call, two for each multiply-add; None where they are not compared.
        memory: peak bytes beyond what the process held before it built the network.
        memory_process: peak bytes of the whole process.
        alone: seconds of one call in a separate process.
        form: memory format of the network, the fastest of those allowed.
    """

    case: Case
    contestant: str
    seconds: list[float]
    calls: int = 1
    peak: list[float] = []
    parameters: int | None = None
    flops: int | None = None
    memory: int | None = None
    memory_process: int | None = None
    alone: float | None = None
    form: str | None = None

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of the seconds."""
        low, middle, high = (float(q) for q in np.percentile(self.seconds, (25, 50, 75)))
        return low, middle, high

    @property
    def median(self) -> float:
        """Seconds of one call."""
        return self.quartiles[1]

    @property
    def share_of_peak(self) -> float | None:
        """The FLOP/s reached, divided by those of the matrix product in the same rounds."""
        if self.flops is None or not self.peak:
            return None
        return self.flops / self.median / float(np.median(self.peak))


class LeftOut(BaseModel):
    """A contestant that was not measured in a case, and why."""

    case: Case
    contestant: str
    reason: str


class Rates(BaseModel):
    """Rates of a machine per second: FLOPs of a dense product, FLOPs in float32, bytes copied."""

    dense: float
    vector: float
    memory: float


class Kind(BaseModel):
    """All layers of one kind: FLOPs, bytes, and the least seconds that they take."""

    name: str
    flops: float = 0.0
    bytes: float = 0.0
    seconds: float = 0.0


class Bound(BaseModel):
    """The least time of a case, see `s2mnet_lab.bench.bound`."""

    case: Case
    rates: Rates
    kinds: list[Kind]

    @property
    def seconds(self) -> float:
        """Least time of all kinds of layers together."""
        return sum(kind.seconds for kind in self.kinds)


class Operation(BaseModel):
    """A group of operations within a case, see `s2mnet_lab.bench.operations`.

    Attributes:
        calls: number of operations.
        seconds, flops, bytes: of all of them together.
        share: of the time of all operations in the case.
        multiplying: least seconds for the multiply-adds.
        moving: least seconds to read and write all tensors once.
    """

    name: str
    calls: int = 0
    seconds: float = 0.0
    share: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    multiplying: float = 0.0
    moving: float = 0.0


class Largest(BaseModel):
    """The largest operations of a case, the largest first."""

    case: Case
    rates: Rates
    operations: list[Operation]


class Record(BaseModel):
    """A whole run, the content of `bench.json`.

    Attributes:
        environment: see `s2mnet.provenance.environment`.
        options: of the run.
        titles: of the contestants, for tables and charts.
        differences: in the spectral section, the largest difference of each form from ours, relative to the largest
            value: of the output, and of the gradient with respect to the input.
        bounds: least times of S2M-Net on this machine.
        largest: the operations that take most of its time.
    """

    environment: dict[str, Any]
    device: str
    threads: int
    options: dict[str, Any]
    titles: dict[str, str]
    measurements: list[Measurement] = []
    left_out: list[LeftOut] = []
    differences: dict[str, tuple[float, float]] = {}
    bounds: list[Bound] = []
    largest: list[Largest] = []

    def of(self, section: Section) -> dict[Case, list[Measurement]]:
        """The measurements of a section by case, in the order they were taken."""
        cases: dict[Case, list[Measurement]] = {}
        for one in self.measurements:
            if one.case.section == section:
                cases.setdefault(one.case, []).append(one)
        return cases
