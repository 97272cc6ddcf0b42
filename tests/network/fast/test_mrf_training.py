"""MRF-SE trained chunk by chunk gives what its layers give when autograd walks through them one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from compiling import WAYS, fast
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from s2mnet.network.fast import fused, mrf_training
from s2mnet.network.fast.mrf_training import trains_in_chunks
from s2mnet.network.mrf import MultiReceptiveFieldSE

few = settings(max_examples=15, deadline=None)


@pytest.fixture(autouse=True)
def _however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps of a test are not worth it; and inner maps are kept only where a test asks for it."""
    monkeypatch.setattr(mrf_training, "SMALL", 0)
    monkeypatch.setattr(mrf_training, "KEPT", 0)


def block_of(channels: int, dtype: torch.dtype = torch.float64) -> MultiReceptiveFieldSE:
    """With weights, gains, offsets and eps that are all different, so that none can stand for another."""
    torch.manual_seed(channels)
    block = MultiReceptiveFieldSE(channels, dropout=0.0).to(dtype)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3) if parameter.dim() > 1 else nn.init.normal_(parameter, 1, 0.4)
    norms = [part for part in block.modules() if isinstance(part, nn.BatchNorm2d)]
    for index, norm in enumerate(norms):
        norm.eps, norm.momentum = 1e-3 * (index + 1), 0.1 + 0.05 * index
    with torch.no_grad():
        norms[2].weight[0] = 0  # a gain of zero must not divide
    return block


def trained(block: MultiReceptiveFieldSE, x: Tensor, upstream: Tensor, in_chunks: bool) -> dict[str, Tensor]:
    """Output, gradients and running statistics of one step."""
    block = copy.deepcopy(block).train()
    block = fast(block) if in_chunks else block
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = block(x)
    y.backward(upstream.to(y.dtype))
    assert x.grad is not None
    found = {"y": y.detach(), "x": x.grad, **{name: p.grad for name, p in block.named_parameters()}}
    return found | {name: buffer.to(x.dtype) for name, buffer in block.named_buffers()}


@few
@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(2, 11),
    chunk=st.sampled_from([1, 400, 10**7]),
    kept=st.sampled_from([0, 10**7]),
    last=st.booleans(),
)
def test_equal_to_the_layers_in_float64(
    batch: int, channels: int, height: int, width: int, chunk: int, kept: int, last: bool
) -> None:
    block = block_of(channels)
    layout = torch.channels_last if last else torch.contiguous_format
    x = (2 * torch.randn(batch, channels, height, width, dtype=torch.float64) + 3).contiguous(memory_format=layout)
    upstream = torch.randn_like(x)
    expected = trained(block, x, upstream, in_chunks=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mrf_training, "CHUNK", chunk)
        patch.setattr(mrf_training, "KEPT", kept)
        found = trained(block, x, upstream, in_chunks=True)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("kept", [0, 10**7])
@pytest.mark.parametrize("worthwhile", WAYS)
def test_float32_within_rounding(worthwhile: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "WORTHWHILE", worthwhile)
    monkeypatch.setattr(mrf_training, "KEPT", kept)
    monkeypatch.setattr(mrf_training, "CHUNK", 20_000)
    block, x = block_of(8), torch.randn(5, 8, 24, 20, dtype=torch.float64) + 1
    upstream = torch.randn_like(x)
    exact = trained(block, x, upstream, in_chunks=False)
    found = trained(block.float(), x.float(), upstream.float(), in_chunks=True)
    for name, value in exact.items():
        assert (found[name] - value).abs().max() <= 1e-4 * value.abs().max(), name


@pytest.mark.parametrize("kept", [0, 10**7])
@pytest.mark.parametrize("worthwhile", WAYS)
def test_bf16_is_no_further_from_float64_than_the_layers_are(
    worthwhile: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "WORTHWHILE", worthwhile)
    monkeypatch.setattr(mrf_training, "KEPT", kept)
    monkeypatch.setattr(mrf_training, "CHUNK", 20_000)
    block, x = block_of(8), torch.randn(5, 8, 24, 20, dtype=torch.float64) + 1
    upstream = torch.randn_like(x)
    exact = trained(block, x, upstream, in_chunks=False)
    with torch.autocast("cpu", torch.bfloat16):
        found, plain = (trained(block.float(), x.float(), upstream.float(), chunks) for chunks in (True, False))
    assert found["y"].dtype == torch.float32 and found["expand.0.weight"].dtype == torch.float32
    pairs = {
        name: [(one[name] - value).norm() / value.norm() for one in (found, plain)] for name, value in exact.items()
    }
    assert sum(error for error, _ in pairs.values()) <= 1.5 * sum(allowed for _, allowed in pairs.values())
    assert all(error <= max(3 * allowed, 2e-3) for error, allowed in pairs.values()), pairs
    assert 1e-4 < (found["y"] - exact["y"]).norm() / exact["y"].norm() < 0.02  # bf16 it is


def test_the_gradient_of_everything_by_finite_differences() -> None:
    block, x = fast(block_of(1).train()), torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    names, values = zip(*((n, p.detach().clone().requires_grad_()) for n, p in block.named_parameters()), strict=True)

    def function(x: Tensor, *values: Tensor) -> Tensor:
        assert trains_in_chunks(x, [block.expand, *block.fields, block.fuse])
        return torch.func.functional_call(block, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (x, *values), atol=1e-4)


def test_second_derivatives_are_refused_rather_than_wrong() -> None:
    block, x = block_of(1).train(), torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="S2MNET_PLAIN"):
        torch.autograd.grad(fast(copy.deepcopy(block))(x).square().sum(), x, create_graph=True)
    (gradient,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
    assert torch.autograd.grad(gradient.square().sum(), x)[0].abs().sum() > 0


def test_half_of_the_memory_is_kept() -> None:
    kept = {True: 0, False: 0}
    for in_chunks in kept:
        block = block_of(8, torch.float32).train()
        block = fast(block) if in_chunks else block
        held: dict[int, int] = {}

        def pack(tensor: Tensor, held: dict[int, int] = held) -> Tensor:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y = block(torch.randn(4, 8, 32, 32))
        kept[in_chunks] = sum(held.values())
        del y
    assert kept[True] < kept[False] / 5


def test_where_the_layers_themselves_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = block_of(2, torch.float32).train(), torch.randn(2, 2, 5, 5)
    layers = [block.expand, *block.fields, block.fuse]
    assert trains_in_chunks(x, layers)
    with torch.no_grad():
        assert not trains_in_chunks(x, layers)
    block.fields[1][1].eval()  # frozen statistics
    assert not trains_in_chunks(x, layers)
    block.train()

    monkeypatch.setattr(mrf_training, "SMALL", 2 * 12 * 25 + 1)
    assert not trains_in_chunks(x, layers)
    monkeypatch.setattr(mrf_training, "SMALL", 2 * 12 * 25)
    assert trains_in_chunks(x, layers)

    class Synchronised(nn.BatchNorm2d):
        pass

    block.fuse[1] = Synchronised(12)
    assert not trains_in_chunks(x, [block.expand, *block.fields, block.fuse])


def test_a_single_value_per_channel_is_refused_as_batch_norm_refuses_it() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fast(MultiReceptiveFieldSE(2).train())(torch.randn(1, 2, 1, 1))
