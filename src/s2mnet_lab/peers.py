"""The networks that S2M-Net is compared with: classes of MONAI in the widths of their papers, and one of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from s2mnet.architecture import PeerNetwork
from s2mnet.errors import S2MNetError
from s2mnet_lab.imagenet_unet import ImageNetUNet


@dataclass(frozen=True)
class Peer:
    """A network to compare with.

    Attributes:
        title: for tables and charts.
        architecture: its class in ``monai.networks.nets``.
        arguments: of the class, besides its channels.
        fixed_size: whether the class also takes the side of its input.
    """

    title: str
    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    fixed_size: bool = False

    def arguments_at(self, size: int) -> dict[str, Any]:
        """The arguments for square inputs of a side in pixels, a multiple of 32."""
        return self.arguments | ({"img_size": size} if self.fixed_size else {})

    def build(self, in_channels: int, num_classes: int, size: int) -> PeerNetwork:
        """The untrained network.

        Example:
            >>> network = PEERS["residual-unet"].build(3, 1, 64)
            >>> round(sum(p.numel() for p in network.parameters()) / 1e6, 1)
            1.6
        """
        return PeerNetwork(self.architecture, in_channels, num_classes, self.arguments_at(size))


# U-Net++ has the paper's 9 M parameters; MONAI's default has 2.4 M. DynUNet has six stages: a seventh needs sides
# that are multiples of 64, and 352 is not. The last two are small enough to train on a laptop.
PEERS: dict[str, Peer] = {
    "unet": Peer("U-Net", "BasicUNet", {"features": [64, 128, 256, 512, 1024, 64]}),
    "unet++": Peer("U-Net++", "BasicUNetPlusPlus", {"features": [32, 64, 128, 256, 512, 32]}),
    "attention-unet": Peer(
        "Attention U-Net", "AttentionUnet", {"channels": [64, 128, 256, 512, 1024], "strides": [2, 2, 2, 2]}
    ),
    "nnunet": Peer(
        "DynUNet (nnU-Net)",
        "DynUNet",
        {
            "kernel_size": [3] * 6,
            "strides": [1, 2, 2, 2, 2, 2],
            "upsample_kernel_size": [2] * 5,
            "filters": [32, 64, 128, 256, 512, 512],
        },
    ),
    "segresnet": Peer(
        "SegResNet", "SegResNet", {"init_filters": 32, "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1]}
    ),
    "swinunetr": Peer("SwinUNETR", "SwinUNETR", {"feature_size": 48}),
    "mednext-s": Peer("MedNeXt-S", "MedNeXt", {"kernel_size": 3, "use_residual_connection": True}),
    "unetr": Peer("UNETR", "UNETR", fixed_size=True),
    "residual-unet": Peer(
        "residual U-Net, 1.6 M",
        "UNet",
        {"channels": [16, 32, 64, 128, 256], "strides": [2, 2, 2, 2], "num_res_units": 2},
    ),
    "basic-unet": Peer("basic U-Net, 2.0 M", "BasicUNet"),
    "imagenet-unet": Peer("U-Net over EfficientNet-Lite0, ImageNet", ImageNetUNet.__name__),
}


def peer(name: str) -> Peer:
    """The peer with this short name, as study files use it.

    Raises:
        S2MNetError: an unknown name.
    """
    if name not in PEERS:
        raise S2MNetError("architecture", f"{name!r} is unknown", f"Choose one of s2mnet, {', '.join(PEERS)}.")
    return PEERS[name]
