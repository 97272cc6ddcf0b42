"""The spectral-selective token mixer, SSTM (SPEC 1.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.network.spectral import TruncatedSpectralFilter


class SpectralSelectiveTokenMixer(nn.Module):
    """SSTM: x + Dropout(LN(Conv1×1([x_spec ‖ x_gate]))) (SPEC 1.1).

    x_spec is the spectral branch (:class:`TruncatedSpectralFilter`). x_gate is the content-gated spatial branch over
    tokens s ∈ R^{HW×C}: g = σ(s W_g + b_g), x_gate = ELU((s ⊙ g) W_B) W_C, with W_B ∈ R^{C×d} and W_C ∈ R^{d×C}.
    The LayerNorm is over channels.

    Args:
        channels: number of channels C.
        num_frequencies: K of the spectral branch.
        complex_filter: see :class:`TruncatedSpectralFilter`.
        bottleneck: d of the spatial branch.
        dropout: probability of the dropout on the branch.
        branch_scale: start value of the LayerNorm's gain. The paper uses 1; a smaller one lets the branch grow during
            training (ours, SPEC 1.1; measured in docs/results.md).
        filter_start: ``start`` of :class:`TruncatedSpectralFilter`.

    Shape:
        (B, C, H, W) → the same.

    Example:
        >>> SpectralSelectiveTokenMixer(24)(torch.randn(2, 24, 40, 56)).shape
        torch.Size([2, 24, 40, 56])
    """

    def __init__(
        self,
        channels: int,
        num_frequencies: int = 32,
        complex_filter: bool = True,
        bottleneck: int = 16,
        dropout: float = 0.1,
        branch_scale: float = 0.1,
        filter_start: str = "identity",
    ) -> None:
        super().__init__()
        self.spectral = TruncatedSpectralFilter(channels, num_frequencies, complex_filter, filter_start)
        self.gate = nn.Linear(channels, channels)
        self.squeeze = nn.Linear(channels, bottleneck, bias=False)
        self.expand = nn.Linear(bottleneck, channels, bias=False)
        self.fuse = nn.Linear(2 * channels, channels)
        self.norm = nn.LayerNorm(channels)
        nn.init.constant_(self.norm.weight, branch_scale)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.permute(0, 2, 3, 1)
        spectral = self.spectral(x).permute(0, 2, 3, 1)
        gated = self.expand(F.elu(self.squeeze(tokens * torch.sigmoid(self.gate(tokens)))))
        branch = self.dropout(self.norm(self.fuse(torch.cat([spectral, gated.to(spectral.dtype)], -1))))
        return x + branch.permute(0, 3, 1, 2).to(x.dtype)
