"""Depthwise convolutions of stride 2 by four of stride 1: the same results and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2mnet.network.efficientnet import HalvingConv2d
from s2mnet.network.fast.halving import FastHalvingDepthwise, halved_in_parts


@pytest.mark.parametrize("kernel", [3, 5])
@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 13), width=st.integers(1, 13), channels=st.integers(1, 3))
def test_four_parts_are_the_convolution(kernel: int, height: int, width: int, channels: int) -> None:
    conv = HalvingConv2d(channels, channels, kernel, 2, groups=channels, bias=False).double()
    x = torch.randn(2, channels, height, width, dtype=torch.float64, requires_grad=True)
    expected, found = conv(x), halved_in_parts(x, conv.weight, conv)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    for mine, other in zip(
        torch.autograd.grad(found, (x, conv.weight), upstream),
        torch.autograd.grad(expected, (x, conv.weight), upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("kernel", [3, 5])
def test_trains_in_bf16_as_close_to_float64_as_bf16_is(kernel: int) -> None:
    torch.manual_seed(0)
    conv = FastHalvingDepthwise(16, 16, kernel, 2, groups=16, bias=False).train()
    x = torch.randn(4, 16, 17, 20)
    exact = HalvingConv2d(16, 16, kernel, 2, groups=16, bias=False).double()
    exact.load_state_dict({"weight": conv.weight.double()})
    results = []
    for layer, image, short in ((conv, x, True), (exact, x.double(), False)):
        leaf = image.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            y = layer(leaf)
        (y.double() * torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape)).sum().backward()
        assert y.dtype == (torch.bfloat16 if short else torch.float64)
        results.append([y.double(), leaf.grad.double(), layer.weight.grad.double()])
    for mine, other in zip(*results, strict=True):
        assert 0 < (mine - other).norm() < 0.01 * other.norm()


def test_other_convolutions_are_left_alone() -> None:
    assert FastHalvingDepthwise.fits(HalvingConv2d(6, 6, 5, 2, groups=6, bias=False))
    assert not FastHalvingDepthwise.fits(HalvingConv2d(6, 6, 7, 2, groups=6, bias=False))
    assert not FastHalvingDepthwise.fits(HalvingConv2d(3, 6, 3, 2, bias=False))
