"""The engines: PyTorch and OpenVINO give what the network itself gives, and say clearly where they cannot run."""

from __future__ import annotations

import copy
import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import Cli, predict_probabilities, refused
from torch import nn

from s2mnet import Predictor, S2MNet, S2MNetError
from s2mnet.data import LabelMap
from s2mnet.device import Precision, multiplies_bf16
from s2mnet.engines import OpenVINONetwork, TorchNetwork, build, choose
from s2mnet.modelfolder import ModelConfig, save_model
from s2mnet.plan import Preprocessing

ENGINES = ["torch", "openvino"]
BINARY = LabelMap(kind="classes", values=[0, 255])
CLASSES = LabelMap(kind="classes", values=[0, 1, 2])
REGIONS = LabelMap(
    kind="classes", values=[0, 1, 2], names=["background", "rim", "core"], regions={"all": [1, 2], "inner": [2]}
)
native = pytest.mark.skipif(not multiplies_bf16("cpu"), reason="this processor does not multiply bf16")


@pytest.fixture(autouse=True)
def _pytorch_by_itself() -> None:
    """Not here: "auto" is what users have."""


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def narrow(classes: int = 1, **options: object) -> S2MNet:
    """Untrained, with running statistics and logits that are far from trivial."""
    network = S2MNet(3, classes, channels=(8, 8, 8, 8, 8), num_frequencies=4, stem_channels=8, **options)
    with torch.no_grad():
        for _ in range(3):  # in training mode: the running statistics move
            network(3 * torch.randn(2, 3, 32, 32))
        network.head.classify.weight.mul_(4)
    return network.eval()


def model(folder: Path, labels: LabelMap = BINARY, extent: str = "whole", size: tuple[int, int] = (40, 40)) -> Path:
    settings = Preprocessing(extent=extent, size=size, channels=3, mean=[0.5] * 3, std=[0.2] * 3)
    save_model(narrow(labels.num_outputs), ModelConfig(preprocessing=settings, labels=labels), folder)
    return folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("labels", "extent", "size", "ttas"),
    [
        (BINARY, "whole", (40, 40), (1, 4, 8)),
        (BINARY, "patches", (32, 48), (1, 4, 8)),
        (CLASSES, "whole", (33, 47), (1, 4)),
        (REGIONS, "patches", (40, 40), (1, 8)),
    ],
)
def test_a_predictor_gives_what_its_network_gives(
    tmp_path: Path, engine: str, labels: LabelMap, extent: str, size: tuple[int, int], ttas: tuple[int, ...]
) -> None:
    predictor = Predictor(model(tmp_path, labels, extent, size), "cpu", engine)
    assert predictor.engine == engine
    plain = predictor.network, predictor.config.preprocessing, labels
    for tta in ttas:
        for shape in [(47, 61, 3), (83, 40)] if tta > 1 else [(20, 25, 3)]:
            image = noise(*shape)
            expected, beta = predict_probabilities(plain[0], [image], *plain[1:], tta, boundaries=True)[0]
            found = predictor.predict(image, tta, boundary=True)
            assert expected.std() > 1e-3
            np.testing.assert_allclose(found.probabilities, expected, rtol=0, atol=1e-4)
            np.testing.assert_allclose(found.boundary, beta, rtol=0, atol=1e-4)
            alone = predictor.predict(image, tta)
            assert alone.boundary is None and np.array_equal(alone.probabilities, found.probabilities)


@torch.no_grad()
@pytest.mark.parametrize("engine", ENGINES)
def test_batches_of_any_number_size_and_layout(engine: str) -> None:
    network = narrow(3)
    copied = build(network, engine)
    for shape in [(1, 3, 32, 47), (3, 3, 32, 47), (2, 3, 61, 32)]:
        x = torch.randn(shape).contiguous(
            memory_format=torch.channels_last if shape[0] == 3 else torch.contiguous_format
        )
        logits, maps = network(x, return_boundaries=True)
        found, found_maps = copied(x, return_boundaries=True)
        torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found_maps, maps, rtol=0, atol=1e-4)
        torch.testing.assert_close(copied(x), found, rtol=0, atol=0)


def pickled(engine: TorchNetwork) -> TorchNetwork:
    return pickle.loads(pickle.dumps(engine))


@torch.no_grad()
@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
@pytest.mark.parametrize("precision", ["float32", pytest.param("bf16", marks=native)])
def test_the_torch_engine_can_be_copied(copied: Callable[[TorchNetwork], TorchNetwork], precision: Precision) -> None:
    engine, x = TorchNetwork(narrow(3), precision), torch.randn(2, 3, 45, 64)
    expected, maps = engine(x, return_boundaries=True)  # at once, so that what a call keeps is copied too
    again = copied(engine)
    found, found_maps = again(x, return_boundaries=True)
    assert torch.equal(found, expected) and all(map(torch.equal, found_maps, maps))
    for tensor in again.state_dict().values():
        tensor.zero_()
    assert torch.equal(engine(x), expected) and not torch.equal(again(x), expected)  # nothing is shared


@torch.no_grad()
def test_the_torch_engine_follows_new_weights() -> None:
    network, other, x = narrow(3), narrow(3), torch.randn(1, 3, 45, 64)
    engine = TorchNetwork(network)
    before = engine(x)
    engine.load_state_dict(TorchNetwork(other).state_dict())
    torch.testing.assert_close(engine(x), other(x), rtol=1e-4, atol=1e-4)
    assert (engine(x) - before).abs().max() > 1e-2
    network.load_state_dict(other.state_dict())
    torch.testing.assert_close(TorchNetwork(network)(x), other(x), rtol=1e-4, atol=1e-4)
    engine.double()
    torch.testing.assert_close(engine(x.double()), other(x), rtol=1e-4, atol=1e-4, check_dtype=False)


@torch.no_grad()
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_of_the_plain_network(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = narrow(3), torch.randn(1, 3, 45, 64)
    assert len(build(network, engine).installed) == 3
    monkeypatch.setenv("S2MNET_PLAIN", "1")
    plain = build(network, engine)
    assert plain.installed == []
    torch.testing.assert_close(plain(x), network(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_without_boundaries_has_no_maps(engine: str) -> None:
    network, x = narrow(decoder="conv", block="conv", head="light"), torch.randn(1, 3, 40, 33)
    logits, maps = build(network, engine)(x, return_boundaries=True)
    torch.testing.assert_close(logits, network(x), rtol=1e-4, atol=1e-4)
    assert list(maps) == []


@torch.no_grad()
@native
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "options", [{}, {"decoder": "conv", "block": "conv", "head": "light"}, {"routing": "learned", "head": "released"}]
)
def test_bf16_is_close_and_is_used(engine: str, options: dict) -> None:
    network, x = narrow(3, **options), torch.randn(2, 3, 45, 64)
    exact, exact_maps = network(x, return_boundaries=True)
    copied = build(network, engine, "bf16")
    found, maps = copied(x, return_boundaries=True)
    assert found.dtype == torch.float32 and all(m.dtype == torch.float32 for m in maps)
    assert 1e-5 < (found.softmax(1) - exact.softmax(1)).abs().max() < 0.02
    torch.testing.assert_close(maps, exact_maps, rtol=0, atol=0.02)
    torch.testing.assert_close(copied(x), found, rtol=0, atol=0)


@torch.no_grad()
@native
@pytest.mark.parametrize("engine", ENGINES)
def test_in_bf16_the_layers_at_full_resolution_are_exact(engine: str) -> None:
    network, x = narrow(), torch.randn(1, 3, 64, 64)
    network.head.reduce.weight.zero_()  # what is left is the stem and the head
    torch.testing.assert_close(build(network, engine, "bf16")(x), network(x), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        short = network(x)
    assert (short.float() - network(x)).abs().max() > 1e-3


@torch.no_grad()
@native
def test_in_bf16_the_layers_that_place_boundaries_are_float32() -> None:
    network = narrow()
    precise = ("stem.", "stages.0.0.", "decoder.3.", "head.")
    seen: dict[str, torch.dtype] = {}
    torch_engine = TorchNetwork(network, "bf16")
    for name, part in torch_engine.network.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(lambda part, inputs, output, name=name: seen.update({name: output.dtype}))
    torch_engine(torch.rand(1, 3, 64, 64))
    assert len(seen) > 50 and {name.startswith(precise) for name in seen} == {True, False}
    for name, dtype in seen.items():
        in_float32 = name.startswith(precise) and not name.startswith("decoder.3.region.0.")
        assert dtype == (torch.float32 if in_float32 else torch.bfloat16), name

    openvino_engine = OpenVINONetwork(network, "bf16")
    openvino_engine(torch.rand(1, 3, 64, 64))
    (graphs,) = openvino_engine._graphs.values()
    found = []
    for graph in graphs.values():
        information = [node.get_rt_info() for node in graph.get_runtime_model().get_ordered_ops()]
        convolutions = [info for info in information if info["layerType"].astype(str) == "Convolution"]
        found.append((len(convolutions), {info["runtimePrecision"].astype(str) for info in convolutions}))
    (first, in_first), (middle, in_middle), (last, in_last) = found
    assert (in_first, in_middle, in_last) == ({"f32"}, {"bf16"}, {"f32"})
    # Every convolution once, but for the five fuses, which are three each.
    assert first + middle + last == 2 * 5 + sum(isinstance(part, nn.Conv2d) for part in network.modules())


def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2mnet.engines.multiplies_bf16", lambda device: False)
    for engine in ENGINES:
        with pytest.raises(S2MNetError, match="bf16"):
            build(narrow(), engine, "bf16")
    with pytest.raises(S2MNetError, match=r"'16' is unknown\. Choose one of float32, bf16"):
        build(narrow(), "torch", "16")


@torch.no_grad()
def test_openvino_takes_the_threads_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    network = OpenVINONetwork(narrow())
    network(torch.rand(1, 3, 32, 32))
    (graphs,) = network._graphs.values()
    assert [graph.get_property("INFERENCE_NUM_THREADS") for graph in graphs.values()] == [1]


def test_no_use_of_openvino_is_reported() -> None:
    code = """
import sys, torch
from s2mnet import S2MNet
from s2mnet.engines import OpenVINONetwork, choose
assert choose("openvino", "cpu").engine == "openvino"
OpenVINONetwork(S2MNet(channels=(4,) * 5, num_frequencies=2))(torch.rand(1, 3, 32, 32))
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_auto_is_openvino_on_a_cpu_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("auto", "cpu") == choose("openvino", "auto") == ("openvino", "cpu", None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    engine, device, notice = choose("auto", "cpu")
    assert (engine, device) == ("torch", "cpu") and "pip install" in str(notice)
    assert choose("torch", "cpu").notice is None


def test_the_command_takes_openvino_by_itself(tmp_path: Path, tiny_run: Path, tiny_data: Path, s2mnet: Cli) -> None:
    status, _, err = s2mnet("evaluate", tiny_run, tiny_data, "-o", tmp_path)
    assert status == 0 and err == "", err
    assert json.loads((tmp_path / "metrics.json").read_text())["context"]["engine"] == "openvino"


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no such signals")
def test_a_signal_is_survived_after_two_engines_have_gone() -> None:
    code = """
import signal, torch
from s2mnet import S2MNet
from s2mnet.engines import OpenVINONetwork
network = S2MNet(channels=(4,) * 5, num_frequencies=2)
engines = [OpenVINONetwork(network) for _ in range(2)]
for engine in engines:
    engine(torch.rand(1, 3, 32, 32))
engines.pop(0)
del engine, engines
signal.signal(signal.SIGALRM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGALRM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "handled"), done.stderr


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="'tensorrt'") as caught:
        Predictor(tmp_path, "cpu", "tensorrt")  # type: ignore[arg-type]
    assert "openvino" in str(caught.value) and "torch" in str(caught.value)


def test_without_openvino_it_is_refused_and_says_how_to_install_it(
    tmp_path: Path, tiny_run: Path, tiny_data: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    images = tiny_data / "test" / "images"
    predict, evaluate = ("predict", tiny_run, images, "-o", tmp_path / "out"), ("evaluate", tiny_run, tiny_data)
    for command in (predict, evaluate):
        status, _, err = s2mnet(*command)
        assert status == 0 and err.splitlines() == [f"note: {choose('auto', 'cpu').notice}"], err
        refused(s2mnet(*command, "--engine", "openvino"), "openvino", "pip install")


def test_an_evaluation_says_what_computed_it(tmp_path: Path, tiny_run: Path, tiny_data: Path, s2mnet: Cli) -> None:
    dice = []
    for engine in ENGINES:
        status, _, err = s2mnet("evaluate", tiny_run, tiny_data, "--engine", engine, "-o", tmp_path / engine)
        assert status == 0 and err == "", err
        result = json.loads((tmp_path / engine / "metrics.json").read_text())
        assert result["context"]["engine"] == engine and result["context"]["precision"] == "float32"
        dice += [case["metrics"] for case in result["cases"]]
    assert len(dice) == 4 and dice[:2] == dice[2:]  # the same masks
