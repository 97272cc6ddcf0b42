"""The heads between the last decoder map at H/2 and the logits at H (SPEC 1)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.network.mrf import conv_norm


class LightHead(nn.Module):
    """The paper's head: 1×1 to the classes and ×2 bilinear, which commute, so the convolution runs at H/2."""

    def __init__(self, channels: int, stem_channels: int, num_classes: int) -> None:
        super().__init__()
        self.classify = nn.Conv2d(channels, num_classes, 1)

    def forward(self, decoder: Tensor, stem: Tensor) -> Tensor:
        return F.interpolate(self.classify(decoder), size=stem.shape[2:], mode="bilinear", align_corners=False)


class ReleasedHead(nn.Module):
    """The released head: nearest ×2, 3×3 → 32, 3×3 → 16, each BN, ReLU, then 1×1 to the classes, all at H."""

    def __init__(self, channels: int, stem_channels: int, num_classes: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_norm(channels, 32, 3, nn.ReLU(inplace=True)), conv_norm(32, 16, 3, nn.ReLU(inplace=True))
        )
        self.classify = nn.Conv2d(16, num_classes, 1)

    def forward(self, decoder: Tensor, stem: Tensor) -> Tensor:
        return self.classify(self.convs(F.interpolate(decoder, size=stem.shape[2:], mode="nearest")))


class StemHead(nn.Module):
    """Ours: the decoder, brought to the stem's width and ×2 bilinear, plus the stem, then 3×3, BN, ReLU, 1×1 at H.

    The stem's channels are the only full-resolution features of the network, and thin structures need them (SPEC 1).
    A sum instead of a concatenation halves the cost of the one convolution at H.
    """

    def __init__(self, channels: int, stem_channels: int, num_classes: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, stem_channels, 1)
        self.conv = conv_norm(stem_channels, stem_channels, 3, nn.ReLU(inplace=True))
        self.classify = nn.Conv2d(stem_channels, num_classes, 1)

    def forward(self, decoder: Tensor, stem: Tensor) -> Tensor:
        up = F.interpolate(self.reduce(decoder), size=stem.shape[2:], mode="bilinear", align_corners=False)
        return self.classify(self.conv(up + stem))


HEADS: dict[str, type[nn.Module]] = {"stem": StemHead, "light": LightHead, "released": ReleasedHead}


def build_head(name: str, channels: int, stem_channels: int, num_classes: int) -> nn.Module:
    """The head called ``name``: decoder (B, channels, H/2, W/2) and stem (B, stem_channels, H, W) → logits at H.

    Example:
        >>> import torch
        >>> build_head("light", 24, 16, 3)(torch.randn(1, 24, 16, 20), torch.randn(1, 16, 32, 39)).shape
        torch.Size([1, 3, 32, 39])
    """
    if name not in HEADS:
        raise ValueError(f"unknown head {name!r}; choose one of {', '.join(map(repr, HEADS))}")
    return HEADS[name](channels, stem_channels, num_classes)
