"""What a benchmark found: every repeat of every measurement, and what was left out and why."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from s2mnet.device import Precision

Section = Literal["network", "train", "spectral", "loss", "bound", "operations"]
SECTIONS: tuple[Section, ...] = ("network", "train", "spectral", "loss", "bound", "operations")
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")


class Case(BaseModel):
    """One row of rounds: all contestants in it are alternated.

    Attributes:
        section: "network" is inference, "train" a training step, "bound" what bounds both, "operations" what is most
            of them.
        size: side of the square images; of the spectral section the image that the maps come from.
        batch: images at a time.
        stage: encoder stage 1 to 5, of the spectral section only.
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

    def __str__(self) -> str:
        stage = f", stage {self.stage}" if self.stage else ""
        return f"{self.section} {self.size}×{self.size}{stage}, batch {self.batch}, {self.precision}"


class Measurement(BaseModel):
    """One contestant in one case.

    Attributes:
        seconds: of one call, every repeat in the order it was taken.
        calls: how many calls a repeat is the mean of (more than one for what is over in no time).
        peak: FLOP/s of a matrix product, one figure for each repeat, taken in the same rounds.
        flops: of one call, two for each multiply-add; None where they are not what is compared.
        memory: peak bytes beyond what the process held before the network was built; memory_process: of the whole.
        alone: seconds of one call in a process of its own.
        form: memory format of the network, the faster for it of those allowed.
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
        """Reached FLOP/s over those of the matrix product in the same rounds."""
        if self.flops is None or not self.peak:
            return None
        return self.flops / self.median / float(np.median(self.peak))


class LeftOut(BaseModel):
    """A contestant that has no figure in a case, and why."""

    case: Case
    contestant: str
    reason: str


class Rates(BaseModel):
    """Of a machine, a second: FLOPs of a dense product, and of one in float32; bytes."""

    dense: float
    vector: float
    memory: float


class Kind(BaseModel):
    """All layers of one kind: FLOPs, bytes, and the least seconds that these take."""

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
        """Of all kinds."""
        return sum(kind.seconds for kind in self.kinds)


class Operation(BaseModel):
    """A group of operations within a case, see `s2mnet_lab.bench.operations`.

    Attributes:
        calls: how many there are; seconds, flops, bytes: of all of them together.
        share: of the time of all operations.
        multiplying: the least seconds of the multiply-adds; moving: of reading and writing all tensors once.
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
    """A whole run, as `bench.json` holds it.

    Attributes:
        environment: see `s2mnet.provenance.environment`.
        options: as the run was asked for.
        titles: what to call each contestant.
        differences: of the spectral section, the largest difference of each form from the first, relative to the
            largest value: of the output and of the gradient of the input.
        bounds: least times of S2M-Net on this machine.
        largest: where its time goes.
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
        for found in self.measurements:
            if found.case.section == section:
                cases.setdefault(found.case, []).append(found)
        return cases
