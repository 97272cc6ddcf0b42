"""Operations of PyTorch that take long on a CPU, in a shorter time; and when a form for training applies."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.network.decoder import UpsampleAndConcat

LEVELS = 2**16


def trains_eagerly(x: Tensor) -> bool:
    """Whether gradients are computed for x on a CPU, operation by operation: not compiled, exported or traced."""
    seen = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return x.device.type == "cpu" and torch.is_grad_enabled() and not seen


def autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the type that autocast gives them on a CPU; float64 stays."""
    if not torch.is_autocast_enabled("cpu") or tensors[0].dtype == torch.float64:
        return tensors
    return tuple(tensor.to(torch.get_autocast_dtype("cpu")) for tensor in tensors)


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
        if not (self.training and trains_eagerly(x) and 0 < dropped < LEVELS):
            return super().forward(x)
        # The full range of int64: random_ draws 63 bits by default, and each fourth value would have no sign.
        drawn = torch.empty(x.numel() // 4 + 1, dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        kept = drawn.view(torch.int16)[: x.numel()] >= dropped - LEVELS // 2
        strides = torch.empty_like(x, device="meta").stride()  # x's order of dimensions, so that nothing is reordered
        return x * kept.as_strided(x.shape, strides).to(x.dtype).mul_(LEVELS / (LEVELS - dropped))


class FastUpsampleAndConcat(UpsampleAndConcat):
    """On a CPU the gradient of the upsampled map is copied to channels last.

    It arrives as a slice of the concatenation's gradient, for which the backward pass of the upsampling takes six times
    as long.
    """

    def upsample(self, decoder: Tensor, skip: Tensor) -> Tensor:
        up = super().upsample(decoder, skip)
        if up.requires_grad and up.device.type == "cpu" and up.is_contiguous(memory_format=torch.channels_last):
            up.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return up


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
