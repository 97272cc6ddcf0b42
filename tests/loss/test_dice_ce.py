"""Dice + cross-entropy against closed forms."""

from __future__ import annotations

import pytest
import torch
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
