"""Dice + cross-entropy against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special
from torch.nn import functional as F

from s2mnet.loss.dice_ce import DiceCrossEntropy


def test_with_and_without_cross_entropy() -> None:
    logits = torch.randn(3, 1, 12, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = (logits[:, 0] + 0.5 > 0).long()
    p, y = torch.sigmoid(logits[:, 0]), target.double()
    dice = 2 * (p * y).sum((1, 2)) / (p.sum((1, 2)) + y.sum((1, 2)))
    alone = DiceCrossEntropy(cross_entropy=False)(logits, target)
    assert alone.item() == pytest.approx(1 - dice.mean().item(), abs=1e-5)
    both = alone + F.binary_cross_entropy(p, y)
    assert DiceCrossEntropy()(logits, target).item() == pytest.approx(both.item(), abs=1e-5)


@pytest.mark.parametrize("classes, multilabel", [(1, False), (3, False), (2, True)])
@pytest.mark.parametrize("ignored", [0.0, 0.2, 1.0])
def test_any_task_with_ignored_pixels_in_numpy(classes: int, multilabel: bool, ignored: float) -> None:
    rng = np.random.default_rng(classes)
    logits = 2 * rng.standard_normal((2, classes, 9, 11))
    labels = rng.integers(0, 2 if multilabel or classes == 1 else classes, (2, classes if multilabel else 1, 9, 11))
    valid = rng.random(labels.shape) >= ignored
    if multilabel or classes == 1:
        p, y, counted = special.expit(logits), labels == 1, valid
        entropy = -np.where(y, special.log_expit(logits), special.log_expit(-logits))
    else:
        p, y = special.softmax(logits, 1)[:, 1:], labels == np.arange(1, classes)[:, None, None]
        counted = np.broadcast_to(valid, y.shape)
        entropy = -np.take_along_axis(special.log_softmax(logits, 1), labels, 1)
    overlap, total = ((f * counted).sum((2, 3)) for f in (p * y, p + y))
    dice = 1 - ((2 * overlap + 1e-5) / (total + 1e-5)).mean()
    target = torch.from_numpy(np.where(valid, labels, 255))
    loss = DiceCrossEntropy(classes, multilabel)(torch.from_numpy(logits), target)
    assert loss.item() == pytest.approx(dice + (entropy * valid).sum() / max(1, valid.sum()), abs=1e-6)
