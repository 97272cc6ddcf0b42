"""The spectral branch of SPEC 1.1: a learnable filter on the central K×K frequencies, as real matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

STARTS = {
    "identity": "1 on the band: a plain low-pass",
    "gaussians": "low-pass filters from 1 cycle per map (the first channel) to the whole band (the last)",
    "ring": "the release's radial Gaussian around a quarter of K, of height 0.5, but centred as intended",
}


class TruncatedSpectralFilter(nn.Module):
    """Global filter on the central K×K frequencies of every channel (SPEC 1.1, spectral branch).

    It computes, exactly but without any FFT or complex number::

        X = FFT2D(x);  Y = Crop_K(fftshift(X)) ⊙ W;  y = Re(IFFT2D(ifftshift(Pad_{H×W}(Y))))

    The truncated transform of a real map is F_H x F_Wᵀ with small matrices of cosines and sines. Since x is real, the
    half-plane v ≥ 0 is enough: a coefficient at (u, v) with v < 0 is the conjugate of the one at (−u, −v), so its
    filter value is added, conjugated, to that of its mirror. This also settles the trap of an even K: the row and the
    column at −K/2 have no mirror inside the band, so nothing is added to them, and taking the real part halves them,
    exactly as in the FFT form.

    A frequency is an integer number of cycles per map, counted from the centre of the filter. A map smaller than K
    uses the centre of the filter, K_eff = min(K, H, W); a larger one its whole. No parameter depends on H or W.

    Args:
        channels: number of channels C.
        num_frequencies: K ≥ 1, even or odd.
        complex_filter: False learns a real K×K filter per channel, which can only be zero-phase (an even kernel).
            True learns a complex half-plane K×(K//2+1), completed by Hermitian symmetry, which can express any real
            kernel of the band. The column v = 0 holds both (u, 0) and (−u, 0); its Hermitian part is used.
        start: one of :data:`STARTS`, the filters before training; the paper is silent about it.

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
        known = tables(x, self.num_frequencies, self.complex_filter)
        return filtered(x, half_planes(self.weight), *known, self.complex_filter)


def filtered(
    x: Tensor, planes: Tensor, table_h: Tensor, table_w: Tensor, terms: Tensor, complex_filter: bool
) -> Tensor:
    """y = F_Hᵀ (E ⊙ (F_H x F_Wᵀ)) F_W.

    Args:
        x: (B, C, H, W).
        planes: filters, see :func:`half_planes`.
        table_h, table_w, terms: see :func:`tables`.
        complex_filter: whether the planes are those of complex filters.
    """
    batch, channels, height, width = x.shape
    side = terms.shape[-1]  # m + 1 frequencies
    # Channels last: then both products are plain matrix products and a channels-last input is not copied.
    maps = x.permute(0, 2, 3, 1)
    along_h = torch.matmul(table_h, maps.reshape(batch, height, width * channels))
    both = torch.matmul(table_w, along_h.reshape(batch, 2 * side, width, channels))
    products = both.reshape(batch, 2, side, 2, side, channels)  # (B, cos|sin of u, cos|sin of v, C)
    scaled = _multiply(products, planes[:, :, :side, :side], terms[..., None], complex_filter).to(both.dtype)
    along_h = torch.matmul(table_w.t(), scaled.reshape(batch, 2 * side, 2 * side, channels))
    maps = torch.matmul(table_h.t(), along_h.reshape(batch, 2 * side, width * channels))
    return maps.reshape(batch, height, width, channels).permute(0, 3, 1, 2).to(x.dtype)


def half_planes(weight: Tensor) -> Tensor:
    """The stored values that make up E(±u, v), u, v = 0 … K//2, for every band up to K: (2, 2, K//2+1, K//2+1, C).

    E(u, v) = W(u, v) + conj W(−u, −v) is the filter on the half-plane v ≥ 0. Axis 1 is +u, −u. Of a real filter axis 0
    is W(±u, v) and W(∓u, −v). Of a complex one both terms are what is stored at (u, v), by Hermitian symmetry, and
    axis 0 is its real and its imaginary part. The column v = 0 needs no other care: (u, 0) and (−u, 0) add up to one
    real cosine, so only the Hermitian part of what is stored there comes through.

    Args:
        weight: of :class:`TruncatedSpectralFilter`.
    """
    k = weight.shape[1]
    m, even = k // 2, k % 2 == 0
    if weight.dim() == 3:
        band = weight.permute(1, 2, 0)
        if even:  # close the band −K/2 … K/2−1 to −K/2 … K/2
            band = nn.functional.pad(band, (0, 0, 0, 1, 0, 1))
        right, left = band[:, m:], band[:, : m + 1].flip(1)
        direct = torch.stack([right[m:], right[: m + 1].flip(0)])
        return torch.stack([direct, torch.stack([left[: m + 1].flip(0), left[m:]])])
    # Channels last as a matrix transposed, which PyTorch copies fast: (K, K//2+1, 2, C)
    rows = weight.flatten(1).t().contiguous().view(*weight.shape[1:], weight.shape[0])
    plus = torch.cat([rows[m:], rows[:1]]) if even else rows[m:]  # u = K/2 is stored as −K/2
    return torch.stack([plus, rows[: m + 1].flip(0)]).permute(3, 0, 1, 2, 4)


def tables(x: Tensor, num_frequencies: int, complex_filter: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Transform matrices along H and W, (2(m+1), H) and (2(m+1), W), and :func:`band_terms`, for maps like x."""
    height, width = x.shape[2:]
    k = min(num_frequencies, height, width)
    return fourier_table(height, k // 2, x), fourier_table(width, k // 2, x), band_terms(k, complex_filter, x.device)


def band_terms(k: int, complex_filter: bool, device: torch.device | None = None) -> Tensor:
    """Which terms of E(±u, v) = W(±u, v) + conj W(∓u, −v) a band of k holds: (2 terms, ±u, m+1, m+1), float32.

    1 inside of the band and 0 outside of it, halved on the axes u = 0 and v = 0, which a sum over ±u and ±v meets
    twice. Of a complex filter, where both terms are the same stored value, their sum: (±u, m+1, m+1).
    """
    one = torch.ones(k // 2 + 1, device=device)
    inside = torch.cat([one[1:], 0 * one[:1]]) if k % 2 == 0 else one  # +m is outside of an even band, −m inside
    u, v, everywhere = inside[:, None], inside, one[:, None] * one
    halves = torch.cat([one[:1] / 2, one[1:]])
    direct = torch.stack([u * v, everywhere * v]) * (halves[:, None] * halves)
    mirrored = torch.stack([everywhere, everywhere * u]) * (halves[:, None] * halves)
    return direct + mirrored if complex_filter else torch.stack([direct, mirrored])


def _multiply(products: Tensor, planes: Tensor, terms: Tensor, complex_filter: bool) -> Tensor:
    """Multiply by the filter in the basis of cos·cos, cos·sin, sin·cos and sin·sin products.

    With c, s the cosine and sine sums over h (first letter) and w (second), the coefficients at (±u, v) are
    X± = (cc ∓ ss) − i(cs ± sc). Of Y± = E± X±, the real part of the inverse sum has the factors Re Y₊ + Re Y₋ for
    cos·cos, Re Y₋ − Re Y₊ for sin·sin, and for the mixed products the sum and difference of −Im Y.
    """
    products = products.to(torch.promote_types(products.dtype, torch.promote_types(planes.dtype, terms.dtype)))
    (cc, sc), (cs, ss) = (part.unbind(1) for part in products.unbind(3))
    # X = a − ib, with (u, −u) as dimension 1
    a, b = torch.stack([cc - ss, cc + ss], 1), torch.stack([cs + sc, cs - sc], 1)
    if complex_filter:
        real, imag = (planes * terms).unbind(0)
        a, b = real * a + imag * b, real * b - imag * a
    else:
        real = (planes * terms).sum(0)
        a, b = real * a, real * b
    (a_plus, a_minus), (b_plus, b_minus) = a.unbind(1), b.unbind(1)
    cosines = torch.stack([a_plus + a_minus, b_plus + b_minus], 2)
    sines = torch.stack([b_plus - b_minus, a_minus - a_plus], 2)
    return torch.stack([cosines, sines], 1)


def _start(name: str, channels: int, radius: Tensor, k: int) -> Tensor:
    """Real filters of all channels over frequencies at this radius, in cycles per map."""
    if name not in STARTS:
        raise ValueError(f"unknown start {name!r}; choose one of {', '.join(map(repr, STARTS))}")
    if name == "gaussians":
        widths = torch.logspace(0, math.log2(max(2, k)), channels, base=2)[:, None, None]
        return torch.exp(-((radius / widths) ** 2) / 2)
    ring = 0.5 * torch.exp(-(((radius / k - 0.25) / 0.15) ** 2) / 2)
    return (ring if name == "ring" else torch.ones_like(radius)).repeat(channels, 1, 1)


def _negate_frequencies(weight: Tensor) -> Tensor:
    """Reorder the rows u of (C, K, …) to −u; for an even K the row −K/2 is its own negative (modulo K)."""
    flipped = weight.flip(1)
    return flipped if weight.shape[1] % 2 else torch.cat([flipped[:, -1:], flipped[:, :-1]], 1)


def fourier_table(size: int, m: int, like: Tensor) -> Tensor:
    """cos(2πun/N) for u = 0 … m, then sin, over n = 0 … N−1, times 1/√N: (2(m+1), N).

    1/√N on the way there and on the way back is the 1/N of the inverse transform, and keeps half precision in range.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    u = torch.arange(m + 1, device=like.device)
    n = torch.arange(size, device=like.device)
    # u·n modulo N is exact in integers, so the angle is as good as the dtype whatever the size. The modulus is a tensor
    # and the root a power: with a free size, ONNX has no remainder by a symbol and math.sqrt would fix the size.
    angle = (u[:, None] * n).remainder(torch.full_like(n, size)).to(dtype) * (2 * math.pi / size)
    return (torch.cat([angle.cos(), angle.sin()]) * size**-0.5).to(like.dtype)
