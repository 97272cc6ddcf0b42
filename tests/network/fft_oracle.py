"""The spectral branch of SPEC 1.1 as an FFT, in NumPy and float64."""

from __future__ import annotations

import numpy as np
import torch

from s2mnet.network import TruncatedSpectralFilter


def branch_with_random_filter(channels: int, k: int, complex_filter: bool, seed: int = 0) -> TruncatedSpectralFilter:
    branch = TruncatedSpectralFilter(channels, k, complex_filter).double()
    with torch.no_grad():
        branch.weight.copy_(torch.randn(branch.weight.shape, generator=torch.Generator().manual_seed(seed)))
    return branch


def full_filter(branch: TruncatedSpectralFilter) -> np.ndarray:
    """W(u, v) over the band, centred, from ``weight`` and W(−u, −v) = conj W(u, v), indices modulo K: (C, K, K)."""
    weight = branch.weight.detach().double().numpy()
    if not branch.complex_filter:
        return weight
    k = branch.num_frequencies
    centre = k // 2
    stored = weight[..., 0] + 1j * weight[..., 1]

    def at(u: int, v: int) -> np.ndarray:  # what is stored for row u (modulo K) and column v = 0 … K//2
        return stored[:, (u + centre) % k, v]

    full = np.empty((branch.channels, k, k), complex)
    for row in range(k):
        for column in range(k):
            u, v = row - centre, column - centre
            if v > 0:
                value = at(u, v)
            elif v < 0:  # for an even K the stored column K/2 stands for −K/2
                value = np.conj(at(-u, -v))
            else:
                value = (at(u, 0) + np.conj(at(-u, 0))) / 2
            full[:, row, column] = value
    return full


def reference(x: np.ndarray, full: np.ndarray) -> np.ndarray:
    """fftshift → crop → filter → pad → ifftshift → ifft2 → real, as SPEC 1.1 writes it."""
    height, width = x.shape[-2:]
    k = full.shape[-1]
    size = min(k, height, width)
    spectrum = np.fft.fftshift(np.fft.fft2(x), axes=(-2, -1))
    top, left, start = height // 2 - size // 2, width // 2 - size // 2, k // 2 - size // 2
    band = np.s_[..., top : top + size, left : left + size]
    padded = np.zeros_like(spectrum)
    padded[band] = spectrum[band] * full[:, start : start + size, start : start + size]
    return np.fft.ifft2(np.fft.ifftshift(padded, axes=(-2, -1))).real


def relative_error(found: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(found.detach().double().numpy() - expected).max() / np.abs(expected).max())
