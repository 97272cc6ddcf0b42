"""One ONNX file against the Predictor: masks and probabilities of every kind of model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from s2mnet.data import LabelMap
from s2mnet.exporting.graph import build_graph
from s2mnet.modelfolder import ModelConfig, load_model, save_model
from s2mnet.network import S2MNet
from s2mnet.plan import Preprocessing
from s2mnet.prediction import Predictor

BINARY = LabelMap(kind="classes", values=[0, 255])
CLASSES = LabelMap(kind="classes", values=[0, 300, 20], ignore_value=7)
REGIONS = LabelMap(
    kind="classes", values=[0, 1, 2], names=["background", "rim", "core"], regions={"all": [1, 2], "inner": [2]}
)
COLOUR = ["red", "green", "blue"]
STACK = {"stored": ["t1", "t2", "flair", "t1c"]}


def smooth(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """An image with structures of every size and hard edges."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, channels)).repeat(8, 0).repeat(8, 1)
    return (image[:height, :width] // 2 + rng.integers(0, 128, (height, width, channels))).astype(np.uint8)


def model(
    folder: Path,
    labels: LabelMap = BINARY,
    extent: str = "whole",
    size: tuple[int, int] = (40, 48),
    tta: int = 1,
    channels: list[str] = COLOUR,
    **changes: object,
) -> Path:
    """An untrained network with logits that are far from trivial."""
    outputs = labels.num_outputs
    network = S2MNet(len(channels), outputs, channels=(8, 8, 8, 8, 8), num_frequencies=4, stem_channels=8)
    with torch.no_grad():
        for _ in range(3):  # in training mode: the running statistics move
            network(3 * torch.randn(2, len(channels), 32, 32))
        network.head.classify.weight.mul_(4)
    shares = {"mean": [0.5] * len(channels), "std": [0.2] * len(channels)}
    settings = Preprocessing(extent=extent, size=size, channels=channels, **{**shares, **changes})  # type: ignore[arg-type]
    save_model(network, ModelConfig(preprocessing=settings, labels=labels, tta=tta), folder)  # type: ignore[arg-type]
    return folder


def session(folder: Path) -> onnxruntime.InferenceSession:
    content = build_graph(*load_model(folder)).SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("labels", "extent", "size", "tta", "channels", "changes"),
    [
        (BINARY, "whole", (40, 48), 1, COLOUR, {}),
        (BINARY, "whole", (40, 40), 8, COLOUR, {"normalisation": "image", "mean": [], "std": []}),
        (CLASSES, "whole", (40, 48), 4, ["grey"], {}),
        (REGIONS, "whole", (64, 33), 1, ["green", "grey"], {}),
        (BINARY, "whole", (40, 48), 1, ["flair", "t1"], STACK),
        (BINARY, "patches", (32, 48), 1, COLOUR, {}),
        (CLASSES, "patches", (40, 40), 8, ["t2", "t1c"], STACK),
        (REGIONS, "patches", (33, 47), 4, ["grey"], {}),
    ],
)
def test_the_file_predicts_as_the_predictor_at_any_size(
    tmp_path: Path, labels: LabelMap, extent: str, size: tuple[int, int], tta: int, channels: list[str], changes: dict
) -> None:
    folder = model(tmp_path, labels, extent, size, tta, channels, **changes)
    predictor, run = Predictor(folder, "cpu", "torch"), session(folder)
    for height, width in [(97, 131), (40, 48), (20, 25), (9, 170)]:
        image = smooth(height, width, len(changes.get("stored", COLOUR)))
        expected = predictor.predict(image)
        probabilities, mask = run.run(["probabilities", "mask"], {"image": image})
        assert expected.probabilities.std() > 1e-2
        np.testing.assert_allclose(probabilities, expected.probabilities, rtol=0, atol=1e-4)
        assert mask.dtype == expected.mask.dtype and mask.shape == expected.mask.shape
        assert (mask != expected.mask).mean() < 1e-3
        assert set(np.unique(mask)) <= set(labels.values)
