"""The multi-receptive-field squeeze-excitation block, MRF-SE (SPEC 1.2)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from s2mnet.network.depthwise import DepthwiseConv2d
from s2mnet.network.dropout import Dropout
from s2mnet.network.mrf_training import projected_in_chunks, trains_in_chunks
from s2mnet.network.pooling import spatial_mean


class MultiReceptiveFieldSE(nn.Module):
    """MRF-SE: an inverted residual block with three depthwise receptive fields and channel attention (SPEC 1.2).

    1×1 expand ×6, BN, ELU → depthwise 3×3, 5×5, 7×7 in parallel, each BN, ELU → concat → 1×1 fuse back to 6C, BN, ELU
    → squeeze-excitation (global mean → 1×1 to max(6C/16, 8), ELU → 1×1, σ) → 1×1 project to C, BN → dropout → + x.

    Args:
        channels: number of channels C.
        expansion: factor of the inner width.
        dropout: probability of the dropout before the residual sum.

    Attributes:
        in_chunks: train on a CPU as :mod:`s2mnet.network.mrf_training` does where maps are large, which gives the same
            in half the memory. False for second derivatives.

    Shape:
        (B, C, H, W) → the same.

    Example:
        >>> MultiReceptiveFieldSE(24)(torch.randn(2, 24, 10, 13)).shape
        torch.Size([2, 24, 10, 13])
    """

    def __init__(self, channels: int, expansion: int = 6, dropout: float = 0.1) -> None:
        super().__init__()
        inner = expansion * channels
        squeezed = max(inner // 16, 8)
        self.expand = conv_norm(channels, inner, 1, nn.ELU(inplace=True))
        self.fields = nn.ModuleList(
            nn.Sequential(DepthwiseConv2d(inner, size), nn.BatchNorm2d(inner), nn.ELU(inplace=True))
            for size in (3, 5, 7)
        )
        self.fuse = conv_norm(3 * inner, inner, 1, nn.ELU(inplace=True))
        self.excite = nn.Sequential(
            nn.Conv2d(inner, squeezed, 1), nn.ELU(inplace=True), nn.Conv2d(squeezed, inner, 1), nn.Sigmoid()
        )
        self.project = conv_norm(inner, channels, 1)
        self.dropout = Dropout(dropout)
        self.in_chunks = True

    def forward(self, x: Tensor) -> Tensor:
        layers = [cast(nn.Sequential, layer) for layer in (self.expand, *self.fields, self.fuse)]
        if self.in_chunks and trains_in_chunks(x, layers):
            conv, norm = self.project
            return x + self.dropout(norm(projected_in_chunks(x, layers, self.excite, cast(nn.Conv2d, conv))))
        inner = self.expand(x)
        fused = self.fuse(torch.cat([field(inner) for field in self.fields], 1))
        excited = fused * self.excite(spatial_mean(fused))
        return x + self.dropout(self.project(excited))


def conv_norm(
    inputs: int, outputs: int, size: int, activation: nn.Module | None = None, stride: int = 1
) -> nn.Sequential:
    """A convolution without bias, which the batch norm behind it would cancel, BN and an optional activation."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([activation] if activation else []))
