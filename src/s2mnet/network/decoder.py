"""The boundary-focused decoder stage, BFD (SPEC 1.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.network.mrf import conv_norm

ROUTINGS = ("soft", "hard", "learned", "none")


class BoundaryFocusedDecoderStage(nn.Module):
    """One decoder stage with a region stream, a boundary stream and routing between them (SPEC 1.3).

    With u = concat(up_bilinear(decoder), skip)::

        r = (3×3, BN, ReLU) twice on u                    region stream
        β = σ(1×1(ReLU(3×3 → C/2 (r))))                   boundary probability, one channel
        b = (3×3, BN, ReLU) on r ⊙ β                      boundary stream
        z = r ⊙ (1−β) + b ⊙ β                             soft routing
        out = 1×1, BN, ReLU on z

    Args:
        in_channels: channels of the deeper decoder map.
        skip_channels: channels of the skip map.
        out_channels: channels of the result.
        routing: ``"soft"`` as above; ``"hard"`` routes by β > 0.5 (the gradient passes to β as if it were soft);
            ``"learned"`` replaces (1−β, β) in the sum by a two-way softmax predicted from r; ``"none"``
            concatenates r and b.

    Shape:
        decoder (B, in_channels, h, w), skip (B, skip_channels, H, W) → out (B, out_channels, H, W), β (B, 1, H, W).

    Raises:
        ValueError: for an unknown routing.

    Example:
        >>> stage = BoundaryFocusedDecoderStage(128, 80, 80)
        >>> out, boundary = stage(torch.randn(2, 128, 3, 4), torch.randn(2, 80, 6, 7))
        >>> out.shape, boundary.shape
        (torch.Size([2, 80, 6, 7]), torch.Size([2, 1, 6, 7]))
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, routing: str = "soft") -> None:
        super().__init__()
        if routing not in ROUTINGS:
            raise ValueError(f"unknown routing {routing!r}; choose one of {', '.join(map(repr, ROUTINGS))}")
        self.routing = routing
        channels = out_channels
        self.join = UpsampleAndConcat()
        self.region = double_conv(in_channels + skip_channels, channels)
        self.boundary_probability = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(channels // 2, 1, 1)
        )
        self.boundary = conv_norm(channels, channels, 3, nn.ReLU(inplace=True))
        self.route = nn.Conv2d(channels, 2, 1) if routing == "learned" else None
        self.out = conv_norm(2 * channels if routing == "none" else channels, channels, 1, nn.ReLU(inplace=True))

    def forward(self, decoder: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        return self.finish(self.start(decoder, skip))

    def start(self, decoder: Tensor, skip: Tensor) -> Tensor:
        """Up to the first convolution of the region stream, half of the stage's arithmetic."""
        return self.region[0](self.join(decoder, skip))

    def finish(self, started: Tensor) -> tuple[Tensor, Tensor]:
        """The rest of the stage: its output and β."""
        r = self.region[1](started)
        beta = torch.sigmoid(self.boundary_probability(r))
        b = self.boundary(r * beta)
        if self.routing == "none":
            return self.out(torch.cat([r, b], 1)), beta
        if self.route is not None:
            to_region, to_boundary = self.route(r).softmax(1).chunk(2, 1)
            return self.out(r * to_region + b * to_boundary), beta
        gate = beta
        if self.routing == "hard":
            gate = (beta > 0.5).to(beta.dtype) + (beta - beta.detach())  # the sum is exactly 0 or 1
        return self.out(r * (1 - gate) + b * gate), beta


class PlainDecoderStage(nn.Module):
    """The decoder stage of a plain U-Net, for the ablation "no BFD" (SPEC 3.2). It returns None in place of β."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.join = UpsampleAndConcat()
        self.convs = double_conv(in_channels + skip_channels, out_channels)

    def forward(self, decoder: Tensor, skip: Tensor) -> tuple[Tensor, None]:
        return self.finish(self.start(decoder, skip))

    def start(self, decoder: Tensor, skip: Tensor) -> Tensor:
        """Up to the first convolution."""
        return self.convs[0](self.join(decoder, skip))

    def finish(self, started: Tensor) -> tuple[Tensor, None]:
        """The second convolution; there is no β."""
        return self.convs[1](started), None


class UpsampleAndConcat(nn.Module):
    """Bilinear upsampling of the decoder map to the size of the skip map, then both, channel by channel."""

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        return torch.cat([self.upsample(decoder, skip), skip], 1)

    def upsample(self, decoder: Tensor, skip: Tensor) -> Tensor:
        return F.interpolate(decoder, size=skip.shape[2:], mode="bilinear", align_corners=False)


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """(3×3, BN, ReLU) twice."""
    return nn.Sequential(
        conv_norm(inputs, outputs, 3, nn.ReLU(inplace=True)), conv_norm(outputs, outputs, 3, nn.ReLU(inplace=True))
    )
