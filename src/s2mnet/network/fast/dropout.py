"""Dropout that uses every bit of the random numbers it draws."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 2**16


class FastDropout(nn.Dropout):
    """An ``nn.Dropout`` that takes a quarter of the time in training on a CPU, where PyTorch draws value by value.

    There each 64-bit number decides about four values, so the probability is rounded to 1/65536; values that are kept
    are scaled by the exact inverse of the rounded one. Other devices, export and compilation use PyTorch's own.

    Shape:
        Any → the same.

    Example:
        >>> y = FastDropout(0.5).train()(torch.ones(4, 100))
        >>> sorted(set(y.flatten().tolist()))
        [0.0, 2.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        dropped = round(self.p * LEVELS)
        usual = not self.training or x.device.type != "cpu" or not 0 < dropped < LEVELS
        if usual or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return super().forward(x)
        # The full range of int64: random_ draws 63 bits by default, and each fourth value would have no sign.
        drawn = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        kept = drawn.view(torch.int16)[: x.numel()] >= dropped - LEVELS // 2
        strides = torch.empty_like(x, device="meta").stride()  # x's order of dimensions, so that nothing is reordered
        return x * kept.as_strided(x.shape, strides).to(x.dtype).mul_(LEVELS / (LEVELS - dropped))
