"""Networks by name: S2M-Net, and those of MONAI that it is compared with, trained and stored in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from s2mnet.network import S2MNet

OURS = "s2mnet"


@dataclass(frozen=True)
class Peer:
    """A network to compare with.

    Attributes:
        title: for tables and charts.
        build: (channels of the image, channels of the logits, side of the input) → the network, untrained.
    """

    title: str
    build: Callable[[int, int, int], nn.Module]


class PeerNetwork(nn.Module, PyTorchModelHubMixin, library_name="s2mnet"):
    """A network of MONAI, called and stored as an S2M-Net is; it has no boundary maps.

    Args:
        architecture: one of :data:`PEERS`.
        in_channels, num_classes: as of :class:`s2mnet.S2MNet`.
        size: side of its square input in pixels, a multiple of 32.

    Shape:
        (B, in_channels, size, size) → logits (B, num_classes, size, size).

    Raises:
        ValueError: an unknown architecture, or one that needs a package which is not installed.

    Example:
        >>> import torch
        >>> PeerNetwork("residual-unet", 3, 1, 64)(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(self, architecture: str, in_channels: int = 3, num_classes: int = 1, size: int = 352) -> None:
        super().__init__()
        if architecture not in PEERS:
            raise ValueError(f"unknown architecture {architecture!r}; choose one of {', '.join([OURS, *PEERS])}")
        try:
            self.network = PEERS[architecture].build(in_channels, num_classes, size)
        except ImportError as error:  # of what MONAI asks for only when it is used
            raise ValueError(f'{architecture} needs another package: pip install "s2mnet[lab]" ({error})') from None

    def forward(self, x: Tensor, return_boundaries: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        logits = self.network(x)
        logits = logits[0] if isinstance(logits, list) else logits  # U-Net++ gives a list of one map
        return (logits, []) if return_boundaries else logits


def build_architecture(
    name: str, in_channels: int, num_classes: int, size: int, options: Mapping[str, Any]
) -> S2MNet | PeerNetwork:
    """A network, untrained.

    Args:
        name: "s2mnet" or one of :data:`PEERS`.
        in_channels, num_classes: of the image and of the logits.
        size: side of the input; S2M-Net takes any.
        options: further arguments of :class:`s2mnet.S2MNet`; the others have none.

    Raises:
        TypeError, ValueError: an unknown name or option.

    Example:
        >>> count = lambda network: sum(p.numel() for p in network.parameters())
        >>> [round(count(build_architecture(name, 3, 1, 128, {})) / 1e6, 1) for name in ("s2mnet", "basic-unet")]
        [4.7, 2.0]
    """
    if name == OURS:
        return S2MNet(in_channels, num_classes, **options)
    if options:
        raise ValueError(f"{name} takes no options of its own, found {', '.join(options)}")
    return PeerNetwork(name, in_channels, num_classes, size)


def _unet(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, inputs, outputs, features=(64, 128, 256, 512, 1024, 64))


def _basic_unet(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, inputs, outputs)


def _residual_unet(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import UNet

    return UNet(2, inputs, outputs, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2)


def _unet_plus_plus(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import BasicUNetPlusPlus

    return BasicUNetPlusPlus(2, inputs, outputs, features=(32, 64, 128, 256, 512, 32))


def _attention_unet(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, inputs, outputs, channels=(64, 128, 256, 512, 1024), strides=(2, 2, 2, 2))


def _nnunet(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import DynUNet

    filters = [32, 64, 128, 256, 512, 512]  # six stages: a seventh needs sides that 64 divides, which 352 is not
    steps = [2] * (len(filters) - 1)
    return DynUNet(
        2,
        inputs,
        outputs,
        kernel_size=[3] * len(filters),
        strides=[1, *steps],
        upsample_kernel_size=steps,
        filters=filters,
    )


def _segresnet(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import SegResNet

    return SegResNet(2, 32, inputs, outputs, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))


def _swin_unetr(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(inputs, outputs, feature_size=48, spatial_dims=2)


def _mednext_s(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import MedNeXtS

    return MedNeXtS(spatial_dims=2, in_channels=inputs, out_channels=outputs)


def _unetr(inputs: int, outputs: int, size: int) -> nn.Module:
    from monai.networks.nets import UNETR

    return UNETR(inputs, outputs, img_size=size, spatial_dims=2)


# Widths are those of the papers. U-Net++ is the paper's 9 M form, not MONAI's default of 2.4 M; the last two are what
# a laptop trains.
PEERS: dict[str, Peer] = {
    "unet": Peer("U-Net", _unet),
    "unet++": Peer("U-Net++", _unet_plus_plus),
    "attention-unet": Peer("Attention U-Net", _attention_unet),
    "nnunet": Peer("DynUNet (nnU-Net)", _nnunet),
    "segresnet": Peer("SegResNet", _segresnet),
    "swinunetr": Peer("SwinUNETR", _swin_unetr),
    "mednext-s": Peer("MedNeXt-S", _mednext_s),
    "unetr": Peer("UNETR", _unetr),
    "residual-unet": Peer("residual U-Net, 1.6 M", _residual_unet),
    "basic-unet": Peer("basic U-Net, 2.0 M", _basic_unet),
}
