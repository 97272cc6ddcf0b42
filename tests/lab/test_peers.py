"""Every network to compare with: it trains, and its arguments survive the JSON of a stored model."""

from __future__ import annotations

import json

import pytest
import torch

from s2mnet.errors import S2MNetError
from s2mnet_lab.peers import PEERS, peer


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_maps_images_to_logits(name: str) -> None:
    if name in ("swinunetr", "unetr"):
        pytest.importorskip("einops", reason="MONAI's transformers need einops")
    network = PEERS[name].build(2, 3, 64)
    logits, maps = network(torch.rand(2, 2, 64, 64), return_boundaries=True)
    assert logits.shape == (2, 3, 64, 64) and maps == []
    logits.sum().backward()
    reached = sum(p.numel() for p in network.parameters() if p.grad is not None)
    # U-Net++ and UNETR have layers that only deep supervision or a class token would use.
    assert reached > 0.95 * sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", PEERS)
def test_the_arguments_are_json_values(name: str) -> None:
    arguments = PEERS[name].arguments_at(64)
    assert json.loads(json.dumps(arguments)) == arguments


def test_an_unknown_peer_is_refused_with_those_that_exist() -> None:
    with pytest.raises(S2MNetError, match=r"'vgg' is unknown.*s2mnet, unet, .*basic-unet"):
        peer("vgg")
