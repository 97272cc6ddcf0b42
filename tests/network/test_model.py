"""The whole network: its size, its arguments, its inputs, saving, and repeatability."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from s2mnet.network import (
    BoundaryFocusedDecoderStage,
    MultiReceptiveFieldSE,
    S2MNet,
    SpectralSelectiveTokenMixer,
    TruncatedSpectralFilter,
)

WIDTHS = (24, 32, 64, 80, 128)
BANDS = (32, 32, 32, 22, 11)
STAGES = range(5)
SMALL = {"channels": (4, 4, 6, 6, 8), "stem_channels": 4, "num_frequencies": 4}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def has(module: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(part, kind) for part in module.modules())


def filters(bands: tuple[int, ...]) -> int:
    """Real parameters of complex half-plane filters at the default widths."""
    return sum(c * k * (k // 2 + 1) * 2 for c, k in zip(WIDTHS, bands, strict=True))


def mixers(bands: tuple[int, ...]) -> int:
    """Parameters of the SSTMs at the default widths, by SPEC 1.1: filter, W_g + b_g, W_B, W_C, 1×1 with bias, LN."""
    dense = sum(c * c + c + 2 * 16 * c + 2 * c * c + c + 2 * c for c, k in zip(WIDTHS, bands, strict=True) if k)
    return dense + filters(bands)


def only(*stages: int) -> tuple[int, ...]:
    return tuple(k if stage in stages else 0 for stage, k in enumerate(BANDS, start=1))


# Every row of SPEC 3.2 that the network expresses, with what it does to the number of parameters: an exact difference
# where the equations give one, else only a sign.
ABLATIONS: dict[str, tuple[dict[str, object], int | str]] = {
    "full": ({}, 0),
    "K=16": ({"num_frequencies": 16}, filters((16,) * 5) - filters(BANDS)),
    "K=24": ({"num_frequencies": 24}, filters((24,) * 5) - filters(BANDS)),
    "K=48": ({"num_frequencies": 48}, filters((48,) * 5) - filters(BANDS)),
    "K=64": ({"num_frequencies": 64}, filters((64,) * 5) - filters(BANDS)),
    "real filters": (
        {"complex_filter": False},
        sum(c * k * k for c, k in zip(WIDTHS, BANDS, strict=True)) - filters(BANDS),
    ),
    "no SSTM": ({"num_frequencies": 0}, -mixers(BANDS)),
    "SSTM 1-2": ({"num_frequencies": only(1, 2)}, mixers(only(1, 2)) - mixers(BANDS)),
    "SSTM 3": ({"num_frequencies": only(3)}, mixers(only(3)) - mixers(BANDS)),
    "SSTM 4-5": ({"num_frequencies": only(4, 5)}, mixers(only(4, 5)) - mixers(BANDS)),
    "routing hard": ({"routing": "hard"}, 0),
    "routing learned": ({"routing": "learned"}, sum(2 * c + 2 for c in WIDTHS[:4])),
    "routing none": ({"routing": "none"}, sum(c * c for c in WIDTHS[:4])),
    "no BFD": ({"decoder": "conv"}, "fewer"),
    "no MRF-SE": ({"block": "conv"}, "fewer"),
    "plain U-Net": ({"num_frequencies": 0, "block": "conv", "decoder": "conv"}, "fewer"),
    "light head": ({"head": "light"}, (24 + 1) - (24 * 16 + 16 + 16 * 16 * 9 + 32 + 16 + 1)),
    "released head": (
        {"head": "released"},
        (24 * 32 * 9 + 64 + 32 * 16 * 9 + 32 + 16 + 1) - (24 * 16 + 16 + 16 * 16 * 9 + 32 + 16 + 1),
    ),
}


@pytest.fixture(scope="module")
def default_model() -> S2MNet:
    torch.manual_seed(0)
    return S2MNet().eval()


@pytest.mark.parametrize("head", ["stem", "light", "released"])
@pytest.mark.parametrize("complex_filter", [True, False])
def test_has_the_4_7_million_parameters_of_the_paper(head: str, complex_filter: bool) -> None:
    assert 4.68e6 <= count(S2MNet(head=head, complex_filter=complex_filter)) <= 4.78e6


def test_the_paper_faithful_build_has_4_73_million() -> None:
    assert round(count(S2MNet(head="light", complex_filter=False)) / 1e6, 2) == 4.73


def test_stages_are_those_of_the_spec(default_model: S2MNet) -> None:
    for stage, width, k in zip(default_model.stages, WIDTHS, BANDS, strict=True):
        conv, block, mixer = stage
        assert (conv[0].out_channels, conv[0].kernel_size, conv[0].stride) == (width, (3, 3), (2, 2))
        assert isinstance(block, MultiReceptiveFieldSE)
        assert isinstance(mixer, SpectralSelectiveTokenMixer)
        assert mixer.spectral.num_frequencies == k
    assert [stage.region[0][0].in_channels for stage in default_model.decoder] == [208, 144, 96, 56]
    assert [stage.region[0][0].out_channels for stage in default_model.decoder] == [80, 64, 32, 24]


@torch.no_grad()
def test_same_weights_serve_any_size(default_model: S2MNet) -> None:
    def shapes() -> dict[str, torch.Size]:
        tensors = {**dict(default_model.named_parameters()), **dict(default_model.named_buffers())}
        assert default_model.state_dict().keys() == tensors.keys()  # nothing is kept aside and unsaved
        return {name: tensor.shape for name, tensor in tensors.items()}

    before = shapes()
    for size in [(256, 256), (352, 352), (512, 320), (33, 47), (32, 32)]:
        logits = default_model(torch.rand(1, 3, *size))
        assert logits.shape == (1, 1, *size)
        assert logits.isfinite().all()
        assert shapes() == before
    bands = [part.num_frequencies for part in default_model.modules() if isinstance(part, TruncatedSpectralFilter)]
    assert bands == list(BANDS)


@settings(max_examples=10)
@given(
    height=st.integers(32, 70),
    width=st.integers(32, 70),
    in_channels=st.integers(1, 4),
    num_classes=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_shapes_dtypes_and_gradients(
    height: int, width: int, in_channels: int, num_classes: int, dtype: torch.dtype
) -> None:
    model = S2MNet(in_channels, num_classes, **SMALL).to(dtype)
    logits, boundaries = model(torch.rand(2, in_channels, height, width, dtype=dtype), return_boundaries=True)
    assert (logits.shape, logits.dtype) == ((2, num_classes, height, width), dtype)
    sizes = [(-(-height // s), -(-width // s)) for s in (16, 8, 4, 2)]
    assert [b.shape for b in boundaries] == [(2, 1, *size) for size in sizes]
    assert all(((b >= 0) & (b <= 1)).all() for b in boundaries)
    logits.float().square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("row", ABLATIONS)
def test_every_ablation_is_a_value_of_an_argument(row: str, default_model: S2MNet) -> None:
    arguments, change = ABLATIONS[row]
    model = S2MNet(**arguments)
    difference = count(model) - count(default_model)
    assert difference < 0 if change == "fewer" else difference == change

    mixed = [has(stage, SpectralSelectiveTokenMixer) for stage in model.stages]
    bands = arguments.get("num_frequencies", BANDS)
    assert mixed == [k > 0 for k in ((bands,) * 5 if isinstance(bands, int) else bands)]
    assert has(model, MultiReceptiveFieldSE) == (arguments.get("block") != "conv")
    assert has(model, BoundaryFocusedDecoderStage) == (arguments.get("decoder") != "conv")

    logits, boundaries = model(torch.rand(2, 3, 64, 48), return_boundaries=True)
    assert logits.shape == (2, 1, 64, 48)
    assert len(boundaries) == (0 if arguments.get("decoder") == "conv" else 4)
    logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@torch.no_grad()
def test_boundaries_come_deepest_first_and_leave_the_logits_alone(default_model: S2MNet) -> None:
    x = torch.rand(1, 3, 70, 101)
    seen: list[torch.Tensor] = []
    hooks = [stage.register_forward_hook(lambda _, __, out: seen.append(out[1])) for stage in default_model.decoder]
    logits, boundaries = default_model(x, return_boundaries=True)
    for hook in hooks:
        hook.remove()
    assert [tuple(b.shape[2:]) for b in boundaries] == [(5, 7), (9, 13), (18, 26), (35, 51)]
    assert all(torch.equal(returned, inside) for returned, inside in zip(boundaries, seen, strict=True))
    assert torch.equal(default_model(x), logits)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": (8, 16, 32, 64)}, r"five stages; found 4 channels and 5 num_frequencies\. Give five of each"),
        (
            {"num_frequencies": (32, 32)},
            r"found 5 channels and 2 num_frequencies\. Give five of each \(0 frequencies leave",
        ),
        ({"block": "resnet"}, "unknown block 'resnet'; choose one of 'mrf_se', 'conv'"),
        ({"decoder": "unet"}, "unknown decoder 'unet'; choose one of 'bfd', 'conv'"),
        ({"routing": "sharp"}, "unknown routing 'sharp'; choose one of 'soft', 'hard', 'learned', 'none'"),
        ({"head": "big"}, "unknown head 'big'; choose one of 'stem', 'light', 'released'"),
        ({"num_frequencies": (32, 32, -1, 0, 0)}, "num_frequencies must be at least 1, found 64 and -1"),
    ],
)
def test_a_wrong_argument_is_refused_with_the_way_out(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        S2MNet(**arguments)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 31, 64), r"at least 32×32 pixels, found 31×64; pad or resize"),
        ((1, 3, 64, 20), r"at least 32×32 pixels, found 64×20; pad or resize"),
        ((1, 1, 64, 64), r"expected images \(B, 3, H, W\), found shape \(1, 1, 64, 64\)"),
        ((3, 64, 64), r"expected images \(B, 3, H, W\), found shape \(3, 64, 64\)"),
    ],
)
def test_a_wrong_input_is_refused(default_model: S2MNet, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        default_model(torch.rand(shape))


@torch.no_grad()
def test_saved_and_loaded_it_gives_the_same(tmp_path: Path, randomise: Callable[[nn.Module], nn.Module]) -> None:
    arguments = {
        **SMALL,
        "in_channels": 2,
        "num_classes": 3,
        "num_frequencies": (5, 4, 0, 2, 1),
        "complex_filter": False,
        "block": "conv",
        "routing": "learned",
        "head": "released",
        "branch_scale": 0.1,
        "dropout": 0.3,
    }
    model = randomise(S2MNet(**arguments)).eval()
    model.save_pretrained(tmp_path)
    files = {file.name for file in tmp_path.iterdir()}
    assert files >= {"config.json", "model.safetensors"}
    assert {Path(name).suffix for name in files} <= {".json", ".safetensors", ".md"}  # nothing that can be a pickle
    config = json.loads((tmp_path / "config.json").read_text())
    assert {name: config[name] for name in arguments} == json.loads(json.dumps(arguments))

    loaded = S2MNet.from_pretrained(tmp_path)
    assert not loaded.training
    x = torch.rand(2, 2, 40, 51)
    for found, expected in zip(
        (loaded(x), *loaded(x, return_boundaries=True)[1]),
        (model(x), *model(x, return_boundaries=True)[1]),
        strict=True,
    ):
        assert torch.equal(found, expected)
    dropouts = {part.p for part in loaded.modules() if isinstance(part, nn.Dropout)}
    assert dropouts == {0.3}


def test_a_seed_fixes_the_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(S2MNet(**SMALL).state_dict())
    same, other = states[1:]
    assert all(torch.equal(states[0][name], same[name]) for name in same)
    assert any(not torch.equal(states[0][name], other[name]) for name in other)


@torch.no_grad()
def test_eval_repeats_itself_and_does_not_mix_samples(default_model: S2MNet) -> None:
    x = torch.rand(2, 3, 64, 48)
    first = default_model(x)
    assert torch.equal(default_model(x), first)
    torch.testing.assert_close(default_model(x[1:]), first[1:], rtol=0, atol=1e-5)
