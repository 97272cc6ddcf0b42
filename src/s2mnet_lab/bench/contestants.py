"""The networks that are compared, each mapping (B, 3, H, W) to logits (B, 1, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from s2mnet.architecture import PEERS, PeerNetwork
from s2mnet.errors import S2MNetError
from s2mnet.network import S2MNet
from s2mnet.network.fast import accelerate

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
        compiled: by torch.compile as a whole.
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
    return Contestant(name, PEERS[name].title, lambda size: PeerNetwork(name, size=size))


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
    """The contestants of these names; if there are none, all, compiled ones on a GPU only: a CPU compiles for minutes.

    Raises:
        S2MNetError: an unknown name.

    Example:
        >>> [contestant.title for contestant in chosen(["unet", "s2mnet"])]
        ['U-Net', 'S2M-Net']
    """
    for name in names:
        if name not in CONTESTANTS:
            raise S2MNetError("--contestant", repr(name), "one of " + ", ".join(CONTESTANTS), "Name one of these.")
    usual = [name for name, one in CONTESTANTS.items() if device != "cpu" or not one.compiled]
    return [CONTESTANTS[name] for name in dict.fromkeys(names or usual)]
