"""The ImageNet weights that the package ships, and their way into a network."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from s2mnet.network.s2mnet import S2MNet

WEIGHTS = Path(__file__).with_name("weights")
SHIPPED = {"lite0": WEIGHTS / "efficientnet-lite0-imagenet.safetensors"}
FIRST = "stages.0.0.0.weight"  # of the convolution that reads the image


def load_imagenet(network: S2MNet) -> None:
    """Give the encoder the shipped weights, in place; the rest of the network stays as it is.

    Args:
        network: with a pretrained encoder, such as ``S2MNet(encoder="lite0")``, for any number of channels, see
            :func:`adapted`.

    Raises:
        ValueError: no weights are shipped for this encoder.

    Example:
        >>> network = S2MNet(in_channels=1, encoder="lite0")
        >>> load_imagenet(network)
    """
    if network.encoder not in SHIPPED:
        known = ", ".join(map(repr, SHIPPED))
        raise ValueError(f"no ImageNet weights are shipped for the encoder {network.encoder!r}; use one of {known}")
    state = {name: value.float() for name, value in load_file(SHIPPED[network.encoder]).items()}
    state[FIRST] = adapted(state[FIRST], network.in_channels)
    own = network.state_dict()
    counters = {name for name in own if name.startswith("stages.") and name.endswith("num_batches_tracked")}
    if {name for name in own if name.startswith("stages.")} - counters != state.keys():
        raise ValueError(f"{SHIPPED[network.encoder]} does not hold the weights of {network.encoder!r}")
    network.load_state_dict(state, strict=False)


def adapted(weight: Tensor, channels: int) -> Tensor:
    """The weight of a convolution over red, green and blue for another number of channels.

    One channel gets their sum, so that a grey image counts as one of three equal colours. Several get their mean each,
    times 3 / channels, which gives equal channels the same result.

    Shape:
        (outputs, 3, k, k) → (outputs, channels, k, k).

    Example:
        >>> import torch
        >>> adapted(torch.ones(8, 3, 3, 3), 1)[0, 0, 0], adapted(torch.ones(8, 3, 3, 3), 6)[0, :2, 0, 0]
        (tensor([3., 3., 3.]), tensor([0.5000, 0.5000]))
    """
    if channels == weight.shape[1]:
        return weight
    return (weight.sum(1, keepdim=True) / channels).repeat(1, channels, 1, 1)


@lru_cache
def imagenet_checksum(encoder: str) -> str:
    """SHA-256 of the file of weights shipped for an encoder."""
    return hashlib.sha256(SHIPPED[encoder].read_bytes()).hexdigest()
