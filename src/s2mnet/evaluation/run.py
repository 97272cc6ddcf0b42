"""Test a trained model on one split of a data folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from s2mnet.data import Case, load_case
from s2mnet.evaluation.results import Evaluation, evaluate
from s2mnet.prediction import Predictor


def evaluate_run(
    predictor: Predictor,
    cases: Sequence[Case],
    split: str,
    tta: int | None = None,
    progress: Callable[[int, str], None] | None = None,
) -> Evaluation:
    """Predict each case at its own size and compare it with its mask, read with the model's own labels.

    Patients, volumes and spacing from ``cases.csv`` are used as in :func:`~s2mnet.evaluation.results.evaluate`.

    Args:
        predictor: the model.
        cases: images with masks.
        split: the name of this split, kept in the result.
        tta: see :meth:`s2mnet.Predictor.predict`.
        progress: called with the number of images done and the name of the latest.

    Raises:
        S2MNetError: an unreadable file, a mask of another size or with a label that the model does not know.
    """

    def pairs() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for case in cases:
            image, truth = load_case(case, predictor.config.labels)
            yield case.name, predictor.predict(image, tta).indices, truth

    facts = {case.name: case.facts for case in cases}
    return evaluate(pairs(), predictor.config.labels.structures, progress=progress, split=split, facts=facts)
