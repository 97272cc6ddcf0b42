"""The networks that are compared, each mapping (B, 3, H, W) to logits (B, 1, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from s2mnet.errors import S2MNetError
from s2mnet.network import S2MNet
from s2mnet.network.depthwise import DepthwiseConv2d
from s2mnet.network.mrf import MultiReceptiveFieldSE

FORMS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Contestant:
    """A network of the comparison.

    Attributes:
        name: for `--contestant`.
        title: for tables and charts.
        build: side of the square input → the network, untrained.
        forms: memory formats it may run in; of several, the one that is faster for it is taken.
        engine: what multiplies at inference, see :mod:`s2mnet.engines`; empty for PyTorch as it stands, which trains.
        keeps_memory: runs as in our commands, see :mod:`s2mnet.allocator`; else as in a plain script.
    """

    name: str
    title: str
    build: Callable[[int], nn.Module]
    forms: Sequence[str] = tuple(FORMS)
    engine: Literal["", "torch", "openvino"] = ""
    keeps_memory: bool = True


class _FirstOutput(nn.Module):
    """U-Net++ gives a list of maps; without deep supervision it has one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[0]


def straightforward() -> nn.Module:
    """The default S2M-Net as one would write it down: torch's own layers, one after the other, none in place."""
    network = S2MNet()
    for parent in list(network.modules()):
        if isinstance(parent, MultiReceptiveFieldSE):
            parent.in_chunks = False
        for name, child in parent.named_children():
            if isinstance(child, nn.ELU | nn.ReLU):
                child.inplace = False
            if isinstance(child, DepthwiseConv2d):
                channels, size = child.in_channels, child.kernel_size[0]
                plain = nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False)
                setattr(parent, name, plain)
    return network


def _unet() -> nn.Module:
    from monai.networks.nets import BasicUNet

    return BasicUNet(2, 3, 1, features=(64, 128, 256, 512, 1024, 64))


def _unet_plus_plus() -> nn.Module:
    from monai.networks.nets import BasicUNetPlusPlus

    return _FirstOutput(BasicUNetPlusPlus(2, 3, 1, features=(32, 64, 128, 256, 512, 32)))


def _attention_unet() -> nn.Module:
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(2, 3, 1, channels=(64, 128, 256, 512, 1024), strides=(2, 2, 2, 2))


def _nnunet() -> nn.Module:
    from monai.networks.nets import DynUNet

    filters = [32, 64, 128, 256, 512, 512]  # six stages: a seventh needs sides that 64 divides, which 352 is not
    steps = [2] * (len(filters) - 1)
    return DynUNet(
        2, 3, 1, kernel_size=[3] * len(filters), strides=[1, *steps], upsample_kernel_size=steps, filters=filters
    )


def _segresnet() -> nn.Module:
    from monai.networks.nets import SegResNet

    return SegResNet(2, 32, 3, 1, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))


def _swin_unetr() -> nn.Module:
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(3, 1, feature_size=48, spatial_dims=2)


def _mednext_s() -> nn.Module:
    from monai.networks.nets import MedNeXtS

    return MedNeXtS(spatial_dims=2, in_channels=3, out_channels=1)


def _unetr(size: int) -> nn.Module:
    from monai.networks.nets import UNETR

    return UNETR(3, 1, img_size=size, spatial_dims=2)


# Widths are those of the papers. U-Net++ is the paper's 9 M form, not MONAI's default of 2.4 M.
_PEERS = (
    Contestant("unet", "U-Net", lambda size: _unet()),
    Contestant("unet++", "U-Net++", lambda size: _unet_plus_plus()),
    Contestant("attention-unet", "Attention U-Net", lambda size: _attention_unet()),
    Contestant("nnunet", "DynUNet (nnU-Net)", lambda size: _nnunet()),
    Contestant("segresnet", "SegResNet", lambda size: _segresnet()),
    Contestant("swinunetr", "SwinUNETR", lambda size: _swin_unetr()),
    Contestant("mednext-s", "MedNeXt-S", lambda size: _mednext_s()),
    Contestant("unetr", "UNETR", _unetr),
)
_OURS = Contestant("s2mnet", "S2M-Net", lambda size: S2MNet(), ("channels_last",))
_STRAIGHTFORWARD = Contestant(
    "s2mnet-straightforward",
    "S2M-Net, straightforward",
    lambda size: straightforward(),
    ("contiguous",),
    keeps_memory=False,
)
CONTESTANTS: dict[str, Contestant] = {
    contestant.name: contestant
    for contestant in (
        _OURS,
        replace(_OURS, name="s2mnet-light", title="S2M-Net, light head", build=lambda size: S2MNet(head="light")),
        replace(
            _OURS, name="s2mnet-released", title="S2M-Net, released head", build=lambda size: S2MNet(head="released")
        ),
        _STRAIGHTFORWARD,
        replace(
            _STRAIGHTFORWARD,
            name="s2mnet-straightforward-kept",
            title="S2M-Net, straightforward, freed memory kept",
            keeps_memory=True,
        ),
        replace(_OURS, name="s2mnet-torch", title="S2M-Net, torch engine", engine="torch"),
        *_PEERS,
        *(
            replace(
                one,
                name=f"{one.name}-openvino",
                title=f"{one.title}, OpenVINO",
                forms=("contiguous",),
                engine="openvino",
            )
            for one in (_OURS, *_PEERS)
        ),
    )
}


def chosen(names: Sequence[str]) -> list[Contestant]:
    """The contestants of these names, all if there are none.

    Raises:
        S2MNetError: an unknown name.

    Example:
        >>> [contestant.title for contestant in chosen(["unet", "s2mnet"])]
        ['U-Net', 'S2M-Net']
    """
    for name in names:
        if name not in CONTESTANTS:
            raise S2MNetError("--contestant", repr(name), "one of " + ", ".join(CONTESTANTS), "Name one of these.")
    return [CONTESTANTS[name] for name in dict.fromkeys(names or CONTESTANTS)]
