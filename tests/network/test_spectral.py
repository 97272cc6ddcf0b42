"""The spectral branch against the FFT form of SPEC 1.1, in NumPy and float64, and against what the theory says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from compiling import fast
from fft_oracle import branch_with_random_filter, full_filter, reference, relative_error
from hypothesis import example, given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.func import functional_call

from s2mnet.network import TruncatedSpectralFilter
from s2mnet.network.fast.spectral import FrozenSpectralFilter
from s2mnet.network.spectral import STARTS

sizes = st.integers(1, 14)
bands = st.integers(1, 12)
kinds = st.booleans()
frequencies = st.integers(-4, 4)
FORMS = {"plain": lambda branch: branch, "fast": fast, "frozen": FrozenSpectralFilter}
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}


def cosine(u: int, v: int, height: int, width: int, phase: float = 0.3) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.cos(2 * np.pi * (u * rows / height + v * columns / width) + phase)


@pytest.mark.parametrize("form", FORMS)
@given(k=bands, height=sizes, width=sizes, complex_filter=kinds, seed=st.integers(0, 99))
@example(k=32, height=44, width=51, complex_filter=True, seed=0)
@example(k=32, height=44, width=51, complex_filter=False, seed=0)
@example(k=22, height=11, width=22, complex_filter=True, seed=0)
@example(k=11, height=64, width=11, complex_filter=True, seed=0)
@example(k=6, height=6, width=6, complex_filter=True, seed=0)
@example(k=6, height=6, width=9, complex_filter=False, seed=0)
@example(k=7, height=7, width=7, complex_filter=True, seed=0)
@example(k=9, height=4, width=13, complex_filter=True, seed=0)
@example(k=32, height=176, width=176, complex_filter=True, seed=0)
def test_equals_the_fft_form(form: str, k: int, height: int, width: int, complex_filter: bool, seed: int) -> None:
    branch = branch_with_random_filter(3, k, complex_filter, seed)
    x = np.random.default_rng(seed).standard_normal((2, 3, height, width))
    found = FORMS[form](branch)(torch.from_numpy(x))
    assert relative_error(found, reference(x, full_filter(branch))) < 1e-12


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("complex_filter", [False, True])
@pytest.mark.parametrize(
    ("k", "height", "width"), [(32, 176, 176), (32, 88, 88), (22, 22, 22), (11, 11, 8), (9, 33, 47)]
)
@pytest.mark.parametrize("form", FORMS)
def test_equals_the_fft_form_in_short_dtypes(
    form: str, k: int, height: int, width: int, complex_filter: bool, dtype: torch.dtype, tolerance: float
) -> None:
    branch = branch_with_random_filter(4, k, complex_filter).to(dtype)
    x = torch.randn(2, 4, height, width).to(dtype)
    y = FORMS[form](branch)(x)
    assert y.dtype == dtype
    assert relative_error(y, reference(x.double().numpy(), full_filter(branch))) < tolerance


@pytest.mark.parametrize("form", ["plain", "fast"])
def test_trains_at_a_size_first_met_in_inference_and_in_another_dtype(form: str) -> None:
    branch = FORMS[form](branch_with_random_filter(2, 5, complex_filter=True))
    x = torch.randn(1, 2, 17, 19, dtype=torch.float64)
    expected = reference(x.numpy(), full_filter(branch))
    with torch.inference_mode():
        assert relative_error(branch(x), expected) < 1e-12
    short = FORMS[form](branch_with_random_filter(2, 5, complex_filter=True).float())
    with torch.inference_mode():
        assert relative_error(short(x.float()), expected) < 1e-5
    branch(x.requires_grad_()).square().sum().backward()
    assert relative_error(branch(x), expected) < 1e-12
    assert short(x.detach().float().requires_grad_()).dtype == torch.float32


@pytest.mark.parametrize("form", ["plain", "fast"])
def test_torch_func_gives_the_same_gradient(form: str) -> None:
    branch = FORMS[form](branch_with_random_filter(2, 5, complex_filter=True))
    x = torch.randn(2, 2, 21, 18, dtype=torch.float64, requires_grad=True)
    found = torch.func.grad(lambda x: branch(x).square().sum())(x.detach())
    branch(x).square().sum().backward()
    torch.testing.assert_close(found, x.grad)


@pytest.mark.parametrize("complex_filter", [False, True])
@pytest.mark.parametrize(("k", "height", "width"), [(3, 5, 4), (4, 5, 6), (4, 4, 4), (5, 4, 3), (6, 3, 5), (1, 2, 3)])
def test_gradients(k: int, height: int, width: int, complex_filter: bool) -> None:
    branch = branch_with_random_filter(2, k, complex_filter)
    x = torch.randn(1, 2, height, width, dtype=torch.float64, requires_grad=True)
    weight = branch.weight.detach().clone().requires_grad_()
    assert gradcheck(lambda x, weight: functional_call(branch, {"weight": weight}, (x,)), (x, weight))


@given(
    k=bands,
    height=sizes,
    width=sizes,
    batch=st.integers(1, 3),
    complex_filter=kinds,
    dtype=st.sampled_from(list(TOLERANCES)),
)
@example(k=32, height=44, width=51, batch=2, complex_filter=True, dtype=torch.float32)
@example(k=22, height=22, width=22, batch=1, complex_filter=True, dtype=torch.float32)
@example(k=11, height=11, width=11, batch=3, complex_filter=True, dtype=torch.float32)
@example(k=8, height=6, width=11, batch=2, complex_filter=True, dtype=torch.float64)
@example(k=8, height=6, width=11, batch=2, complex_filter=False, dtype=torch.float64)
def test_gradients_are_the_adjoints_of_the_fft_form(
    k: int, height: int, width: int, batch: int, complex_filter: bool, dtype: torch.dtype
) -> None:
    # The branch is linear in its input and in its filter, so ⟨gradient, step⟩ = ⟨slope, FFT form of the step⟩.
    branch = branch_with_random_filter(3, k, complex_filter).to(dtype)
    step = branch_with_random_filter(3, k, complex_filter, seed=1).to(dtype)
    x, dx, slope = torch.randn(3, batch, 3, height, width, dtype=dtype)
    x.requires_grad_()
    branch(x).backward(slope)
    for gradient, towards, change in [
        (x.grad, dx, reference(dx.double().numpy(), full_filter(branch))),
        (branch.weight.grad, step.weight, reference(x.detach().double().numpy(), full_filter(step))),
    ]:
        found = float((gradient * towards).detach().double().sum())
        terms = slope.double().numpy() * change
        assert abs(found - terms.sum()) < TOLERANCES[dtype] * (np.abs(terms).sum() + 1)


@given(k=bands, complex_filter=kinds)
def test_response_is_the_whole_band(k: int, complex_filter: bool) -> None:
    branch = branch_with_random_filter(2, k, complex_filter)
    np.testing.assert_allclose(branch.response().detach().numpy(), full_filter(branch), atol=1e-15)


@pytest.mark.parametrize("k", [1, 2, 4, 5, 8, 9])
def test_a_full_complex_band_is_a_circular_convolution_with_any_real_kernel(k: int) -> None:
    branch = branch_with_random_filter(1, k, complex_filter=True)
    half = torch.view_as_complex(branch.weight.detach())[0].numpy()
    kernel = np.fft.irfft2(np.fft.ifftshift(half, axes=0), s=(k, k))
    x = np.random.default_rng(0).standard_normal((k, k))
    expected = sum(kernel[i, j] * np.roll(x, (i, j), (0, 1)) for i in range(k) for j in range(k))
    assert relative_error(branch(torch.from_numpy(x)[None, None])[0, 0], expected) < 1e-12


@pytest.mark.parametrize("k", [5, 8])
def test_a_complex_filter_reaches_a_given_real_kernel_and_a_real_one_only_its_even_part(k: int) -> None:
    kernel = np.random.default_rng(0).standard_normal((k, k))
    impulse = torch.zeros(1, 1, k, k, dtype=torch.float64)
    impulse[..., 0, 0] = 1
    spectrum = np.fft.fft2(kernel)
    branch = TruncatedSpectralFilter(1, k, complex_filter=True).double()
    half = np.fft.fftshift(spectrum, axes=0)[:, : k // 2 + 1]
    real = TruncatedSpectralFilter(1, k, complex_filter=False).double()
    with torch.no_grad():
        branch.weight.copy_(torch.view_as_real(torch.from_numpy(half)))
        real.weight.copy_(torch.from_numpy(np.fft.fftshift(spectrum).real))
    even = (kernel + np.roll(kernel[::-1, ::-1], (1, 1), (0, 1))) / 2
    assert relative_error(branch(impulse)[0, 0], kernel) < 1e-12
    assert relative_error(real(impulse)[0, 0], even) < 1e-12


@given(row=st.integers(0, 10), column=st.integers(0, 13), complex_filter=kinds, k=st.sampled_from([4, 5, 16]))
def test_one_pixel_moves_every_output_position(row: int, column: int, complex_filter: bool, k: int) -> None:
    branch = branch_with_random_filter(2, k, complex_filter)
    x = torch.randn(1, 2, 11, 14, dtype=torch.float64)
    changed = x.clone()
    changed[0, 0, row, column] += 1
    moved = (branch(changed) - branch(x)).abs()
    assert (moved[0, 0] > 1e-9).all()
    assert moved[0, 1].max() == 0  # each channel has a filter of its own


@given(dy=st.integers(-20, 20), dx=st.integers(-20, 20), complex_filter=kinds, k=bands)
def test_a_circular_shift_of_the_input_shifts_the_output(dy: int, dx: int, complex_filter: bool, k: int) -> None:
    branch = branch_with_random_filter(2, k, complex_filter)
    x = torch.randn(2, 2, 10, 13, dtype=torch.float64)
    expected = branch(x).roll((dy, dx), (2, 3))
    torch.testing.assert_close(branch(x.roll((dy, dx), (2, 3))), expected, rtol=0, atol=1e-12)


@given(u=frequencies, v=frequencies, complex_filter=kinds, k=st.sampled_from([9, 10]))
def test_a_cosine_comes_out_scaled_and_shifted_by_the_response(u: int, v: int, complex_filter: bool, k: int) -> None:
    branch = branch_with_random_filter(1, k, complex_filter)
    height, width, phase = 15, 22, 0.3
    w = full_filter(branch)[0]
    # A real filter acts on a real map only through its even part: the mean of the responses at (u, v) and (−u, −v).
    gain = (w[u + k // 2, v + k // 2] + np.conj(w[-u + k // 2, -v + k // 2])) / 2
    rows, columns = np.mgrid[:height, :width]
    expected = (gain * np.exp(1j * (2 * np.pi * (u * rows / height + v * columns / width) + phase))).real
    y = branch(torch.from_numpy(cosine(u, v, height, width, phase))[None, None])
    np.testing.assert_allclose(y[0, 0].detach().numpy(), expected, atol=1e-12)


@given(u=st.integers(-7, 7), v=st.integers(-10, 10), complex_filter=kinds, k=st.sampled_from([5, 6]))
def test_frequencies_above_the_band_vanish(u: int, v: int, complex_filter: bool, k: int) -> None:
    branch = branch_with_random_filter(1, k, complex_filter)
    y = branch(torch.from_numpy(cosine(u, v, 15, 22))[None, None])
    outside = max(abs(u), abs(v)) > k // 2
    assert (y.abs().max() < 1e-12) == outside


@pytest.mark.parametrize("complex_filter", [False, True])
@pytest.mark.parametrize(("u", "v"), [(4, 0), (-4, 0), (0, 4), (4, 1), (-4, 2), (3, 4), (3, -4), (4, 4), (-4, 3)])
def test_the_unmatched_frequency_of_an_even_band_is_halved(u: int, v: int, complex_filter: bool) -> None:
    x = torch.from_numpy(cosine(u, v, 13, 18))[None, None]
    branch = TruncatedSpectralFilter(1, 8, complex_filter).double()  # starts as W = 1 on the band
    torch.testing.assert_close(branch(x), x / 2, rtol=0, atol=1e-12)
    torch.testing.assert_close(TruncatedSpectralFilter(1, 9, complex_filter).double()(x), x, rtol=0, atol=1e-12)


def test_the_corner_of_an_even_band_keeps_only_one_diagonal() -> None:
    branch = TruncatedSpectralFilter(1, 8).double()
    x = torch.from_numpy(cosine(4, -4, 13, 18))[None, None]  # its pair (4, −4), (−4, 4) lies outside −4 … 3
    assert branch(x).abs().max() < 1e-12


@pytest.mark.parametrize("complex_filter", [False, True])
def test_a_nyquist_frequency_is_its_own_mirror_and_not_halved(complex_filter: bool) -> None:
    branch = TruncatedSpectralFilter(1, 8, complex_filter).double()
    x = torch.from_numpy(cosine(4, 0, 8, 12, phase=0))[None, None]
    torch.testing.assert_close(branch(x), x, rtol=0, atol=1e-12)


@given(a=st.floats(-3, 3), b=st.floats(-3, 3), complex_filter=kinds)
def test_it_is_linear(a: float, b: float, complex_filter: bool) -> None:
    branch = branch_with_random_filter(2, 6, complex_filter)
    x, y = torch.randn(2, 1, 2, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(branch(a * x + b * y), a * branch(x) + b * branch(y), rtol=0, atol=1e-12)


@given(height=sizes, width=sizes, complex_filter=kinds)
def test_a_channels_last_input_gives_the_same(height: int, width: int, complex_filter: bool) -> None:
    branch = branch_with_random_filter(3, 6, complex_filter)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    y = branch(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(y, branch(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("k", "unused"), [(5, [[2, 0, 1]]), (6, [[0, 0, 1], [3, 0, 1]])])
def test_every_stored_value_of_a_complex_filter_is_used_but_those_that_symmetry_makes_zero(
    k: int, unused: list[list[int]]
) -> None:
    branch = branch_with_random_filter(1, k, complex_filter=True)
    branch(torch.randn(1, 1, 11, 13, dtype=torch.float64)).square().sum().backward()
    # Imaginary parts of the column v = 0 where −u is u modulo K: u = 0, and −K/2 of an even K.
    assert (branch.weight.grad[0].abs() < 1e-9).nonzero().tolist() == unused


@pytest.mark.parametrize(("channels", "k"), [(0, 4), (4, 0), (4, -1)])
def test_refuses_an_empty_filter(channels: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"must be at least 1, found {channels} and {k}"):
        TruncatedSpectralFilter(channels, k)


@pytest.mark.parametrize("complex_filter", [False, True])
@pytest.mark.parametrize("k", [5, 8])
def test_starts_have_their_closed_forms(complex_filter: bool, k: int) -> None:
    """Over the whole band; an even band's row and column −k/2 are their own mirror in a complex filter."""
    frequency = np.arange(k) - k // 2
    radius = np.hypot(frequency[:, None], frequency)
    widths = 2 ** np.linspace(0, np.log2(k), 3)
    expected = {
        "identity": np.ones((3, k, k)),
        "gaussians": np.exp(-((radius / widths[:, None, None]) ** 2) / 2),
        "ring": np.tile(0.5 * np.exp(-(((radius / k - 0.25) / 0.15) ** 2) / 2), (3, 1, 1)),
    }
    assert expected.keys() == STARTS.keys()
    for name, values in expected.items():
        response = TruncatedSpectralFilter(3, k, complex_filter, start=name).response().detach().numpy()
        assert np.allclose(response, values, atol=1e-6)
    with pytest.raises(ValueError, match="unknown start"):
        TruncatedSpectralFilter(3, k, complex_filter, start="noise")
