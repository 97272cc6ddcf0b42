"""The multi-receptive-field squeeze-excitation block, MRF-SE (SPEC 1.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MultiReceptiveFieldSE(nn.Module):
    """MRF-SE: an inverted residual block with three depthwise receptive fields and channel attention (SPEC 1.2).

    1×1 expand ×6, BN, ELU → depthwise 3×3, 5×5, 7×7 in parallel, each BN, ELU → concat → 1×1 fuse back to 6C, BN, ELU
    → squeeze-excitation (global mean → 1×1 to max(6C/16, 8), ELU → 1×1, σ) → 1×1 project to C, BN → dropout → + x.

    Args:
        channels: number of channels C.
        expansion: factor of the inner width.
        dropout: probability of the dropout before the residual sum.

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
            conv_norm(inner, inner, size, nn.ELU(inplace=True), groups=inner) for size in (3, 5, 7)
        )
        self.fuse = conv_norm(3 * inner, inner, 1, nn.ELU(inplace=True))
        self.excite = nn.Sequential(
            nn.Conv2d(inner, squeezed, 1), nn.ELU(inplace=True), nn.Conv2d(squeezed, inner, 1), nn.Sigmoid()
        )
        self.project = conv_norm(inner, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.expand(x)
        fused = self.fuse(torch.cat([field(inner) for field in self.fields], 1))
        return x + self.dropout(self.project(fused * self.attention(fused)))

    def attention(self, fused: Tensor) -> Tensor:
        """Squeeze-excitation: the factor of each channel, (B, 6C, 1, 1)."""
        return self.excite(fused.mean((2, 3), keepdim=True))


def conv_norm(
    inputs: int, outputs: int, size: int, activation: nn.Module | None = None, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution without bias, which the batch norm behind it would cancel, BN and an optional activation."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([activation] if activation else []))
