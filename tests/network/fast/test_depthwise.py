"""Depthwise convolutions: their gradients, by each of the ways in which they are computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from compiling import compiler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from s2mnet.network.fast import fused
from s2mnet.network.fast.depthwise import FastDepthwiseConv2d, weight_gradients

few = settings(max_examples=15, deadline=None)


def depthwise(channels: int, size: int) -> FastDepthwiseConv2d:
    conv = FastDepthwiseConv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False)
    assert FastDepthwiseConv2d.fits(conv)
    return conv


@pytest.mark.parametrize("k", [3, 5, 7, 9])
@few
@given(c=st.integers(1, 3), height=st.integers(1, 9), width=st.integers(1, 12))
def test_depthwise_trains_like_a_plain_convolution(k: int, c: int, height: int, width: int) -> None:
    ours = depthwise(c, k).double().train()
    plain = nn.Conv2d(c, c, k, padding=k // 2, groups=c, bias=False).double()
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, c, height, width, dtype=torch.float64)
    upstream = torch.randn_like(x)
    results = []
    for conv in (ours, plain):
        leaf = x.clone().requires_grad_()
        y = conv(leaf)
        y.backward(upstream)
        results.append((y, leaf.grad, conv.weight.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("check", "channels", "k"), [(gradcheck, 2, 7), (gradgradcheck, 16, 5)])
def test_depthwise_first_and_second_derivatives(
    check: Callable[..., bool], channels: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "WORTHWHILE", 0)  # 16 channels would be compiled, if not for the second derivatives
    conv = depthwise(channels, k).double()
    x = torch.randn(1, channels, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = conv.weight.detach().clone().requires_grad_()

    def function(x: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(conv, {"weight": weight}, (x,))

    assert check(function, (x, weight))
    # The check passes over a gradient that has lost its own way back.
    first = torch.autograd.grad(function(x, weight).sum(), (x, weight), create_graph=True)
    assert all(gradient.requires_grad for gradient in first)


@pytest.mark.parametrize("k", [3, 5, 7])
def test_depthwise_trains_in_bf16_autocast(k: int) -> None:
    conv = depthwise(6, k)
    x = torch.randn(2, 6, 13, 10)
    upstream = torch.randn_like(x)
    (exact,) = torch.autograd.grad((F.conv2d(x, conv.weight, padding=k // 2, groups=6) * upstream).sum(), conv.weight)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    (y * upstream).sum().backward()
    assert (y.dtype, conv.weight.grad.dtype) == (torch.bfloat16, torch.float32)
    assert (conv.weight.grad - exact).abs().max() < 2e-2 * exact.abs().max()


@pytest.fixture
def nothing_compiled() -> None:
    """PyTorch counts what it compiles of a function in one process."""
    torch._dynamo.reset()


@compiler
@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize(
    ("k", "dtype"), [(7, torch.float32), (7, torch.bfloat16), (5, torch.bfloat16), (5, torch.float64)]
)
@few
@given(
    batch=st.integers(1, 3),
    groups=st.integers(2, 4),
    height=st.integers(7, 13),
    width=st.integers(7, 13),
    widest=st.sampled_from([7, 9]),
    last=st.booleans(),
)
def test_compiled_weight_gradient_equals_float64(
    k: int, dtype: torch.dtype, batch: int, groups: int, height: int, width: int, widest: int, last: bool
) -> None:
    """With a few codes for all the sizes of a type and a kernel, else PyTorch would stop compiling."""
    channels = 16 * groups
    layout = torch.channels_last if last else torch.contiguous_format
    x, grad = torch.randn(2, batch, channels, height, width).to(dtype)
    x = x.contiguous(memory_format=layout)
    weight = torch.zeros(channels, 1, k, k, dtype=torch.float64, requires_grad=True)
    F.conv2d(x.double(), weight, padding=k // 2, groups=channels).backward(grad.double())
    with pytest.MonkeyPatch.context() as patch, torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        patch.setattr(fused, "WORTHWHILE", 0)
        found = weight_gradients(x, widest)(grad, k)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    limit = 1e-5 if dtype != torch.float64 else 1e-13  # products of bf16 are exact in float32, and so are kept
    # Twice for what is near zero: it is what rounding leaves of up to 500 products of about 1.
    torch.testing.assert_close(found.double(), weight.grad, rtol=limit, atol=2 * limit)


@pytest.mark.parametrize(
    "change",
    [
        {"kernel_size": 4},
        {"kernel_size": (5, 3)},
        {"padding": 1},
        {"stride": 2},
        {"dilation": 2},
        {"groups": 3},
        {"bias": True},
        {"out_channels": 12},
        {"padding_mode": "circular"},
    ],
)
def test_only_convolutions_of_its_kind_fit(change: dict[str, object]) -> None:
    usual = {"in_channels": 6, "out_channels": 6, "kernel_size": 5, "padding": 2, "groups": 6, "bias": False}
    assert FastDepthwiseConv2d.fits(nn.Conv2d(**usual))
    assert not FastDepthwiseConv2d.fits(nn.Conv2d(**usual | change))
