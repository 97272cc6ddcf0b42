"""The networks that the benchmark compares. Each maps (B, 3, H, W) to logits (B, 1, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from s2mnet.errors import S2MNetError
from s2mnet.network import S2MNet
from s2mnet.network.fast import accelerate
from s2mnet_lab.peers import PEERS

FORMS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Contestant:
    """A network of the comparison.

    Attributes:
        name: for `--contestant`.
        title: for tables and charts.
        build: side of the square input → the untrained network.
        forms: memory formats to choose from; the fastest is used.
        engine: engine for inference, see :mod:`s2mnet.engines`. Empty: eager PyTorch, which can also train.
        keeps_memory: keep freed memory as our commands do, see :mod:`s2mnet.allocator`; False: as in a plain script.
        compiled: whether torch.compile compiles the whole network.
    """

    name: str
    title: str
    build: Callable[[int], nn.Module]
    forms: Sequence[str] = tuple(FORMS)
    engine: Literal["", "torch", "openvino"] = ""
    keeps_memory: bool = True
    compiled: bool = False


def ours(**options: Any) -> nn.Module:
    """S2M-Net as our commands train it: with its fast forms, which stand aside on a GPU."""
    return accelerate(S2MNet(**options), "train", "cpu").network


def straightforward() -> nn.Module:
    """The default S2M-Net in plain PyTorch, as SPEC 1 describes it."""
    return S2MNet()


def _peer(name: str) -> Contestant:
    return Contestant(name, PEERS[name].title, lambda size: PEERS[name].build(3, 1, size))


_PEERS = tuple(_peer(name) for name in PEERS)
_OURS = Contestant("s2mnet", "S2M-Net", lambda size: ours(), ("channels_last",))
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
        replace(_OURS, name="s2mnet-light", title="S2M-Net, light head", build=lambda size: ours(head="light")),
        replace(
            _OURS, name="s2mnet-released", title="S2M-Net, released head", build=lambda size: ours(head="released")
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
        *(
            replace(one, name=f"{one.name}-compiled", title=f"{one.title}, compiled", compiled=True)
            for one in (_OURS, *_PEERS)
        ),
    )
}


def chosen(names: Sequence[str], device: str = "cpu") -> list[Contestant]:
    """The contestants with these names. Default: all, with compiled ones on a GPU only: a CPU compiles for minutes.

    Raises:
        S2MNetError: an unknown name.

    Example:
        >>> [contestant.title for contestant in chosen(["unet", "s2mnet"])]
        ['U-Net', 'S2M-Net']
    """
    for name in names:
        if name not in CONTESTANTS:
            raise S2MNetError("--contestant", f"{name!r} is unknown", f"Choose one of {', '.join(CONTESTANTS)}.")
    usual = [name for name, one in CONTESTANTS.items() if device != "cpu" or not one.compiled]
    return [CONTESTANTS[name] for name in dict.fromkeys(names or usual)]
