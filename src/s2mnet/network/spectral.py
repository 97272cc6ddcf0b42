"""The spectral branch of SPEC 1.1: a learnable filter on the central K×K frequencies, as real matrix products."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor, nn

from s2mnet.network.spectral_training import filtered_in_cpp, trains_in_cpp

STARTS = {
    "identity": "1 on the band: a plain low-pass",
    "gaussians": "low-pass filters from 1 cycle per map (the first channel) to the whole band (the last)",
    "ring": "the release's radial Gaussian around a quarter of K, of height 0.5, but centred as it is meant",
}


class TruncatedSpectralFilter(nn.Module):
    """Global filter on the central K×K frequencies of every channel (SPEC 1.1, spectral branch).

    It computes, exactly but without any FFT or complex number::

        X = FFT2D(x);  Y = Crop_K(fftshift(X)) ⊙ W;  y = Re(IFFT2D(ifftshift(Pad_{H×W}(Y))))

    The truncated transform of a real map is F_H x F_Wᵀ with small matrices of cosines and sines. Since x is real,
    the half-plane v ≥ 0 holds all that is needed: a coefficient at (u, v) with v < 0 is the conjugate of the one at
    (−u, −v), so its filter value is folded, conjugated, onto its mirror. The fold also settles the trap of an even K:
    the row and the column at −K/2 have no mirror inside the band, so the fold adds nothing to them, and taking the
    real part halves them, exactly as it does in the FFT form.

    A frequency is an integer number of cycles per map, counted from the centre of the filter. A map smaller than K
    uses the centre of the filter, K_eff = min(K, H, W); a larger one its whole. No parameter depends on H or W.

    Args:
        channels: number of channels C.
        num_frequencies: K ≥ 1, even or odd.
        complex_filter: False learns a real K×K filter per channel, which can only be zero-phase (an even kernel).
            True learns a complex half-plane K×(K//2+1), completed by Hermitian symmetry, which can express any real
            kernel of the band. On the column v = 0, where the half-plane holds both (u, 0) and (−u, 0), the
            Hermitian part of what is stored is used.
        start: one of :data:`STARTS`, what the filters are before training; the paper is silent about it.

    Shape:
        (B, C, H, W) floating point → the same shape and dtype, any H, W ≥ 1.

    Raises:
        ValueError: if ``channels`` or ``num_frequencies`` is below 1, or ``start`` is unknown.

    Example:
        >>> branch = TruncatedSpectralFilter(8, num_frequencies=4)  # starts as a plain low-pass filter
        >>> branch(torch.ones(2, 8, 20, 33)).allclose(torch.ones(2, 8, 20, 33), atol=1e-5)
        True
    """

    def __init__(
        self, channels: int, num_frequencies: int = 32, complex_filter: bool = True, start: str = "identity"
    ) -> None:
        super().__init__()
        if channels < 1 or num_frequencies < 1:
            raise ValueError(f"channels and num_frequencies must be at least 1, found {channels} and {num_frequencies}")
        self.channels = channels
        self.num_frequencies = num_frequencies
        self.complex_filter = complex_filter
        k = num_frequencies
        rows = torch.arange(k) - k // 2
        columns = torch.arange(k // 2 + 1) if complex_filter else rows
        values = _start(start, channels, torch.hypot(rows[:, None].float(), columns.float()), k)
        self.weight = nn.Parameter(torch.stack([values, torch.zeros_like(values)], -1) if complex_filter else values)

    def extra_repr(self) -> str:
        return f"{self.channels}, num_frequencies={self.num_frequencies}, complex_filter={self.complex_filter}"

    def response(self) -> Tensor:
        """The filter W over the whole band, zero frequency at index K // 2 of both axes, for pictures and checks.

        Returns:
            Complex tensor (C, K, K), rows are frequencies along H, columns along W.
        """
        if not self.complex_filter:
            return torch.complex(self.weight, torch.zeros_like(self.weight))
        k = self.num_frequencies
        right = self.weight[:, :, 1 : (k + 1) // 2]  # 0 < v, as stored
        mirrored = _negate_frequencies(self.weight)  # row u now holds what was stored at −u
        left = mirrored[:, :, 1:].flip(2)  # v < 0: the conjugate of (−u, −v)
        centre, centre_mirrored = self.weight[:, :, :1], mirrored[:, :, :1]
        real = torch.cat([left[..., 0], (centre + centre_mirrored)[..., 0] / 2, right[..., 0]], 2)
        imag = torch.cat([-left[..., 1], (centre - centre_mirrored)[..., 1] / 2, right[..., 1]], 2)
        return torch.complex(real, imag)

    def forward(self, x: Tensor) -> Tensor:
        if not trains_in_cpp(x, self.weight):
            return self._by_products(x, self.weight)
        return filtered_in_cpp(x, self.weight, _tables(self.num_frequencies, *x.shape[2:]), self._by_products)

    def freeze(self) -> None:
        """Fold the filter once for each band instead of in every call; for a copy whose weights stay as they are."""
        kept: dict[int, tuple[Tensor, Tensor | None]] = {}
        fold = self._folded

        def folded(weight: Tensor, k: int) -> tuple[Tensor, Tensor | None]:
            band = int(k)  # which is no plain number while a network is traced
            if band not in kept:
                with torch.inference_mode(False), torch.no_grad():  # calls in any mode read it
                    kept[band] = fold(weight, band)
            return kept[band]

        self._folded = folded  # type: ignore[method-assign]

    def _by_products(self, x: Tensor, weight: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        k = min(self.num_frequencies, height, width)
        m = k // 2  # highest frequency of the closed half-plane u, v = 0 … m
        table_h, table_w = (_fourier_table(size, m, x) for size in (height, width))
        # Channels last: then both products are plain matrix products and a channels-last input is not copied.
        maps = x.permute(0, 2, 3, 1)
        along_h = torch.matmul(table_h, maps.reshape(batch, height, width * channels))
        # (B, cos|sin of u, cos|sin of v, C)
        both = torch.matmul(table_w, along_h.reshape(batch, 2 * m + 2, width, channels))
        mixed = self._filter(both.reshape(batch, 2, m + 1, 2, m + 1, channels), weight, k).to(both.dtype)
        along_h = torch.matmul(table_w.t(), mixed.reshape(batch, 2 * m + 2, 2 * m + 2, channels))
        maps = torch.matmul(table_h.t(), along_h.reshape(batch, 2 * m + 2, width * channels))
        return maps.reshape(batch, height, width, channels).permute(0, 3, 1, 2).to(x.dtype)

    def _filter(self, products: Tensor, weight: Tensor, k: int) -> Tensor:
        """Multiply by the filter in the basis of cos·cos, cos·sin, sin·cos and sin·sin products.

        With c, s the cosine and sine sums over h (first letter) and w (second), the coefficients at (±u, v) are
        X± = (cc ∓ ss) − i(cs ± sc). Of Y± = E± X±, the real part of the inverse sum has the factors Re Y₊ + Re Y₋ for
        cos·cos, Re Y₋ − Re Y₊ for sin·sin, and for the mixed products the sum and difference of −Im Y.
        """
        factor, factor_i = self._folded(weight, k)
        products = products.to(torch.promote_types(products.dtype, factor.dtype))
        (cc, sc), (cs, ss) = (part.unbind(1) for part in products.unbind(3))
        # X = a − ib, with (u, −u) as dimension 1
        a, b = torch.stack([cc - ss, cc + ss], 1), torch.stack([cs + sc, cs - sc], 1)
        if factor_i is None:
            a, b = factor * a, factor * b
        else:
            a, b = factor * a + factor_i * b, factor * b - factor_i * a
        (a_plus, a_minus), (b_plus, b_minus) = a.unbind(1), b.unbind(1)
        cosines = torch.stack([a_plus + a_minus, b_plus + b_minus], 2)
        sines = torch.stack([b_plus - b_minus, a_minus - a_plus], 2)
        return torch.stack([cosines, sines], 1)

    def _folded(self, weight: Tensor, k: int) -> tuple[Tensor, Tensor | None]:
        """Real and imaginary part of the folded filter E(±u, v), u, v = 0 … k//2: each (2, k//2+1, k//2+1, C).

        E(u, v) = W(u, v) + conj W(−u, −v), halved on the axes u = 0 and v = 0, which are met twice; a value outside
        the band is zero. By Hermitian symmetry both terms of a complex filter are what is stored at (u, v), so E is
        that times the number of terms inside the band. The column v = 0 needs no other care: (u, 0) and (−u, 0) add up
        to one real cosine, so that only the Hermitian part of what is stored there comes through.
        """
        m = k // 2
        centre = self.num_frequencies // 2  # the centre of the filter serves the smaller map
        if not self.complex_filter:
            band = weight[:, centre - m : centre - m + k, centre - m : centre - m + k].permute(1, 2, 0)
            if k % 2 == 0:  # close the band −k/2 … k/2−1 to −k/2 … k/2
                band = nn.functional.pad(band, (0, 0, 0, 1, 0, 1))
            folded = (band + band.flip(0, 1))[:, m:]
            return torch.stack([folded[m:], folded[: m + 1].flip(0)]) * _halves(m, weight)[..., None], None

        # Channels last as a matrix transposed, which PyTorch copies fast: (K, 2, k//2+1, C)
        rows = weight.flatten(1).t().contiguous().view(*weight.shape[1:], self.channels)
        rows = rows[:, : m + 1].transpose(1, 2)
        plus, minus = rows[centre : centre + m + 1], rows[centre - m : centre + 1].flip(0)
        if len(plus) == m:  # u = K/2 is stored as −K/2
            plus = torch.cat([plus, rows[:1]])
        real, imag = (torch.stack([plus, minus]) * _terms(k, weight)[:, :, None, :, None]).unbind(2)
        return real, imag


def _start(name: str, channels: int, radius: Tensor, k: int) -> Tensor:
    """Real filters of all channels over frequencies at this radius, in cycles per map."""
    if name not in STARTS:
        raise ValueError(f"unknown start {name!r}; choose one of {', '.join(map(repr, STARTS))}")
    if name == "gaussians":
        widths = torch.logspace(0, math.log2(max(2, k)), channels, base=2)[:, None, None]
        return torch.exp(-((radius / widths) ** 2) / 2)
    ring = 0.5 * torch.exp(-(((radius / k - 0.25) / 0.15) ** 2) / 2)
    return (ring if name == "ring" else torch.ones_like(radius)).repeat(channels, 1, 1)


def _terms(k: int, like: Tensor) -> Tensor:
    """How many terms of E(±u, v) = W(±u, v) + conj W(∓u, −v) a band of k has, halved on the axes: (2, m+1, m+1)."""
    inside = torch.ones(k // 2 + 1, dtype=like.dtype, device=like.device)
    if k % 2 == 0:  # +m is outside of an even band and −m inside
        inside = torch.cat([inside[1:], 0 * inside[:1]])
    # are (u, v) and (−u, −v) inside, are (−u, v) and (u, −v)?
    return torch.stack([inside[:, None] * inside + 1, inside + inside[:, None]]) * _halves(k // 2, like)


@functools.lru_cache(maxsize=64)
def _tables(num_frequencies: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of both transforms, and the terms, in float32 on the CPU."""
    k = min(num_frequencies, height, width)
    single = torch.empty(0, dtype=torch.float32)
    return _fourier_table(height, k // 2, single), _fourier_table(width, k // 2, single), _terms(k, single)


def _halves(m: int, like: Tensor) -> Tensor:
    """1/2 at u = 0 times 1/2 at v = 0, the axes, which a sum over ±u and ±v meets twice: (m+1, m+1)."""
    ones = torch.ones(m + 1, dtype=like.dtype, device=like.device)
    halves = torch.cat([ones[:1] / 2, ones[1:]])
    return halves[:, None] * halves


def _negate_frequencies(weight: Tensor) -> Tensor:
    """Reorder the rows u of (C, K, …) to −u; for an even K the row −K/2 is its own negative (modulo K)."""
    flipped = weight.flip(1)
    return flipped if weight.shape[1] % 2 else torch.cat([flipped[:, -1:], flipped[:, :-1]], 1)


def _fourier_table(size: int, m: int, like: Tensor) -> Tensor:
    """cos(2πun/N) for u = 0 … m, then sin, over n = 0 … N−1, times 1/√N: (2(m+1), N).

    1/√N on the way there and on the way back is the 1/N of the inverse transform, and keeps half precision in range.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    if like.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing():
        return torch.from_numpy(_kept_table(size, m, dtype == torch.float64)).to(like.dtype)
    u = torch.arange(m + 1, device=like.device)
    n = torch.arange(size, device=like.device)
    # u·n modulo N is exact in integers, so the angle is as good as the dtype whatever the size. The modulus is a tensor
    # and the root a power: with a free size, ONNX has no remainder by a symbol and math.sqrt would fix the size.
    angle = (u[:, None] * n).remainder(torch.full_like(n, size)).to(dtype) * (2 * math.pi / size)
    return (torch.cat([angle.cos(), angle.sin()]) * size**-0.5).to(like.dtype)


@functools.lru_cache(maxsize=64)
def _kept_table(size: int, m: int, double: bool) -> np.ndarray:
    """The same, computed once for each size: on a small map the table takes as long as all four products.

    Kept in NumPy, it belongs to no mode of PyTorch: a tensor made in inference mode could not be trained with later.
    """
    angle = np.outer(np.arange(m + 1), np.arange(size)) % size * (2 * np.pi / size)
    table = np.concatenate([np.cos(angle), np.sin(angle)]) * size**-0.5
    return table.astype(np.float64 if double else np.float32)
