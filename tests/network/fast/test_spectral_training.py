"""The spectral branch in C++: against the FFT of SPEC 1.1 in float64, and where it stands aside."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch
from compiling import compiler, fast
from fft_oracle import branch_with_random_filter, full_filter, reference, relative_error
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, grad
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from s2mnet.network import SpectralSelectiveTokenMixer, TruncatedSpectralFilter
from s2mnet.network.fast import fused, spectral_training

LARGE = 1, 4, 50, 51  # more elements than WORTHWHILE


class Other(Tensor):
    """Of another kind, as those of libraries that bring their own."""


def in_cpp(y: Tensor) -> bool:
    return "InCpp" in str(y.grad_fn)


few = settings(max_examples=30, deadline=None)


@pytest.fixture
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral_training, "WORTHWHILE", 0)


@compiler
def test_it_compiles() -> None:
    assert isinstance(spectral_training._library(), ctypes.CDLL)


@compiler
@settings(max_examples=150, deadline=None)
@given(
    k=st.integers(1, 20),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.integers(1, 70),  # every width of a tile
    batch=st.integers(1, 3),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@example(k=32, height=176, width=176, channels=24, batch=2, threads=2, seed=0)
@example(k=32, height=44, width=51, channels=5, batch=2, threads=2, seed=0)
@example(k=32, height=32, width=22, channels=17, batch=1, threads=2, seed=0)
@example(k=1, height=2, width=2, channels=3, batch=1, threads=1, seed=0)
@example(k=11, height=64, width=11, channels=40, batch=1, threads=2, seed=0)
@example(k=6, height=6, width=6, channels=8, batch=1, threads=2, seed=0)
def test_result_and_gradients_are_those_of_the_fft_form(
    k: int, height: int, width: int, channels: int, batch: int, threads: int, seed: int
) -> None:
    branch, step = (branch_with_random_filter(channels, k, True, seed + i) for i in (0, 1))
    generator = torch.Generator().manual_seed(seed)
    x, dx, slope = torch.randn(3, batch, channels, height, width, generator=generator)
    short = fast(TruncatedSpectralFilter(channels, k))
    short.load_state_dict(branch.state_dict())
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spectral_training, "WORTHWHILE", 0)
            y = short(x)
        assert in_cpp(y)
        y.backward(slope)
    finally:
        torch.set_num_threads(before)
    assert relative_error(y, reference(x.detach().double().numpy(), full_filter(branch))) < 1e-5
    # The branch is linear in its input and in its filter, so ⟨gradient, step⟩ = ⟨slope, FFT form of the step⟩.
    exact = x.detach().double().requires_grad_()
    branch(exact).backward(slope.double())
    for found, expected in ((x.grad, exact.grad), (short.weight.grad, branch.weight.grad)):
        assert relative_error(found, expected.numpy()) < 1e-5
    terms = slope.double().numpy() * reference(dx.double().numpy(), full_filter(branch))
    assert abs(float((x.grad.double() * dx).sum()) - terms.sum()) < 1e-5 * (np.abs(terms).sum() + 1)
    terms = slope.double().numpy() * reference(x.detach().double().numpy(), full_filter(step))
    found = float((short.weight.grad.double() * step.weight.detach()).sum())
    assert abs(found - terms.sum()) < 1e-5 * (np.abs(terms).sum() + 1)


@compiler
@pytest.mark.usefixtures("every_size")
@few
@given(height=st.integers(1, 12), width=st.integers(1, 40), channels=st.integers(1, 70), autocast=st.booleans())
def test_maps_of_bf16_are_rounded_once(height: int, width: int, channels: int, autocast: bool) -> None:
    branch = fast(branch_with_random_filter(channels, 9, True).float())
    x, slope = torch.randn(2, 2, channels, height, width).bfloat16()

    def trained(x: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
        x = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = branch(x)
        assert in_cpp(y)
        return y, *torch.autograd.grad(y, (x, branch.weight), slope)

    *maps, weight = trained(x, slope)
    *exact, exact_weight = trained(x.float(), slope.float())
    for found, expected in zip(maps, exact, strict=True):
        assert torch.equal(found, expected.bfloat16())
    assert torch.equal(weight, exact_weight)


@compiler
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3.3e38])
@pytest.mark.usefixtures("every_size")
def test_what_is_not_a_number_stays_so_in_bf16(value: float) -> None:
    x = torch.zeros(1, 2, 6, 8, dtype=torch.bfloat16)
    x[0, 0, 2, 3] = value
    y = fast(TruncatedSpectralFilter(2, 4))(x)
    assert in_cpp(y)
    assert bool(y[0, 0].isfinite().all()) == (value == 3.3e38)
    assert torch.equal(y[0, 1], torch.zeros(6, 8, dtype=torch.bfloat16))


@compiler
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided", "expanded"])
def test_any_memory_layout(layout: str) -> None:
    branch = fast(branch_with_random_filter(4, 9, True).float())
    x = torch.randn(LARGE)
    expected = reference(x.double().numpy(), full_filter(branch))
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    elif layout == "strided":
        x = torch.stack([x, x], -1)[..., 0]
    elif layout == "expanded":
        x = x[:, :, :, :1].expand(LARGE)
        expected = reference(x.double().numpy(), full_filter(branch))
    x = x.requires_grad_()
    y = branch(x)
    assert in_cpp(y)
    assert relative_error(y, expected) < 1e-5
    y.sum().backward()  # its gradient is expanded
    mean = reference(np.ones(LARGE), full_filter(branch))  # of a constant, a real filter's adjoint is the filter
    assert relative_error(x.grad, mean) < 1e-5


@compiler
def test_only_what_is_wanted_has_a_gradient() -> None:
    branch = fast(branch_with_random_filter(4, 9, True).float())
    branch(torch.randn(LARGE)).sum().backward()
    assert branch.weight.grad is not None
    branch.requires_grad_(False)
    x = torch.randn(LARGE, requires_grad=True)
    branch(x).sum().backward()
    assert x.grad is not None
    assert not branch(torch.randn(LARGE)).requires_grad


@compiler
@pytest.mark.parametrize("wanted", ["both", "x", "weight"])
def test_second_derivatives(wanted: str) -> None:
    branch = fast(branch_with_random_filter(4, 9, True))
    x, slope = torch.randn(2, *LARGE, dtype=torch.float64)

    def second(dtype: torch.dtype) -> list[Tensor]:
        of = [x.to(dtype).requires_grad_(wanted != "weight"), branch.weight.detach().to(dtype)]
        of[1].requires_grad_(wanted != "x")
        y = functional_call(branch, {"weight": of[1]}, (of[0],))
        assert in_cpp(y) == (dtype == torch.float32)
        leaves = [t for t in of if t.requires_grad]
        first = torch.autograd.grad((y**2 * slope.to(dtype)).sum(), leaves, create_graph=True)
        return list(torch.autograd.grad(sum((g**2).sum() for g in first), leaves))

    for found, expected in zip(second(torch.float32), second(torch.float64), strict=True):
        assert relative_error(found, expected.numpy()) < 1e-4


@compiler
def test_torch_func_gives_the_same_gradient() -> None:
    branch = fast(branch_with_random_filter(4, 9, True).float())
    x = torch.randn(LARGE, requires_grad=True)
    branch(x).square().sum().backward()
    torch.testing.assert_close(grad(lambda x: branch(x).square().sum())(x.detach()), x.grad)


@compiler
@pytest.mark.usefixtures("every_size")
def test_stands_aside_where_it_is_not_meant() -> None:
    branch = fast(TruncatedSpectralFilter(3, 4))
    x = torch.randn(2, 3, 8, 6)
    assert in_cpp(branch(x))
    with torch.no_grad():
        assert branch(x).grad_fn is None
    assert not in_cpp(branch.double()(x.double()))
    assert not in_cpp(branch.bfloat16()(x.bfloat16()))
    assert not in_cpp(fast(TruncatedSpectralFilter(3, 4, complex_filter=False))(x))
    branch.float()
    with FlopCounterMode(display=False) as counter:
        assert not in_cpp(branch(x))
    assert counter.get_total_flops() > 0
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
        assert fast(TruncatedSpectralFilter(3, 4))(fake).shape == x.shape
    assert not in_cpp(branch(x.as_subclass(Other)))
    exported = torch.export.export(branch, (x,)).module()
    torch.testing.assert_close(exported(x), branch(x))


@compiler
def test_small_maps_do_not_wait_for_a_compiler() -> None:
    branch = fast(TruncatedSpectralFilter(4, 9))
    assert not in_cpp(branch(torch.randn(1, 4, 49, 51)))
    assert in_cpp(branch(torch.randn(LARGE)))


@pytest.mark.parametrize("why", ["no compiler", "broken"])
def test_trains_where_nothing_can_be_compiled(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such header\nand more")

    spectral_training._library.cache_clear()
    monkeypatch.setattr(spectral_training, "compiles", lambda: why == "broken")
    monkeypatch.setattr("torch._inductor.codecache.CppCodeCache.load", broken)
    branch = fast(branch_with_random_filter(4, 9, True).float())
    x = torch.randn(LARGE, requires_grad=True)
    try:
        if why == "broken":
            with pytest.warns(UserWarning, match=r"without a compiled spectral branch.*no such header$"):
                y = branch(x)
        else:
            y = branch(x)
        assert not in_cpp(branch(x))
    finally:
        spectral_training._library.cache_clear()
    assert relative_error(y, reference(x.detach().double().numpy(), full_filter(branch))) < 1e-5


@compiler
def test_off_by_the_switch_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    fused.compiles.cache_clear()
    try:
        assert not fused.compiles()
    finally:
        fused.compiles.cache_clear()


@compiler
def test_a_mixer_trains_alike_in_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    mixer = fast(SpectralSelectiveTokenMixer(24, dropout=0))
    x, slope = torch.randn(2, 2, 24, 30, 28)

    def gradients() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        return list(torch.autograd.grad((F.softplus(mixer(leaf)) * slope).sum(), [leaf, *mixer.parameters()]))

    found = gradients()
    monkeypatch.setattr(spectral_training, "WORTHWHILE", 2**62)
    for ours, expected in zip(found, gradients(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
