"""One ONNX file against the Predictor: masks and probabilities of every kind of model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Cli, refused

from s2mnet.data import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.modelfolder import ModelConfig, load_model, save_model
from s2mnet.network import S2MNet
from s2mnet.plan import Preprocessing
from s2mnet.prediction import Predictor

onnx = pytest.importorskip("onnx", reason="needs the extra s2mnet[onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra s2mnet[onnx]")
pytest.importorskip("onnxscript", reason="needs the extra s2mnet[onnx]")

from s2mnet.exporting.graph import build_graph  # noqa: E402
from s2mnet.exporting.parity import Parity, check, compare  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Runs the file that is its first argument, with the others, where neither s2mnet nor PyTorch can be imported.
CLIENT = (
    "import runpy, sys; sys.modules |= {'s2mnet': None, 'torch': None}; del sys.argv[0]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
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


def test_a_mask_is_the_same_in_openvino(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    folder = model(tmp_path / "model", REGIONS, "patches", (33, 47), 4, ["grey"])
    (tmp_path / "model.onnx").write_bytes(build_graph(*load_model(folder)).SerializeToString())
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(tmp_path / "model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = smooth(97, 131)
    expected, results = Predictor(folder, "cpu", "torch").predict(image), compiled([image])
    np.testing.assert_allclose(results[0], expected.probabilities, rtol=0, atol=1e-4)
    assert (results[1] != expected.mask).mean() < 1e-3


@pytest.mark.parametrize(
    ("images", "extent", "labels"),
    [("Kvasir-SEG/images", "whole", BINARY), ("DRIVE/test/images", "patches", CLASSES)],
)
def test_real_images_give_the_same_masks(
    tmp_path: Path, shared_data: Path, images: str, extent: str, labels: LabelMap
) -> None:
    folder = model(tmp_path, labels, extent, (160, 192))
    content = build_graph(*load_model(folder)).SerializeToString()
    files = sorted((shared_data / images).iterdir())[:3]
    parity = compare(Predictor(folder, "cpu", "torch"), content, files, lambda done, total: None)
    assert parity.images == 3 and parity.holds and min(parity.dice.values()) > 0.9999, parity


def test_the_largest_side_and_the_smallest_are_resized_as_before(tmp_path: Path) -> None:
    folder = model(tmp_path)
    predictor, run = Predictor(folder, "cpu", "torch"), session(folder)
    for shape in [(1, 1, 3), (3, 1500, 3), (1700, 900, 3)]:
        image = smooth(*shape)
        probabilities, _ = run.run(None, {"image": image})
        np.testing.assert_allclose(probabilities, predictor.predict(image).probabilities, rtol=0, atol=1e-4)


def test_the_file_says_what_its_values_and_channels_are(tmp_path: Path) -> None:
    folder = model(tmp_path, REGIONS, "whole", (40, 48), 1, ["flair"], **STACK)
    meta = session(folder).get_modelmeta().custom_metadata_map
    assert json.loads(meta["s2mnet.labels"]) == {"0": "background", "1": "rim", "2": "core"}
    assert json.loads(meta["s2mnet.outputs"]) == ["all", "inner"]
    assert json.loads(meta["s2mnet.channels"]) == STACK["stored"]


def test_the_command_writes_a_file_that_a_client_without_s2mnet_uses(
    tmp_path: Path, tiny_run: Path, tiny_data: Path, s2mnet: Cli
) -> None:
    status, out, err = s2mnet("export", tiny_run, "--to", "onnx", "-o", tmp_path / "out")
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.onnx", "parity.json"]
    parity = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert parity["images"] == 2 and parity["dice"]["foreground"] >= 0.999 and parity["largest_difference"] <= 1e-3
    assert "on 2 images: Dice of the masks 1.0" in out
    onnx.checker.check_model(tmp_path / "out" / "model.onnx", full_check=True)

    images, masks = tiny_data / "test" / "images", tmp_path / "masks"
    client = [sys.executable, "-c", CLIENT, EXAMPLES / "client.py"]
    done = subprocess.run([*client, tmp_path / "out" / "model.onnx", images, masks], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    predictor = Predictor(tiny_run, "cpu", "torch")
    for image in images.iterdir():
        assert np.array_equal(np.asarray(Image.open(masks / image.name)), predictor.predict(image).mask)
    assert "foreground" in done.stdout and "background" in done.stdout
    assert len((EXAMPLES / "client.py").read_text().splitlines()) <= 60


def test_nothing_is_written_over_what_exists(tmp_path: Path, tiny_run: Path, s2mnet: Cli) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    refused(s2mnet("export", tiny_run, "--to", "onnx", "-o", tmp_path / "out"), "already exists", "-o")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "notes.txt"]


def test_clahe_is_refused_with_the_reason(tmp_path: Path, tiny_data: Path, s2mnet: Cli) -> None:
    folder, images = model(tmp_path / "model", clahe=True), tiny_data / "test" / "images"
    result = s2mnet("export", folder, "--to", "onnx", "-o", tmp_path / "out", "--images", images)
    refused(result, "CLAHE", "clahe: false")
    assert not (tmp_path / "out").exists()


def test_without_images_to_compare_on_it_is_refused(tmp_path: Path, s2mnet: Cli) -> None:
    result = s2mnet("export", model(tmp_path / "model"), "--to", "onnx", "-o", tmp_path / "out")
    refused(result, "no test images", "--images")
    assert not (tmp_path / "out").exists()


def test_a_file_that_differs_is_never_written(tmp_path: Path, tiny_data: Path, s2mnet: Cli) -> None:
    parity = Parity(images=3, dice={"a": 1.0, "b": 0.998}, largest_difference=1e-5)
    with pytest.raises(S2MNetError, match=r"0\.99800"):
        check(parity, tmp_path)
    with pytest.raises(S2MNetError, match=r"2\.0e-03"):
        check(Parity(images=3, dice={"a": 1.0}, largest_difference=2e-3), tmp_path)
    predictor = Predictor(model(tmp_path / "one"), "cpu", "torch")
    torch.manual_seed(1)
    other = build_graph(*load_model(model(tmp_path / "other"))).SerializeToString()
    files = sorted((tiny_data / "test" / "images").iterdir())
    assert not compare(predictor, other, files, lambda done, total: None).holds


def test_without_its_packages_it_says_how_to_install_them(
    tmp_path: Path, tiny_run: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(s2mnet("export", tiny_run, "--to", "onnx", "-o", tmp_path / "out"), "onnxruntime", "s2mnet[onnx]")
