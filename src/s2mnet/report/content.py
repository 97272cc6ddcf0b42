"""What a report holds: plain values and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from s2mnet.evaluation.examples import CaseFigure
from s2mnet.evaluation.records import Evaluation


@dataclass(frozen=True, eq=False)
class Report:
    """Everything the page shows. For an empty field the page says what is missing.

    Example:
        >>> Report("Polyps", ["polyp"]).history
        ()
    """

    title: str
    class_names: Sequence[str]
    """What is measured: the foreground classes in the order of their indices 1, 2, …, or regions made of them."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Images in each split: "train", "val", "test"."""
    data_sentences: Sequence[str] = ()
    label_sentences: Sequence[str] = ()
    """How the values of the masks were read."""
    settings: Mapping[str, object] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    """One record per epoch: see `figures.curves`; also "seconds" (since the start), "descriptors",
    "data_share" (in [0, 1])."""
    evaluation: Evaluation | None = None
    evaluated_on: Literal["test", "validation"] = "test"
    cases: Sequence[CaseFigure] = ()
    filters: Sequence[NDArray[Any] | None] = ()
    """For each stage (C, K, K), see `figures.spectral_filters`."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    drawn: Sequence[str] = ()
    """The foreground classes in that order, where regions are measured; empty if `class_names` are the classes."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why the plan chose what it did, by setting."""
