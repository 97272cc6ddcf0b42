"""What a report holds: plain values and arrays, whoever made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["best", "median", "worst", "example"]


@dataclass(frozen=True, eq=False)
class CaseFigure:
    """One image with its masks, as it is to be shown.

    Example:
        >>> pixels = np.zeros((8, 8), np.uint8)
        >>> CaseFigure("case 1", "best", 0.9, pixels, pixels, pixels).boundary is None
        True
    """

    name: str
    role: Role
    dice: float | None
    """None where there is no truth to compare with."""
    image: NDArray[np.uint8]
    """(H, W) or (H, W, 3)."""
    truth: NDArray[np.integer[Any]] | None
    """(H, W) class indices, 255 where nothing is known."""
    prediction: NDArray[np.integer[Any]]
    """(H, W) class indices."""
    boundary: NDArray[np.floating[Any]] | None = None
    """β (h, w) in [0, 1] (SPEC 1.3), of any size; it is shown at the size of the image."""


@dataclass(frozen=True, eq=False)
class Report:
    """Everything the page shows. What is left empty is left out of the page, with a sentence saying so.

    Example:
        >>> Report("Polyps", ["polyp"]).history
        ()
    """

    title: str
    class_names: Sequence[str]
    """What is measured: the foreground classes in the order of their indices 1, 2, …, or regions made of them."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Images of each part of the data: "train", "val", "test"."""
    data_sentences: Sequence[str] = ()
    label_sentences: Sequence[str] = ()
    """What the masks' values were taken to mean."""
    settings: Mapping[str, object] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    """One record per epoch: see `figures.curves`; also "seconds" (since the start), "descriptors",
    "data_share" (in [0, 1])."""
    evaluation: Mapping[str, Any] | None = None
    """As `s2mnet.evaluation.results.Evaluation.model_dump()` gives it."""
    evaluated_on: Literal["test", "validation"] = "test"
    cases: Sequence[CaseFigure] = ()
    filters: Sequence[NDArray[Any] | None] = ()
    """For each stage (C, K, K), see `figures.spectral_filters`."""
    provenance: Mapping[str, object] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    drawn: Sequence[str] = ()
    """The foreground classes in that order, where regions are measured; empty if `class_names` are the classes."""
