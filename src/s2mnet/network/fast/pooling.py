"""The mean of a feature map, for the squeeze-excitation of MRF-SE (SPEC 1.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def spatial_mean(x: Tensor) -> Tensor:
    """Mean over height and width: (B, C, H, W) → (B, C, 1, 1), of the type of x.

    On a CPU PyTorch's mean first copies a bf16 map to float32. Its average pooling sums in float32 as it reads, in a
    fifth of the time; but its gradient takes five times as long.

    Example:
        >>> spatial_mean(torch.ones(2, 3, 8, 5)).shape
        torch.Size([2, 3, 1, 1])
    """
    differentiable = torch.is_grad_enabled() and x.requires_grad
    if x.dtype == torch.bfloat16 and x.device.type == "cpu" and not differentiable:
        return F.avg_pool2d(x, x.shape[2:])
    return x.mean((2, 3), keepdim=True)
