"""A depthwise convolution whose training on a CPU does not wait for one slow kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight


class DepthwiseConv2d(nn.Conv2d):
    """An odd k×k convolution of each channel on its own, "same" padding, no bias: an ``nn.Conv2d``, trained faster.

    PyTorch's CPU library has a fast weight gradient only for depthwise kernels three columns wide; for 5×5 and 7×7
    its general one takes up to half of a training step of S2M-Net, and more in bf16. On a CPU the weight gradient is
    therefore assembled from three-column pieces of the same sums, in float32. Everything else, and every other
    device, export and compilation, is the plain convolution.

    Shape:
        (B, channels, H, W) → the same.

    Example:
        >>> DepthwiseConv2d(6, 5)(torch.randn(2, 6, 9, 4)).shape
        torch.Size([2, 6, 9, 4])
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        plain = not (self.training and x.device.type == "cpu" and torch.is_grad_enabled())
        if plain or self.kernel_size[1] <= 3 or torch.compiler.is_compiling():
            return super().forward(x)
        weight = self.weight
        if torch.is_autocast_enabled("cpu") and x.dtype != torch.float64:
            x, weight = (t.to(torch.get_autocast_dtype("cpu")) for t in (x, weight))
        return _ColumnwiseGradient.apply(x, weight)


class _ColumnwiseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = conv2d_input(x.shape, weight, grad, padding=weight.shape[-1] // 2, groups=x.shape[1])
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(x, grad, weight)
        return grad_x, grad_weight


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """Σ over batch and positions of grad · shifted x, three kernel columns at a time."""
    channels, size, width = x.shape[1], weight.shape[-1], x.shape[-1]
    wide = torch.promote_types(weight.dtype, torch.float32)
    padded, grad = F.pad(x.to(wide), (size // 2, size // 2)), grad.to(wide)
    columns = torch.empty_like(weight, dtype=wide)
    for start in [*range(0, size - 3, 3), size - 3]:  # the last piece may overlap the one before it
        columns[..., start : start + 3] = conv2d_weight(
            padded[..., start : start + width + 2],
            (channels, 1, size, 3),
            grad,
            padding=(size // 2, 0),
            groups=channels,
        )
    return columns.to(weight.dtype)
