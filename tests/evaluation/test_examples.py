"""The cases that a report shows are those at the ends and in the middle of the ranking by Dice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s2mnet.data import find_cases
from s2mnet.evaluation.examples import best_median_worst, predict_examples
from s2mnet.evaluation.results import Evaluation, evaluate
from s2mnet.prediction import Predictor
from s2mnet.workflow import evaluate_cases

SQUARE = np.zeros((20, 20), np.uint8)
SQUARE[:, 5:10] = 1


def shifted(*shifts: int, empty: int = 0) -> Evaluation:
    """A square moved by so many pixels, most overlap for the least; and agreement on nothing."""
    pairs = [(f"by {shift}", np.roll(SQUARE, shift, 1), SQUARE) for shift in shifts]
    pairs += [(f"empty {number}", 0 * SQUARE, 0 * SQUARE) for number in range(empty)]
    return evaluate(pairs, {"square": [1]})


@pytest.mark.parametrize(
    ("evaluation", "expected"),
    [
        (shifted(3, 0, 1, 4, 2), {"best": "by 0", "median": "by 2", "worst": "by 4"}),
        (shifted(3, 0, 1, 2), {"best": "by 0", "median": "by 2", "worst": "by 3"}),
        (shifted(3, 1, empty=5), {"best": "by 1", "median": "by 3"}),
        (shifted(2), {"best": "by 2"}),
        (shifted(empty=1), {"best": "empty 0"}),
    ],
)
def test_best_median_and_worst(evaluation: Evaluation, expected: dict[str, str]) -> None:
    assert {role: result.name for role, result in best_median_worst(evaluation).items()} == expected


def test_examples_are_the_evaluated_predictions(tiny_run: Path, tiny_data: Path) -> None:
    predictor, cases = Predictor(tiny_run, engine="torch"), find_cases(tiny_data).splits["train"]
    examples = predict_examples(predictor, cases, evaluation := evaluate_cases(predictor, cases, "train"))
    assert [example.role for example in examples] == ["best", "median", "worst"]
    by_name = {case.name: case.mean("dice") for case in evaluation.cases}
    assert [example.dice for example in examples][::2] == [max(by_name.values()), min(by_name.values())]
    for example in examples:
        assert example.truth is not None and example.boundary is not None
        both = np.count_nonzero((example.truth == 1) & (example.prediction == 1))
        dice = 2 * both / (np.count_nonzero(example.truth == 1) + np.count_nonzero(example.prediction == 1))
        assert dice == pytest.approx(example.dice) and example.dice == by_name[example.name]
        assert example.image.shape == (*example.truth.shape, 3)
