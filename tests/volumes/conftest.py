"""A model for the tests of volumes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s2mnet import Predictor, S2MNet
from s2mnet.data import LabelMap
from s2mnet.modelfolder import ModelConfig, save_model
from s2mnet.plan import Preprocessing


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained model whose classes differ from pixel to pixel."""
    labels = LabelMap(kind="classes", values=[0, 10, 300])
    torch.manual_seed(1)
    network = S2MNet(1, 3, channels=(8, 8, 8, 8, 8), num_frequencies=4).eval()
    preprocessing = Preprocessing(extent="whole", size=(32, 32), channels=1, mean=[0.5], std=[0.05])
    folder = tmp_path_factory.mktemp("model")
    save_model(network, ModelConfig(preprocessing=preprocessing, labels=labels), folder)
    return folder


@pytest.fixture(scope="session")
def predictor(model: Path) -> Predictor:
    """It, loaded."""
    return Predictor(model, "cpu")
