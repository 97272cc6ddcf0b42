"""A network of MONAI is built, trained, stored and loaded as ours is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_plan, train_tiny, write_data

from s2mnet import Predictor
from s2mnet.architecture import PeerNetwork, build_architecture
from s2mnet.errors import S2MNetError

UNET = {"channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1}


def test_the_class_gets_the_channels_and_the_arguments() -> None:
    network = build_architecture("UNet", 2, 3, UNET)
    logits, maps = network(torch.rand(2, 2, 64, 48), return_boundaries=True)
    assert logits.shape == (2, 3, 64, 48) and maps == []
    assert isinstance(network, PeerNetwork)
    widths = {module.out_channels for module in network.modules() if isinstance(module, torch.nn.Conv2d)}
    assert widths >= {8, 16, 32} and max(widths) == 32


def test_a_peer_is_trained_stored_and_predicts(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    history = train_tiny(data, tmp_path / "run", architecture="UNet", network=UNET, steps=3)
    assert history[-1]["steps"] == 3
    predictor = Predictor(tmp_path / "run")
    assert isinstance(predictor.network, PeerNetwork)
    prediction = predictor.predict(np.zeros((40, 60, 3), np.uint8))
    assert prediction.mask.shape == (40, 60)


def test_a_stored_peer_gives_the_same_logits(tmp_path: Path) -> None:
    """Logits before and after, on an image: the weights and the arguments are all there."""
    network = build_architecture("UNet", 3, 1, UNET).eval()
    network.save_pretrained(tmp_path)
    again = PeerNetwork.from_pretrained(tmp_path).eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(x), network(x))


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "vgg"},
        {"architecture": "UNet", "network": {"head": "stem"}},
        {"architecture": "torch"},  # a module that monai.networks.nets imports, and no class
        {"architecture": "MedNeXtS", "network": {}},  # a function there: its class is MedNeXt
    ],
)
def test_an_unknown_name_or_option_is_refused(tmp_path: Path, changes: dict) -> None:
    data = write_data(tmp_path / "data")
    with pytest.raises(S2MNetError, match="architecture, network or loss_options"):
        train_tiny(data, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_steps_end_a_training_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    """8 images, twice an epoch, 4 a step: 4 steps an epoch."""
    data = write_data(tmp_path / "data")
    history = train_tiny(data, tmp_path / "run", steps=6, warmup=0.0)
    assert [record["steps"] for record in history] == [4, 6]
    assert history[-1]["lr"] < 0.1 * tiny_plan(data).training.lr  # the schedule has come to its end
