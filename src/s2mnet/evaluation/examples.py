"""The cases that a report shows: the best, the median and the worst, predicted again for their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from s2mnet.data import Case, load_case
from s2mnet.data.channels import to_show
from s2mnet.evaluation.records import Evaluation, ImageResult
from s2mnet.prediction import Predictor

Role = Literal["best", "median", "worst", "example"]


@dataclass(frozen=True, eq=False)
class CaseFigure:
    """One image with its masks, ready to be drawn.

    Example:
        >>> pixels = np.zeros((8, 8), np.uint8)
        >>> CaseFigure("case 1", "best", 0.9, pixels, pixels, pixels).boundary is None
        True
    """

    name: str
    role: Role
    dice: float | None
    """None without a truth."""
    image: NDArray[np.uint8]
    """(H, W) or (H, W, 3)."""
    truth: NDArray[np.integer[Any]] | None
    """(H, W) class indices, 255 where the truth is unknown."""
    prediction: NDArray[np.integer[Any]]
    """(H, W) class indices."""
    boundary: NDArray[np.floating[Any]] | None = None
    """β (h, w) in [0, 1] (SPEC 1.3), of any size; it is shown at the size of the image."""


def best_median_worst(evaluation: Evaluation) -> dict[Role, ImageResult]:
    """The images with the highest, middle and lowest mean Dice; fewer if there are fewer images.

    Images with an empty truth are left out unless all are empty: agreement on nothing makes a dull picture.
    """
    marked = [case for case in evaluation.cases if {"neither", "prediction"} & set(case.empty.values())]
    ordered = sorted(marked or evaluation.cases, key=lambda case: case.mean("dice"))
    places: dict[Role, int] = {"best": len(ordered) - 1, "median": (len(ordered) - 1) // 2, "worst": 0}
    chosen: dict[int, Role] = {}
    for role, place in places.items():
        chosen.setdefault(place, role)
    return {role: ordered[place] for place, role in chosen.items()}


def predict_examples(predictor: Predictor, cases: Sequence[Case], evaluation: Evaluation) -> list[CaseFigure]:
    """Predict the best, median and worst case of an evaluation, with β where the model gives it.

    Args:
        predictor: the model that was evaluated.
        cases: those that were evaluated.
        evaluation: the result.
    """
    by_name = {case.name: case for case in cases}
    examples = []
    for role, result in best_median_worst(evaluation).items():
        image, truth = load_case(by_name[result.name], predictor.config.labels)
        prediction = predictor.predict(image, boundary=True)
        shown = to_show(image, predictor.config.preprocessing.stored)
        dice = result.mean("dice")
        examples.append(CaseFigure(result.name, role, dice, shown, truth, prediction.indices, prediction.boundary))
    return examples
