"""The metrics of one pair of masks, without the machinery around many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.evaluation.metrics import mask_metrics, structure_masks


def image_metrics(
    prediction: np.ndarray,
    truth: np.ndarray,
    structures: Mapping[str, Sequence[int]],
    ignore_index: int = IGNORE_INDEX,
    spacing: Sequence[float] | None = None,
) -> dict[str, dict[str, float]]:
    """All metrics of one image or volume, for each structure."""
    pairs = structure_masks(prediction, truth, structures, ignore_index)
    return {name: mask_metrics(predicted, true, spacing) for name, predicted, true in pairs}
