"""The depthwise convolutions of stride 2 in a pretrained encoder, trained on a CPU in bf16 without a slow gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from s2mnet.network.efficientnet import HalvingConv2d
from s2mnet.network.fast.operations import autocast, trains_eagerly

LARGEST = 5  # side of a kernel that four of 3×3 hold


class FastHalvingDepthwise(HalvingConv2d):
    """A depthwise :class:`HalvingConv2d` whose bf16 gradients PyTorch's CPU library computes fast.

    The gradients of the four such convolutions in EfficientNet-Lite0 took a quarter of a training step in bf16. With
    stride 1 they are fast. The even and odd rows and columns of the input are therefore taken apart, four times the
    channels at half the size; each part has a kernel of at most 3×3 and stride 1, and the sum of the four is the
    result. Other types, devices, export and compilation use the plain convolution.

    Shape:
        (B, channels, H, W) → (B, channels, ⌈H/2⌉, ⌈W/2⌉).
    """

    @staticmethod
    def fits(conv: HalvingConv2d) -> bool:
        """Whether a convolution is of this kind."""
        return conv.groups == conv.in_channels == conv.out_channels and max(conv.kernel_size) <= LARGEST

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and trains_eagerly(x)):
            return super().forward(x)
        x, weight = autocast(x, self.weight)
        return halved_in_parts(x, weight, self) if x.dtype == torch.bfloat16 else super().forward(x)


def halved_in_parts(x: Tensor, weight: Tensor, conv: HalvingConv2d) -> Tensor:
    """The convolution by four of stride 1, for ``weight`` (channels, 1, k, k), k ≤ 5."""
    batch, channels, height, width = x.shape
    rows, columns = -(-height // 2), -(-width // 2)
    top, left = conv.padding_of(height)[0], conv.padding_of(width)[0]
    padded = F.pad(x, (left, 2 * (columns + 2) - left - width, top, 2 * (rows + 2) - top - height))
    taken_apart = padded.permute(0, 2, 3, 1).reshape(batch, rows + 2, 2, columns + 2, 2, channels)
    parts = taken_apart.permute(0, 1, 3, 2, 4, 5).reshape(batch, rows + 2, columns + 2, 4 * channels)
    missing = 2 * 3 - weight.shape[-1]
    kernels = F.pad(weight, (0, missing, 0, missing)).view(channels, 1, 3, 2, 3, 2).permute(3, 5, 0, 1, 2, 4)
    each = F.conv2d(parts.permute(0, 3, 1, 2), kernels.reshape(4 * channels, 1, 3, 3), groups=4 * channels)
    return each.permute(0, 2, 3, 1).reshape(batch, rows, columns, 4, channels).sum(3).permute(0, 3, 1, 2)
