"""The upsampling of a decoder stage, with a gradient that PyTorch takes back quickly."""

from __future__ import annotations

import torch
from torch import Tensor

from s2mnet.network.decoder import UpsampleAndConcat


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
