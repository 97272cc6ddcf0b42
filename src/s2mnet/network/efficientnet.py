"""EfficientNet-Lite as an encoder: the five stages of a classifier that was trained on ImageNet (ours, not in SPEC)."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

STEM_CHANNELS = 32
# Tan and Le 2019 as the "Lite" networks of 2020 change it: ReLU6 in place of swish, no squeeze-excitation, and a stem,
# a first and a last group of blocks that the multipliers leave alone.
DEPTH_MULTIPLIERS = {"lite0": 1.0, "lite1": 1.1}


class Group(NamedTuple):
    """Blocks of equal width, of which the first changes stride and width."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


# One line for each halving of the image.
STAGES: tuple[tuple[Group, ...], ...] = (
    (Group(1, 3, 1, 1, 16),),
    (Group(2, 3, 2, 6, 24),),
    (Group(2, 5, 2, 6, 40),),
    (Group(3, 3, 2, 6, 80), Group(3, 5, 1, 6, 112)),
    (Group(4, 5, 2, 6, 192), Group(1, 3, 1, 6, 320)),
)
WIDTHS = tuple(groups[-1].width for groups in STAGES)


def efficientnet_stages(in_channels: int = 3, variant: str = "lite0") -> list[nn.Sequential]:
    """The five stages; each halves the size, rounded up.

    Args:
        in_channels: channels of the image.
        variant: "lite0" or "lite1", which is deeper.

    Returns:
        Stages i = 1…5: (B, channels before, h, w) → (B, WIDTHS[i], ⌈h/2⌉, ⌈w/2⌉).

    Raises:
        ValueError: an unknown variant.

    Example:
        >>> import torch
        >>> x, shapes = torch.rand(1, 3, 65, 96), []
        >>> for stage in efficientnet_stages():
        ...     x = stage(x)
        ...     shapes.append(tuple(x.shape[1:]))
        >>> shapes
        [(16, 33, 48), (24, 17, 24), (40, 9, 12), (112, 5, 6), (320, 3, 3)]
    """
    if variant not in DEPTH_MULTIPLIERS:
        raise ValueError(f"unknown variant {variant!r}; choose one of {', '.join(map(repr, DEPTH_MULTIPLIERS))}")
    groups = [group for stage in STAGES for group in stage]
    stages, channels = [], STEM_CHANNELS
    for number, stage in enumerate(STAGES):
        layers: list[nn.Module] = [] if number else [_conv(in_channels, channels, 3, stride=2)]
        for group in stage:
            fixed = group in (groups[0], groups[-1])
            blocks = group.blocks if fixed else math.ceil(group.blocks * DEPTH_MULTIPLIERS[variant])
            for block in range(blocks):
                stride = 1 if block else group.stride
                layers.append(InvertedResidual(channels, group.width, group.kernel, stride, group.expansion))
                channels = group.width
        stages.append(nn.Sequential(*layers))
    return stages


class InvertedResidual(nn.Module):
    """1×1 to ``expansion`` times the width, a depthwise convolution, 1×1 to the new width; + x where the shapes agree.

    BN follows each convolution, ReLU6 the first two. Without expansion the first is left out.

    Shape:
        (B, inputs, h, w) → (B, outputs, ⌈h/stride⌉, ⌈w/stride⌉).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        layers: list[nn.Module] = [_conv(inputs, inner, 1)] if expansion > 1 else []
        layers.append(_conv(inner, inner, kernel, stride, groups=inner))
        layers.append(_conv(inner, outputs, 1)[:2])
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class HalvingConv2d(nn.Conv2d):
    """A convolution of stride 2, padded as TensorFlow does: by what the output needs, the odd pixel at the end.

    Symmetric padding would move every map of a trained encoder by half a pixel.
    """

    def forward(self, x: Tensor) -> Tensor:
        (top, bottom), (left, right) = (self.padding_of(side) for side in x.shape[2:])
        return super().forward(F.pad(x, (left, right, top, bottom)))

    def padding_of(self, side: int) -> tuple[int, int]:
        """Zeros before and after a side."""
        total = max(0, (-(-side // 2) - 1) * 2 + self.kernel_size[0] - side)
        return total // 2, total - total // 2


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution without bias, BN as the weights were trained with, ReLU6."""
    conv = (
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        if stride == 1
        else HalvingConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
    )
    return nn.Sequential(conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01), nn.ReLU6(inplace=True))
