"""Every network to compare with: called, trained, stored and loaded as ours is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_plan, train_tiny, write_data

from s2mnet import Predictor
from s2mnet.architecture import PEERS, PeerNetwork, build_architecture
from s2mnet.errors import S2MNetError


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_maps_images_to_logits(name: str) -> None:
    network = build_architecture(name, 2, 3, 64, {})
    logits, maps = network(torch.rand(2, 2, 64, 64), return_boundaries=True)
    assert logits.shape == (2, 3, 64, 64) and maps == []
    logits.sum().backward()
    reached = sum(p.numel() for p in network.parameters() if p.grad is not None)
    # U-Net++ and UNETR have layers that only deep supervision or a class token would use.
    assert reached > 0.95 * sum(p.numel() for p in network.parameters())


def test_a_peer_is_trained_stored_and_predicts(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    history = train_tiny(data, tmp_path / "run", architecture="residual-unet", network={}, steps=3)
    assert history[-1]["steps"] == 3
    predictor = Predictor(tmp_path / "run")
    assert isinstance(predictor.network, PeerNetwork)
    prediction = predictor.predict(np.zeros((40, 60, 3), np.uint8))
    assert prediction.mask.shape == (40, 60)


def test_an_unknown_name_or_option_is_refused(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    for changes in ({"architecture": "vgg"}, {"architecture": "unet", "network": {"head": "stem"}}):
        with pytest.raises(S2MNetError, match="architecture, network or loss_options"):
            train_tiny(data, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_steps_end_a_training_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    """8 images, twice an epoch, 4 a step: 4 steps an epoch."""
    data = write_data(tmp_path / "data")
    history = train_tiny(data, tmp_path / "run", steps=6, warmup=0.0)
    assert [record["steps"] for record in history] == [4, 6]
    assert history[-1]["lr"] < 0.1 * tiny_plan(data).training.lr  # the schedule has come to its end
