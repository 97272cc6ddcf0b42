"""Dropout from 16-bit numbers drops as often, and scales as exactly, as it says."""

from __future__ import annotations

import math

import pytest
import torch

from s2mnet.network.fast.operations import LEVELS, FastDropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate_and_scale(p: float) -> None:
    torch.manual_seed(0)
    y = FastDropout(p).train()(torch.ones(1_000_003, dtype=torch.float64))
    rounded = round(p * LEVELS) / LEVELS
    assert sorted(set(y.tolist())) == pytest.approx([0, 1 / (1 - rounded)], rel=1e-12)
    for lane in (y, *(y[i::4] for i in range(4))):  # the four values of one random number each
        assert abs((lane == 0).double().mean() - rounded) < 6 * math.sqrt(rounded * (1 - rounded) / len(lane))


def test_seed_layout_and_gradient() -> None:
    x = torch.randn(2, 5, 7, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    dropout, found = FastDropout(0.3).train(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(dropout(x))
    assert found[0].equal(found[1]) and not found[0].equal(found[2])
    assert found[0].stride() == x.stride()
    (gradient,) = torch.autograd.grad(found[0].sum(), x)
    torch.testing.assert_close(gradient * x, found[0])


def test_where_it_is_torchs_own() -> None:
    x = torch.randn(100)
    assert FastDropout(0.5).eval()(x).equal(x) and FastDropout(0.0).train()(x).equal(x)
    assert FastDropout(1.0).train()(x).equal(torch.zeros(100))
