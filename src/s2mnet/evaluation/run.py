"""Test a trained model on a part of a data folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from s2mnet.data import Case, read_image, read_mask
from s2mnet.evaluation.results import Evaluation, evaluate
from s2mnet.prediction import Predictor


def evaluate_run(
    predictor: Predictor,
    cases: Iterable[Case],
    split: str,
    tta: int | None = None,
    progress: Callable[[int, str], None] | None = None,
) -> Evaluation:
    """Predict each case at its own size and compare it with its mask, read with the model's own labels.

    Args:
        predictor: the model.
        cases: images with masks.
        split: the name of this part of the data, kept in the result.
        tta: see :meth:`s2mnet.Predictor.predict`.
        progress: called with images done and the name of the latest.

    Raises:
        S2MNetError: a file that cannot be read, or a mask with a label the model does not know.
    """

    def pairs() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for case in cases:
            mask_path = Path(case.mask)  # type: ignore[arg-type]
            truth = predictor.config.labels.encode(read_mask(mask_path), mask_path)
            yield case.name, predictor.predict(read_image(case.image), tta).indices, truth

    return evaluate(pairs(), predictor.config.labels.names[1:], progress=progress, split=split)
