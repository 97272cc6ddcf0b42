"""A depthwise convolution that trains on a CPU without PyTorch's slow weight gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from s2mnet.network.fast.fused import compiled, worthwhile
from s2mnet.network.fast.operations import autocast, trains_eagerly

LANES = 16  # channels of a group: float32 numbers in the widest register


class FastDepthwiseConv2d(nn.Conv2d):
    """An odd k×k convolution of each channel on its own, "same" padding, no bias: an ``nn.Conv2d``, trained faster.

    PyTorch's CPU library has a fast weight gradient only for depthwise kernels three columns wide; for 5×5 and 7×7
    its general one takes up to half of a training step of S2M-Net, and more in bf16. On a CPU the weight gradient is
    therefore computed in float32 by a few lines for torch.compile or, without a compiler, assembled from three-column
    pieces of the same sums. The library's gradient of the input takes three times as long as the convolution that it
    is. Other devices, export and compilation use the plain convolution.

    Shape:
        (B, channels, H, W) → the same.

    Example:
        >>> FastDepthwiseConv2d(6, 6, 5, padding=2, groups=6, bias=False)(torch.randn(2, 6, 9, 4)).shape
        torch.Size([2, 6, 9, 4])
    """

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Whether a convolution is of this kind."""
        channels, size = conv.in_channels, conv.kernel_size[0]
        like = nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False, device="meta")
        return size % 2 == 1 and conv.extra_repr() == like.extra_repr()

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and trains_eagerly(x)):
            return super().forward(x)
        return _FasterGradients.apply(*autocast(x, self.weight))


class _FasterGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = input_gradient(grad, weight)
        if ctx.needs_input_grad[1]:
            size = weight.shape[-1]
            grad_weight = weight_gradients(x, size)(grad, size).to(weight.dtype)
        return grad_x, grad_weight


def input_gradient(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient with respect to the input: (B, channels, H, W), as the convolution with the mirrored kernels."""
    return F.conv2d(grad, weight.flip(2, 3), padding=weight.shape[-1] // 2, groups=grad.shape[1])


def weight_gradients(x: Tensor, widest: int) -> Callable[[Tensor, int], Tensor]:
    """For convolutions of x with kernels up to that size: a function of the result's gradient and the kernel size.

    It returns the sum over batch and positions of gradient · shifted x, in float32 at least: (channels, 1, size, size).
    """
    channels = x.shape[1]
    wide = torch.promote_types(x.dtype, torch.float32)
    margin = widest // 2
    twice = torch.is_grad_enabled()  # in a backward pass: a second derivative is wanted, which is not compiled
    compiles = margin > 1 and channels % LANES == 0 and not twice and worthwhile(x[0])
    images = x.permute(0, 2, 3, 1)
    padded = [F.pad(image, (0, 0, *4 * [margin])).view(-1) for image in images] if compiles else []

    def gradient(grad: Tensor, size: int) -> Tensor:
        if size == 3:
            return conv2d_weight(x, (channels, 1, 3, 3), grad, padding=1, groups=channels).to(wide)
        if not compiles:
            return _pieces(x, grad, size, wide)
        total = x.new_zeros(channels // LANES, size, size, LANES, dtype=wide)
        for image, of_image in zip(padded, grad.permute(0, 2, 3, 1), strict=True):
            total += compiled(_row_sums)(image, of_image.reshape(-1), size, margin, *x.shape[1:], wide).sum(1)
        return total.permute(0, 3, 1, 2).reshape(channels, 1, size, size)

    return gradient


def _row_sums(
    padded: Tensor, grad: Tensor, size: int, margin: int, channels: int, height: int, width: int, wide: torch.dtype
) -> Tensor:
    """The sums of one image, row by row: (groups of channels, height, size, size, channels of a group).

    A group's rows under one kernel stay in the processor's inner cache, its sums for a row of the kernel in registers:
    two to five times as fast as the library. Images are flat, channels last, so one code serves all sizes.
    """
    groups = channels // LANES, height
    row = (width + 2 * margin) * channels
    start = (margin - size // 2) * (row + channels)
    of_row = grad.as_strided((*groups, 1, width, LANES), (LANES, width * channels, 0, channels, 1)).to(wide)
    shape, strides = (*groups, size, width, LANES), (LANES, row, row, channels, 1)
    shifted = (padded.as_strided(shape, strides, start + column * channels) for column in range(size))
    return torch.stack([(of_row * x.to(wide)).sum(3) for x in shifted], 3)


def _pieces(x: Tensor, grad: Tensor, size: int, wide: torch.dtype) -> Tensor:
    """The weight gradient by PyTorch's library, three kernel columns at a time."""
    channels, width = x.shape[1], x.shape[-1]
    height = max(x.shape[2], size)  # where the kernel is higher than the map, the library is up to ten times slower
    padded = _widened(x.to(wide), height, size // 2, size // 2, size - 3)
    grad = _widened(grad.to(wide), height, 0, size - 3)
    shape, strides = (*x.shape[:2], height, width + size - 1), padded.stride()
    columns = torch.empty(channels, 1, size, size, dtype=wide)
    for start in [*range(0, size - 3, 3), size - 3]:  # the last piece may overlap the one before it
        # From `start` on: its rows end in the start of the next ones, where the gradient is zero.
        piece = padded.as_strided(shape, strides, padded.storage_offset() + start * channels)
        pieces = conv2d_weight(piece, (channels, 1, size, 3), grad, padding=(size // 2, 0), groups=channels)
        columns[..., start : start + 3] = pieces
    return columns


def _widened(maps: Tensor, height: int, left: int, right: int, beyond: int = 0) -> Tensor:
    """A channels-last copy of that height, padded with zeros below, on both sides, and for some pixels past its end."""
    batch, channels, rows, width = maps.shape
    wider = left + width + right
    held = maps.new_empty(batch * height * wider + beyond, channels)
    held[batch * height * wider :] = 0
    copy = held[: batch * height * wider].view(batch, height, wider, channels)
    copy[:, rows:], copy[:, :, :left], copy[:, :, left + width :] = 0, 0, 0
    copy[:, :rows, left : left + width] = maps.permute(0, 2, 3, 1)
    return copy.permute(0, 3, 1, 2)
