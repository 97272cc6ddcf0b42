"""The spectral branch and the same filter by FFT, in two forms: for timing, and as an oracle for the branch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from s2mnet.network import S2MNet, TruncatedSpectralFilter
from s2mnet.network.fast import accelerate
from s2mnet_lab.bench.ratios import LEAN, MATRIX
from s2mnet_lab.bench.record import Case
from s2mnet_lab.bench.work import Job

Form = Callable[[TruncatedSpectralFilter, Tensor], Tensor]


def matrix_form(branch: TruncatedSpectralFilter, x: Tensor) -> Tensor:
    """The branch itself, which uses matrix products."""
    return branch(x)


def complex_form(branch: TruncatedSpectralFilter, x: Tensor) -> Tensor:
    """SPEC 1.1 literally: complex FFT, crop to the central K×K, filter, pad, inverse FFT, real part."""
    height, width = x.shape[2:]
    weight = _centre(branch, x)
    k = weight.shape[-1]
    rows, columns = ((torch.arange(k, device=x.device) - k // 2) % size for size in (height, width))
    band = torch.fft.fft2(x)[:, :, rows[:, None], columns] * weight
    full = torch.zeros(x.shape, dtype=band.dtype, device=x.device)
    full[:, :, rows[:, None], columns] = band
    return torch.fft.ifft2(full).real


def half_plane_form(branch: TruncatedSpectralFilter, x: Tensor) -> Tensor:
    """rfft2 and crop, with the columns outside the band dropped between the two axes: the best FFT form we know."""
    return _filtered(x, _half_plane(branch, x))


def _half_plane(branch: TruncatedSpectralFilter, x: Tensor) -> Tensor:
    """The factor of each frequency (u, v), −m ≤ u ≤ m, 0 ≤ v ≤ m: complex (C, 2m+1, m+1).

    Taking the real part leaves only the Hermitian part of a complex band. Over the closed band −m … m it is
    (W(u, v) + conj W(−u, −v)) / 2, and zero outside; v ≥ 0 is kept. Where the band is even and as wide as the map, +m
    and −m are the same frequency and share a row or column.
    """
    weight = _centre(branch, x)
    k = weight.shape[-1]
    m = k // 2
    if k % 2 == 0:
        weight = torch.nn.functional.pad(weight, (0, 1, 0, 1))
    half = ((weight + weight.flip(1, 2).conj()) / 2)[:, :, m:]
    if 2 * m == x.shape[3] and m:
        half = torch.cat([half[..., :m], 2 * half[..., m:]], -1)
    return half


def _filtered(x: Tensor, half: Tensor) -> Tensor:
    m = half.shape[-1] - 1
    rows = torch.arange(-m, m + 1, device=x.device) % x.shape[2]
    columns = torch.fft.fft(torch.fft.rfft(x, dim=3)[..., : m + 1], dim=2)
    filtered = torch.zeros_like(columns).index_add(2, rows, columns[:, :, rows] * half)
    return torch.fft.irfft(torch.fft.ifft(filtered, dim=2), n=x.shape[3], dim=3)


FORMS: dict[str, tuple[str, Form]] = {
    MATRIX: ("matrix products (ours)", matrix_form),
    "rfft": ("rfft2 + crop", half_plane_form),
    "fft": ("complex FFT + crop", complex_form),
}
TITLES = {name: title for name, (title, _) in FORMS.items()} | {LEAN: "rfft2 + crop, its half-plane as the parameter"}


def spectral_case(case: Case, device: str) -> tuple[dict[str, Job], dict[str, tuple[float, float]], int]:
    """Forward and backward pass of each form at a stage, largest differences from ours (output, gradient), our FLOPs.

    FLOPs are those of the products as written; the C++ form saves up to two fifths of them (spectral_training.cpp).

    Each form gets its input in its fastest memory format: channels-last for the products, contiguous for the others.
    The lean form trains other parameters than ours, and skips the conversion that the others make in every step.
    """
    stage = case.stage or 1
    branch = [module for module in S2MNet().modules() if isinstance(module, TruncatedSpectralFilter)][stage - 1]
    accelerate(branch, "train", device)
    torch.nn.init.normal_(branch.to(device).weight)
    side = stage_sides(case.size)[stage - 1]
    image = torch.randn(case.batch, branch.channels, side, side, device=device)
    slope = torch.randn_like(image)
    jobs: dict[str, Job] = {}
    results: dict[str, tuple[Tensor, Tensor]] = {}
    half = _half_plane(branch, image).detach().requires_grad_()
    forms = {name: form for name, (_, form) in FORMS.items()} | {LEAN: lambda branch, x: _filtered(x, half)}
    for name, form in forms.items():
        layout = torch.channels_last if name == MATRIX else torch.contiguous_format
        x = image.clone(memory_format=layout).requires_grad_()
        outer = slope.clone(memory_format=layout)

        def job(form: Form = form, x: Tensor = x, outer: Tensor = outer) -> Tensor:
            x.grad = branch.weight.grad = half.grad = None
            result = form(branch, x)
            result.backward(outer)
            return result.detach()

        jobs[name] = job
        result = job()
        assert x.grad is not None
        results[name] = (result, x.grad.clone())
    ours = results[MATRIX]
    differences = {
        name: (_difference(output, ours[0]), _difference(gradient, ours[1]))
        for name, (output, gradient) in results.items()
        if name != MATRIX
    }
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        branch(image)
    return jobs, differences, 2 * counter.get_total_flops()  # backward are the same four products, transposed


def stage_sides(size: int) -> list[int]:
    """Sides of the maps of the five stages of a square image.

    Example:
        >>> stage_sides(352)
        [176, 88, 44, 22, 11]
    """
    return [-(-size // 2**stage) for stage in range(1, 6)]


def _centre(branch: TruncatedSpectralFilter, x: Tensor) -> Tensor:
    """The filter in the band of a map of this size, (C, k, k)."""
    k = min(branch.num_frequencies, *x.shape[2:])
    start = branch.num_frequencies // 2 - k // 2
    return branch.response()[:, start : start + k, start : start + k]


def _difference(actual: Tensor, expected: Tensor) -> float:
    return ((actual - expected).abs().max() / expected.abs().max()).item()
