"""The contents of an evaluation: a record for each image, volume and patient, and their summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from s2mnet.evaluation.metrics import METRIC_NAMES, Unit

MEAN = "mean over classes"
"""The key of a summary for the mean over the structures."""
RESAMPLES = 2000
BOOTSTRAP_SEED = 0

Finite = Annotated[float, Field(allow_inf_nan=False)]
Empty = Literal["neither", "prediction", "truth", "both"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Result(_Record):
    """The metrics of one image, volume or patient."""

    name: str
    metrics: dict[str, dict[str, Finite]]
    """structure → metric → value."""

    def mean(self, metric: str) -> float:
        """Mean of ``metric`` over the structures."""
        return float(np.mean([values[metric] for values in self.metrics.values()]))


class _Case(Result):
    """What was measured from its masks: with the structures of which a mask was empty."""

    split: str | None = None
    patient: str | None = None
    empty: dict[str, Empty]
    """Structure → which mask has no pixel or voxel of it."""


class ImageResult(_Case):
    """One image."""

    volume: str | None = None


class VolumeResult(_Case):
    """One volume, measured in 3-D."""

    slices: int
    """How many slices were measured."""


class PatientResult(Result):
    """One patient: the mean over the patient's volumes, or images."""

    parts: int
    """How many volumes, or images."""


class Summary(_Record):
    """One metric over all images, volumes or patients.

    ``low`` and ``high`` bound the mean (95 % percentile bootstrap over images, volumes or patients).
    """

    mean: Finite
    std: Finite
    """Sample standard deviation over images (n − 1); 0 for a single image."""
    median: Finite
    low: Finite
    high: Finite


Summaries = dict[str, dict[str, Summary]]
"""Structure, or `MEAN` for each image's mean over structures → metric → summary over images."""


class EmptyCounts(_Record):
    """How many images or volumes had an empty mask of a structure."""

    complete_misses: int
    """Exactly one of prediction and truth is empty."""
    both_empty: int
    """Both are empty, which counts as agreement."""


class Volumes(_Record):
    """The volumes that the images are slices of."""

    unit: Unit
    """Of HD95 and the tolerance of the surface Dice: millimetres if all three spacings of all volumes are known."""
    cases: list[VolumeResult]
    summary: Summaries
    empty: dict[str, EmptyCounts]


class Patients(_Record):
    """The patients that the volumes, or images, belong to."""

    unit: Unit
    mean_over: Literal["volumes", "images"]
    cases: list[PatientResult]
    summary: Summaries


class Evaluation(_Record):
    """The metrics of a set of images, their summary, and what they were measured on.

    If only volumes were measured, ``cases``, ``summary`` and ``empty`` are empty.
    """

    class_names: list[str]
    """The measured structures: foreground classes or regions, in their order."""
    unit: Unit = "px"
    """Of HD95 of an image and the tolerance of its surface Dice: millimetres if the spacing of all images is known."""
    cases: list[ImageResult]
    summary: Summaries
    empty: dict[str, EmptyCounts]
    """structure → counts."""
    volumes: Volumes | None = None
    """None unless every image belongs to a volume."""
    patients: Patients | None = None
    """None unless every image belongs to a patient."""
    context: dict[str, Any] = Field(default_factory=dict)
    """What the caller knows, as JSON values: data, split, command, commit, versions, hardware, date."""

    def with_context(self, **context: Any) -> Evaluation:
        """A copy with more context; a key that exists is replaced."""
        return self.model_copy(update={"context": self.context | context})

    def groups(self) -> dict[str, Evaluation | Volumes | Patients]:
        """The parts with a summary, by the noun for their cases: "image", "volume" and "patient", as far as present.

        Example:
            >>> Evaluation(class_names=["lesion"], cases=[], summary={}, empty={}).groups()
            {}
        """
        groups = {"image": self, "volume": self.volumes, "patient": self.patients}
        return {noun: group for noun, group in groups.items() if group and group.cases}


def volumes_of(cases: list[VolumeResult], unit: Unit) -> Volumes:
    """Volumes with their summary."""
    return Volumes(unit=unit, cases=cases, summary=summarise(cases), empty=count_empty(cases))


def patients_of(parts: Sequence[ImageResult | VolumeResult], unit: Unit) -> Patients | None:
    """The means of each patient's parts; None unless every part belongs to a patient."""
    patients = {part.patient for part in parts}
    if None in patients:
        return None
    cases = []
    for patient in sorted(filter(None, patients)):
        own = [part.metrics for part in parts if part.patient == patient]
        metrics = {name: {m: float(np.mean([o[name][m] for o in own])) for m in METRIC_NAMES} for name in own[0]}
        cases.append(PatientResult(name=patient, parts=len(own), metrics=metrics))
    over: Literal["volumes", "images"] = "volumes" if isinstance(parts[0], VolumeResult) else "images"
    return Patients(unit=unit, mean_over=over, cases=cases, summary=summarise(cases))


def summarise(cases: Sequence[Result]) -> Summaries:
    """The summary of images, volumes or patients, all with the same structures; empty if there are none.

    Example:
        >>> results = [Result(name=str(v), metrics={"lesion": dict.fromkeys(METRIC_NAMES, v)}) for v in (0.5, 1.0)]
        >>> summarise(results)["lesion"]["dice"].mean
        0.75
    """
    if not cases:
        return {}
    names = list(cases[0].metrics)
    values = {(name, m): [case.metrics[name][m] for case in cases] for name in names for m in METRIC_NAMES}
    values |= {(MEAN, m): [case.mean(m) for case in cases] for m in METRIC_NAMES}
    summaries = dict(zip(values, summarise_values(np.array(list(values.values()))), strict=True))
    return {key: {m: summaries[key, m] for m in METRIC_NAMES} for key in [*names, MEAN]}


def count_empty(cases: Sequence[ImageResult | VolumeResult]) -> dict[str, EmptyCounts]:
    """How often each structure was missed completely, and how often both masks were empty."""
    counters = {name: Counter(case.empty[name] for case in cases) for name in (cases[0].empty if cases else ())}
    return {
        name: EmptyCounts(complete_misses=counter["prediction"] + counter["truth"], both_empty=counter["both"])
        for name, counter in counters.items()
    }


def summarise_values(values: np.ndarray) -> list[Summary]:
    """Mean, spread and the 95 % percentile bootstrap interval of the mean over images, with a fixed seed.

    Args:
        values: (quantities, images), finite; all quantities share the same resampled images.

    Returns:
        One summary for each quantity.

    Example:
        >>> summarise_values(np.array([[0.0, 1.0], [0.5, 0.5]]))[1].high
        0.5
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    images = values.shape[1]
    means = np.stack([values[:, rng.integers(0, images, images)].mean(axis=1) for _ in range(RESAMPLES)])
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    std = values.std(axis=1, ddof=1) if images > 1 else np.zeros(len(values))
    rows = zip(values.mean(axis=1), std, np.median(values, axis=1), low, high, strict=True)
    return [Summary(mean=m, std=s, median=d, low=lo, high=hi) for m, s, d, lo, hi in np.array(list(rows)).tolist()]
