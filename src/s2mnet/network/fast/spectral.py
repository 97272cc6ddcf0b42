"""The spectral branch (SPEC 1.1) with what does not change between calls kept, and in C++ where it trains on a CPU."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn

from s2mnet.network.fast.spectral_training import filtered_in_cpp, trains_in_cpp
from s2mnet.network.spectral import TruncatedSpectralFilter, band_terms, filtered, fourier_table, half_planes, tables


class KeptTablesFilter(TruncatedSpectralFilter):
    """Computes its tables once for each size: on a small map they take as long as all four products."""

    def forward(self, x: Tensor) -> Tensor:
        return self.by_products(x, self.weight)

    def by_products(self, x: Tensor, weight: Tensor) -> Tensor:
        """The branch as a function of input and weight."""
        find = tables if torch.jit.is_tracing() else kept_tables  # a trace may be meant for any size
        known = find(x, self.num_frequencies, self.complex_filter)
        return filtered(x, half_planes(weight), *known, self.complex_filter)


class CompiledFilter(KeptTablesFilter):
    """Trains on a CPU in C++ (:mod:`.spectral_training`)."""

    def forward(self, x: Tensor) -> Tensor:
        if not trains_in_cpp(x, self.weight):
            return super().forward(x)
        known = kept_tables(x, self.num_frequencies, True, torch.float32)
        return filtered_in_cpp(x, self.weight, known, self.by_products)


class FrozenSpectralFilter(nn.Module):
    """The filter of a trained branch, for prediction: its half-planes are laid out once instead of in every call.

    They are its state, so that it is copied, moved, stored and loaded like any module.

    Args:
        trained: stays as it is.

    Shape:
        (B, C, H, W) → the same shape and dtype, any H, W ≥ 1.

    Example:
        >>> branch, x = TruncatedSpectralFilter(8, 4), torch.randn(2, 8, 20, 33)
        >>> torch.allclose(FrozenSpectralFilter(branch)(x), branch(x), atol=1e-5)
        True
    """

    planes: Tensor

    def __init__(self, trained: TruncatedSpectralFilter) -> None:
        super().__init__()
        self.num_frequencies, self.complex_filter = trained.num_frequencies, trained.complex_filter
        planes = half_planes(trained.weight.detach())
        self.shape = planes.shape
        # One axis only: of five, .to(memory_format=torch.channels_last) would make an error.
        self.register_buffer("planes", planes.flatten())

    def forward(self, x: Tensor) -> Tensor:
        known = kept_tables(x, self.num_frequencies, self.complex_filter)
        return filtered(x, self.planes.view(self.shape), *known, self.complex_filter)


def kept_tables(
    x: Tensor, num_frequencies: int, complex_filter: bool, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`s2mnet.network.spectral.tables`, on a CPU computed once for each size; of x's type unless one is given."""
    if x.device.type != "cpu" or type(x) is not Tensor or torch.compiler.is_compiling():
        return tables(x, num_frequencies, complex_filter)
    height, width = int(x.shape[2]), int(x.shape[3])  # in a trace, which is made for one size, no plain numbers
    k = min(num_frequencies, height, width)
    kept = (_kept_table(size, k // 2, x.dtype == torch.float64) for size in (height, width))
    table_h, table_w = (torch.from_numpy(table).to(dtype or x.dtype) for table in kept)
    return table_h, table_w, torch.from_numpy(_kept_terms(k, complex_filter))


# Kept in NumPy, they belong to no mode of PyTorch: with a tensor made in inference mode nothing could be trained later.


@functools.lru_cache(maxsize=64)
def _kept_table(size: int, m: int, double: bool) -> np.ndarray:
    table = fourier_table(size, m, torch.empty(0, dtype=torch.float64))
    return np.array(table.tolist(), np.float64 if double else np.float32)


@functools.lru_cache(maxsize=64)
def _kept_terms(k: int, complex_filter: bool) -> np.ndarray:
    return np.array(band_terms(k, complex_filter).tolist(), np.float32)
