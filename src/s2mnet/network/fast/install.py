"""The one place that decides which fast forms a network gets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, cast, get_args

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from s2mnet.device import plain_forms
from s2mnet.network.decoder import BoundaryFocusedDecoderStage, PlainDecoderStage, UpsampleAndConcat
from s2mnet.network.efficientnet import HalvingConv2d, InvertedResidual
from s2mnet.network.fast.depthwise import FastDepthwiseConv2d
from s2mnet.network.fast.fused import compiler_found
from s2mnet.network.fast.halving import FastHalvingDepthwise
from s2mnet.network.fast.mrf import ChunkedMRF, SplitMRF
from s2mnet.network.fast.operations import FastDropout, FastUpsampleAndConcat
from s2mnet.network.fast.spectral import FrozenSpectralFilter, KeptTablesFilter
from s2mnet.network.fast.spectral_training import CompiledFilter, observation
from s2mnet.network.mixer import SpectralSelectiveTokenMixer
from s2mnet.network.mrf import MultiReceptiveFieldSE
from s2mnet.network.spectral import TruncatedSpectralFilter

Purpose = Literal["train", "predict"]
Network = TypeVar("Network", bound=nn.Module)

_BLOCKS = (
    MultiReceptiveFieldSE,
    SpectralSelectiveTokenMixer,
    TruncatedSpectralFilter,
    BoundaryFocusedDecoderStage,
    PlainDecoderStage,
    InvertedResidual,
)


@dataclass(frozen=True)
class Accelerated(Generic[Network]):
    """A network and the names of the fast forms installed in it, in a fixed order."""

    network: Network
    installed: list[str]


def accelerate(network: Network, purpose: Purpose, device: torch.device | str | None = None) -> Accelerated[Network]:
    """Install the fast forms for a purpose. Each uses the plain form for inputs that it does not cover.

    Args:
        network: S2M-Net, a block of it, or any other network, which gets what applies to it.
        purpose: "train" changes the classes of modules in place and keeps parameters, buffers and state-dict keys, so
            it may be called before or after an optimiser is made or weights are loaded. "predict" leaves the network
            as it is and returns a frozen copy in eval mode; fused batch norms change its keys.
        device: where it will run; by default where its parameters are. Training has fast forms on a CPU only; those
            for prediction serve every device.

    Returns:
        The network, and what was installed: nothing if the environment variable ``S2MNET_PLAIN`` is 1.

    Raises:
        ValueError: an unknown purpose.

    Example:
        >>> from s2mnet.network import S2MNet
        >>> network, x = S2MNet().eval(), torch.rand(1, 3, 32, 40)
        >>> copied = accelerate(network, "predict")
        >>> copied.installed
        ['fused batch norms', 'MRF-SE without concatenation', 'frozen spectral filters']
        >>> torch.allclose(copied.network(x), network(x), atol=1e-5)
        True
    """
    if purpose not in get_args(Purpose):
        raise ValueError(f"unknown purpose {purpose!r}; choose one of {', '.join(map(repr, get_args(Purpose)))}")
    plain = plain_forms()
    if purpose == "predict":
        frozen = copy.deepcopy(network).eval().requires_grad_(False)
        return Accelerated(frozen, [] if plain else _prepare_prediction(frozen))
    if device is None:
        device = next((parameter.device for parameter in network.parameters()), "cpu")
    on_cpu = torch.device(device).type == "cpu"
    return Accelerated(network, [] if plain or not on_cpu else _prepare_training(network))


def _prepare_training(network: nn.Module) -> list[str]:
    compiler = compiler_found()
    in_cpp = compiler and observation() is not None
    forms: list[tuple[type[nn.Module], type[nn.Module], str]] = [
        (MultiReceptiveFieldSE, ChunkedMRF, "MRF-SE in chunks" + (", compiled steps" if compiler else "")),
        (nn.Conv2d, FastDepthwiseConv2d, "depthwise gradients"),
        (HalvingConv2d, FastHalvingDepthwise, "depthwise gradients of stride 2"),
        (TruncatedSpectralFilter, CompiledFilter, "spectral filters in C++")
        if in_cpp
        else (TruncatedSpectralFilter, KeptTablesFilter, "spectral filters with kept tables"),
        (UpsampleAndConcat, FastUpsampleAndConcat, "upsampling gradients"),
        (nn.Dropout, FastDropout, "dropout"),
    ]
    # Only parts of our blocks: a network of another kind stays as its authors wrote it.
    parts = {part for block in network.modules() if isinstance(block, _BLOCKS) for part in block.modules()}
    installed = []
    for plain, fast, name in forms:
        fits = getattr(fast, "fits", lambda part: True)
        fitting = [part for part in parts if type(part) in (plain, fast) and fits(cast(Any, part))]
        for part in fitting:
            part.__class__ = fast
        installed += [name] if fitting else []
    return installed


def _prepare_prediction(network: nn.Module) -> list[str]:
    fused = fuse_batch_norms(network)
    installed = ["fused batch norms"] if fused else []
    forms: list[tuple[type[nn.Module], Callable[[Any], nn.Module], str]] = [
        (MultiReceptiveFieldSE, SplitMRF, "MRF-SE without concatenation"),
        (TruncatedSpectralFilter, FrozenSpectralFilter, "frozen spectral filters"),
    ]
    for plain, fast, name in forms:
        places = [(parent, key, part) for parent in network.modules() for key, part in parent.named_children()]
        fitting = [place for place in places if isinstance(place[2], plain)]
        for parent, key, part in fitting:
            setattr(parent, key, fast(part))
        installed += [name] if fitting else []
    return installed


def fuse_batch_norms(network: nn.Module) -> int:
    """Fuse every batch norm, in place, into the convolution before it; return how many there were.

    A batch norm at inference is a gain and an offset for each channel, which the convolution can apply itself.

    Args:
        network: frozen, in eval mode.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ELU()).eval()
        >>> fuse_batch_norms(network), network
        (1, Sequential(
          (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
          (1): ELU(alpha=1.0)
        ))
    """
    fused = 0
    for parts in [part for part in network.modules() if isinstance(part, nn.Sequential)]:
        for index in reversed(range(len(parts) - 1)):
            conv, norm = parts[index], parts[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parts[index] = fuse_conv_bn_eval(conv, norm)
                del parts[index + 1]
                fused += 1
    return fused
