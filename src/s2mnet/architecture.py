"""The network of a plan or a stored model: S2M-Net, or a network of MONAI trained and stored in the same way."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from s2mnet.network import S2MNet
from s2mnet.network.hub import HubNetwork

OURS = "s2mnet"
PEERS_MODULE = "monai.networks.nets"
_REGISTERED: dict[str, type[nn.Module]] = {}


def register(kind: type[nn.Module]) -> type[nn.Module]:
    """Make a network class known by its name, besides those of MONAI; a decorator for networks to compare with.

    It is called as MONAI's are: ``kind(spatial_dims=2, in_channels=…, out_channels=…, **arguments)``. A stored model
    of it loads only where the module that registers it has been imported.
    """
    _REGISTERED[kind.__name__] = kind
    return kind


class PeerNetwork(HubNetwork, library_name="s2mnet"):
    """A 2-D network of MONAI, called and stored like :class:`s2mnet.S2MNet`. It has no boundary maps.

    Args:
        architecture: name of a class in ``monai.networks.nets``, or of one that was registered (:func:`register`).
        in_channels, num_classes: as for :class:`s2mnet.S2MNet`.
        arguments: further arguments of the class, as JSON values.

    Shape:
        (B, in_channels, H, W) → logits (B, num_classes, H, W).

    Raises:
        ValueError: an unknown class, or one that needs a package that is not installed.
        TypeError: an argument that the class does not take.

    Example:
        >>> import torch
        >>> options = {"channels": [8, 16], "strides": [2]}
        >>> PeerNetwork("UNet", 3, 1, options)(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(
        self,
        architecture: str,
        in_channels: int = 3,
        num_classes: int = 1,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        kind = _REGISTERED.get(architecture) or getattr(importlib.import_module(PEERS_MODULE), architecture, None)
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise ValueError(f"{architecture!r} is neither {OURS} nor a network class in {PEERS_MODULE}")
        try:
            self.network = kind(spatial_dims=2, in_channels=in_channels, out_channels=num_classes, **(arguments or {}))
        except ImportError as error:  # MONAI imports optional packages only when it builds a network
            raise ValueError(f'{architecture} needs another package: pip install "s2mnet[lab]" ({error})') from None

    def forward(self, x: Tensor, return_boundaries: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        logits = self.network(x)
        logits = logits[0] if isinstance(logits, list) else logits  # BasicUNetPlusPlus returns a list of one map
        return (logits, []) if return_boundaries else logits


def build_architecture(
    name: str, in_channels: int, num_classes: int, arguments: Mapping[str, Any]
) -> S2MNet | PeerNetwork:
    """Build an untrained network.

    Args:
        name: "s2mnet", or a class in ``monai.networks.nets``.
        in_channels, num_classes: channels of the image and of the logits.
        arguments: further arguments of :class:`s2mnet.S2MNet` or of the class.

    Raises:
        TypeError, ValueError: an unknown name or argument.

    Example:
        >>> networks = build_architecture("s2mnet", 3, 1, {}), build_architecture("BasicUNet", 3, 1, {})
        >>> [round(sum(p.numel() for p in network.parameters()) / 1e6, 1) for network in networks]
        [4.7, 2.0]
    """
    if name == OURS:
        return S2MNet(in_channels, num_classes, **checked_types(arguments))
    return PeerNetwork(name, in_channels, num_classes, dict(arguments))


def checked_types(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Arguments of :class:`s2mnet.S2MNet` from a file, after a look at their types.

    Raises:
        ValueError: one has another type than the constructor declares. Python would take it and fail in the forward
            pass, or compute something else.

    Example:
        >>> checked_types({"dropout": 0, "channels": [8] * 5})["dropout"]
        0
        >>> checked_types({"complex_filter": "no"})
        Traceback (most recent call last):
        ValueError: complex_filter is 'no': Input should be a valid boolean
    """
    declared = get_type_hints(S2MNet.__init__)
    for name in arguments.keys() & declared.keys():
        try:
            TypeAdapter(declared[name]).validate_python(arguments[name], strict=True)
        except ValidationError as error:
            shown = repr(arguments[name])[:40]
            raise ValueError(f"{name} is {shown}: {error.errors()[0]['msg']}") from None
    return arguments


def architecture_of(network: S2MNet | PeerNetwork) -> tuple[str, dict[str, Any]]:
    """The name and the arguments from which :func:`build_architecture` builds this network again.

    Example:
        >>> name, arguments = architecture_of(build_architecture("s2mnet", 3, 1, {"stem_channels": 8}))
        >>> name, arguments["stem_channels"], arguments["head"]
        ('s2mnet', 8, 'stem')
    """
    stored = cast("dict[str, Any]", network._hub_mixin_config)
    if isinstance(network, PeerNetwork):
        return stored["architecture"], dict(stored.get("arguments") or {})
    own = inspect.signature(S2MNet).parameters.keys() - {"in_channels", "num_classes"}
    return OURS, {name: value for name, value in stored.items() if name in own}
