"""A U-Net over EfficientNet-Lite0 with ImageNet weights: what a user would take instead of S2M-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.architecture import register
from s2mnet.network import S2MNet
from s2mnet.network.efficientnet import STEM_CHANNELS, WIDTHS
from s2mnet.network.pretrained import load_imagenet


@register
class ImageNetUNet(nn.Module):
    """The U-Net of segmentation_models.pytorch with the encoder "timm-tf_efficientnet_lite0" and its default decoder.

    Each of five decoder blocks doubles the size (nearest), joins the map of the encoder of that size and applies (3×3,
    BN, ReLU) twice; the last has no map to join. The head is a 3×3 convolution. As there, the map at half of the size
    is that of the encoder's stem. That package cannot be imported beside the CPU build of torch here.

    Args:
        spatial_dims: 2.
        in_channels, out_channels: channels of the image and of the logits.
        decoder_channels: width of the decoder's blocks, deepest first.
        imagenet: whether the encoder starts from the ImageNet weights.

    Shape:
        (B, in_channels, H, W), any H, W ≥ 32 → (B, out_channels, H, W).

    Example:
        >>> ImageNetUNet(2, 3, 2)(torch.rand(2, 3, 64, 80)).shape
        torch.Size([2, 2, 64, 80])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        imagenet: bool = True,
    ) -> None:
        super().__init__()
        if spatial_dims != 2:
            raise ValueError(f"this network has 2 spatial dimensions, found {spatial_dims}")
        source = S2MNet(in_channels, encoder="lite0")
        if imagenet:
            load_imagenet(source)
        self.stages = source.stages
        deeper, blocks = WIDTHS[-1], []
        for skip, width in zip((*WIDTHS[-2:0:-1], STEM_CHANNELS, 0), decoder_channels, strict=True):
            blocks.append(nn.Sequential(*_conv(deeper + skip, width), *_conv(width, width)))
            deeper = width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(deeper, out_channels, 3, padding=1)
        for part in [part for part in self.blocks.modules() if isinstance(part, nn.Conv2d)]:
            nn.init.kaiming_uniform_(part.weight, mode="fan_in", nonlinearity="relu")
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.constant_(cast(nn.Parameter, self.head.bias), 0)

    def forward(self, x: Tensor) -> Tensor:
        sizes, maps = [x.shape[2:]], []
        stem, *rest = cast(nn.Sequential, self.stages[0])
        y = stem(x)
        maps.append(y)
        for stage in (nn.Sequential(*rest), *self.stages[1:]):
            y = stage(y)
            maps.append(y)
        skips: list[Tensor | None] = [None, maps[0], *maps[2:-1]]
        sizes += [map.shape[2:] for map in (maps[0], *maps[2:-1])]
        for block in self.blocks:
            y, skip = F.interpolate(y, size=sizes.pop(), mode="nearest"), skips.pop()
            y = block(y if skip is None else torch.cat([y, skip], 1))
        return self.head(y)


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
