"""The blocks of SPEC 1.1 to 1.3 and the heads, each against its equations written out again from its own weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from compiling import fast
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.network import (
    BoundaryFocusedDecoderStage,
    MultiReceptiveFieldSE,
    SpectralSelectiveTokenMixer,
    TruncatedSpectralFilter,
)
from s2mnet.network.decoder import ROUTINGS, PlainDecoderStage, UpsampleAndConcat
from s2mnet.network.fast.depthwise import FastDepthwiseConv2d
from s2mnet.network.fast.operations import FastUpsampleAndConcat
from s2mnet.network.heads import HEADS, build_head

Randomise = Form = Callable[[nn.Module], nn.Module]
FORMS = [pytest.param(lambda block: block, id="plain"), pytest.param(fast, id="fast")]
SINGLE_INPUT: dict[str, Callable[[int], nn.Module]] = {
    "spectral, complex": lambda c: TruncatedSpectralFilter(c, 6),
    "spectral, real": lambda c: TruncatedSpectralFilter(c, 5, complex_filter=False),
    "sstm": lambda c: SpectralSelectiveTokenMixer(c, 6),
    "mrf-se": MultiReceptiveFieldSE,
    "spectral, complex, fast": lambda c: fast(TruncatedSpectralFilter(c, 6)),
    "spectral, real, fast": lambda c: fast(TruncatedSpectralFilter(c, 5, complex_filter=False)),
    "sstm, fast": lambda c: fast(SpectralSelectiveTokenMixer(c, 6)),
    "mrf-se, fast": lambda c: fast(MultiReceptiveFieldSE(c)),
    "depthwise": lambda c: FastDepthwiseConv2d(c, c, 5, padding=2, groups=c, bias=False),
}
DTYPES = (torch.float32, torch.float64, torch.bfloat16)
channels = st.integers(1, 6)
sizes = st.integers(2, 12)
dtypes = st.sampled_from(DTYPES)
few = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_gradients(module: nn.Module, outputs: list[Tensor]) -> None:
    sum(output.float().square().sum() for output in outputs).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def bn(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch norm by its formula: batch statistics in training, running ones otherwise."""
    mean, var = norm.running_mean, norm.running_var
    if norm.training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    shape = (1, -1, 1, 1)
    scale = (norm.weight / (var + norm.eps).sqrt()).view(shape)
    return (x - mean.view(shape)) * scale + norm.bias.view(shape)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


@pytest.mark.parametrize("name", SINGLE_INPUT)
@few
@given(c=channels, height=sizes, width=sizes, dtype=dtypes)
def test_a_block_keeps_shape_and_dtype_and_trains(
    name: str, c: int, height: int, width: int, dtype: torch.dtype
) -> None:
    block = SINGLE_INPUT[name](c).to(dtype)
    x = torch.randn(2, c, height, width, dtype=dtype, requires_grad=True)
    y = block(x)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    assert y.isfinite().all()
    check_gradients(block, [y])
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("routing", ROUTINGS)
@few
@given(c=st.tuples(channels, channels, st.integers(2, 6)), height=sizes, width=sizes, odd=st.booleans(), dtype=dtypes)
def test_a_decoder_stage_gives_features_and_one_probability_channel(
    routing: str, c: tuple[int, int, int], height: int, width: int, odd: bool, dtype: torch.dtype
) -> None:
    stage = BoundaryFocusedDecoderStage(*c, routing=routing).to(dtype)
    size = (2 * height - odd, 2 * width - odd)
    deep = torch.randn(2, c[0], height, width, dtype=dtype)
    out, beta = stage(deep, 3 * torch.randn(2, c[1], *size, dtype=dtype))
    assert (out.shape, out.dtype) == ((2, c[2], *size), dtype)
    assert (beta.shape, beta.dtype) == ((2, 1, *size), dtype)
    assert ((beta >= 0) & (beta <= 1)).all()
    check_gradients(stage, [out, beta])


@few
@given(height=sizes, width=sizes, dtype=dtypes)
def test_a_plain_decoder_stage_has_no_boundary(height: int, width: int, dtype: torch.dtype) -> None:
    stage = PlainDecoderStage(3, 4, 5).to(dtype)
    out, beta = stage(torch.randn(2, 3, height, width, dtype=dtype), torch.randn(2, 4, 2 * height, 9, dtype=dtype))
    assert (out.shape, out.dtype, beta) == ((2, 5, 2 * height, 9), dtype, None)
    check_gradients(stage, [out])


@pytest.mark.parametrize("name", HEADS)
@few
@given(height=sizes, width=sizes, classes=st.integers(1, 4), odd=st.booleans(), dtype=dtypes)
def test_a_head_gives_logits_at_full_size(
    name: str, height: int, width: int, classes: int, odd: bool, dtype: torch.dtype
) -> None:
    head = build_head(name, 5, 4, classes).to(dtype)
    size = (2 * height - odd, 2 * width - odd)
    decoder, stem = torch.randn(2, 5, height, width, dtype=dtype), torch.randn(2, 4, *size, dtype=dtype)
    logits = head(decoder, stem)
    assert (logits.shape, logits.dtype) == ((2, classes, *size), dtype)
    check_gradients(head, [logits])


# SSTM ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("complex_filter", [False, True])
def test_sstm_is_its_equations(complex_filter: bool, form: Form, randomise: Randomise) -> None:
    mixer = form(randomise(SpectralSelectiveTokenMixer(5, 4, complex_filter, bottleneck=3)).double().eval())
    x = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    w = {name: p.detach().numpy() for name, p in mixer.named_parameters()}
    s = x.permute(0, 2, 3, 1).numpy()
    g = sigmoid(s @ w["gate.weight"].T + w["gate.bias"])
    x_gate = elu((s * g) @ w["squeeze.weight"].T) @ w["expand.weight"].T
    x_spec = mixer.spectral(x).permute(0, 2, 3, 1).detach().numpy()
    fused = np.concatenate([x_spec, x_gate], -1) @ w["fuse.weight"].T + w["fuse.bias"]
    centred = fused - fused.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w["norm.weight"] + w["norm.bias"]
    found = mixer(x).permute(0, 2, 3, 1).detach().numpy()
    np.testing.assert_allclose(found, s + normed, rtol=0, atol=1e-12)


def test_sstm_has_the_bottleneck_and_dropout_of_the_paper() -> None:
    mixer = SpectralSelectiveTokenMixer(24)
    assert (mixer.squeeze.weight.shape, mixer.expand.weight.shape) == ((16, 24), (24, 16))
    assert mixer.squeeze.bias is None and mixer.expand.bias is None
    assert mixer.dropout.p == 0.1


@pytest.mark.parametrize("form", FORMS)
def test_sstm_drops_only_the_branch_and_only_in_training(form: Form) -> None:
    mixer = form(SpectralSelectiveTokenMixer(4, 3, dropout=0.5))
    x = torch.randn(2, 4, 8, 8)
    branch = mixer.eval()(x) - x
    dropped = mixer.train()(x) - x
    kept = dropped.abs() > 1e-6
    assert 0.35 < kept.double().mean() < 0.65
    torch.testing.assert_close(dropped[kept], 2 * branch[kept], rtol=1e-4, atol=1e-5)


def test_sstm_branch_scale_is_the_start_of_the_branch() -> None:
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(SpectralSelectiveTokenMixer(4, 3, branch_scale=0.0).eval()(x), x)
    full, tenth = (SpectralSelectiveTokenMixer(4, 3, branch_scale=scale).eval() for scale in (1.0, 0.1))
    scaled = {**full.state_dict(), "norm.weight": tenth.norm.weight}
    tenth.load_state_dict(scaled)
    torch.testing.assert_close(tenth(x) - x, 0.1 * (full(x) - x), rtol=1e-4, atol=1e-6)


# MRF-SE --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [(9, 11), (3, 2)])
def test_mrf_se_is_its_chain_of_convolutions(
    size: tuple[int, int], training: bool, form: Form, randomise: Randomise
) -> None:
    block = form(randomise(MultiReceptiveFieldSE(3, dropout=0.0)).double().train(training))
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    inner = F.elu(bn(F.conv2d(x, block.expand[0].weight), block.expand[1]))
    fields = [
        F.elu(bn(F.conv2d(inner, field[0].weight, padding=k // 2, groups=18), field[1]))
        for k, field in zip((3, 5, 7), block.fields, strict=True)
    ]
    fused = F.elu(bn(F.conv2d(torch.cat(fields, 1), block.fuse[0].weight), block.fuse[1]))
    squeeze, _, excite, _ = block.excite
    pooled = fused.mean((2, 3), keepdim=True)
    hidden = F.elu(F.conv2d(pooled, squeeze.weight, squeeze.bias))
    attended = fused * torch.sigmoid(F.conv2d(hidden, excite.weight, excite.bias))
    expected = x + bn(F.conv2d(attended, block.project[0].weight), block.project[1])
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)
    parameters = list(block.parameters())
    found = torch.autograd.grad(block(x).square().sum(), parameters)
    for ours, plain in zip(found, torch.autograd.grad(expected.square().sum(), parameters), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("c", "squeezed"), [(4, 8), (24, 9), (128, 48)])
def test_mrf_se_widths(c: int, squeezed: int) -> None:
    block = MultiReceptiveFieldSE(c)
    assert block.fuse[0].weight.shape == (6 * c, 18 * c, 1, 1)
    assert block.excite[0].weight.shape == (squeezed, 6 * c, 1, 1)
    assert block.dropout.p == 0.1


# BFD -----------------------------------------------------------------------------------------------------------------


def streams(stage: BoundaryFocusedDecoderStage, deep: Tensor, skip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """r, β and b of SPEC 1.3 from the weights of an eval stage."""

    def conv_bn_relu(x: Tensor, layers: nn.Sequential) -> Tensor:
        return F.relu(bn(F.conv2d(x, layers[0].weight, padding=1), layers[1]))

    up = F.interpolate(deep, size=skip.shape[2:], mode="bilinear", align_corners=False)
    r = conv_bn_relu(conv_bn_relu(torch.cat([up, skip], 1), stage.region[0]), stage.region[1])
    narrow, _, single = stage.boundary_probability
    hidden = F.relu(F.conv2d(r, narrow.weight, narrow.bias, padding=1))
    beta = torch.sigmoid(F.conv2d(hidden, single.weight, single.bias))
    return r, beta, conv_bn_relu(r * beta, stage.boundary)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_bfd_is_its_equations(routing: str, randomise: Randomise) -> None:
    stage = randomise(BoundaryFocusedDecoderStage(5, 4, 6, routing)).double().eval()
    with torch.no_grad():  # moves β to both sides of 0.5, which the hard routing must tell apart
        stage.boundary_probability[2].weight.mul_(20)
    deep = torch.randn(2, 5, 4, 5, dtype=torch.float64)
    skip = torch.randn(2, 4, 8, 9, dtype=torch.float64)
    r, beta, b = streams(stage, deep, skip)
    assert 0.1 < (beta > 0.5).double().mean() < 0.9
    if routing == "soft":
        z = r * (1 - beta) + b * beta
    elif routing == "hard":
        z = torch.where(beta > 0.5, b, r)
    elif routing == "learned":
        scores = F.conv2d(r, stage.route.weight, stage.route.bias).exp()
        z = (r * scores[:, :1] + b * scores[:, 1:]) / scores.sum(1, keepdim=True)
    else:
        z = torch.cat([r, b], 1)
    expected = F.relu(bn(F.conv2d(z, stage.out[0].weight), stage.out[1]))
    out, found_beta = stage(deep, skip)
    torch.testing.assert_close(found_beta, beta, rtol=0, atol=1e-12)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [UpsampleAndConcat, FastUpsampleAndConcat])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
@few
@given(deep=st.integers(1, 5), skip=st.integers(1, 5), height=sizes, width=sizes)
def test_the_way_back_through_upsampling_and_concatenation(
    kind: type[UpsampleAndConcat], layout: torch.memory_format, deep: int, skip: int, height: int, width: int
) -> None:
    x = torch.randn(2, deep, height, width, dtype=torch.float64).contiguous(memory_format=layout)
    beside = torch.randn(2, skip, 2 * height, 2 * width - 1, dtype=torch.float64).contiguous(memory_format=layout)
    upstream = torch.randn(2, deep + skip, 2 * height, 2 * width - 1, dtype=torch.float64)
    leaf, other = x.clone().requires_grad_(), beside.clone().requires_grad_()
    kind()(leaf, other).backward(upstream.contiguous(memory_format=layout))
    alone = x.clone().requires_grad_()
    F.interpolate(alone, size=beside.shape[2:], mode="bilinear").backward(upstream[:, :deep].contiguous())
    torch.testing.assert_close(leaf.grad, alone.grad, rtol=0, atol=1e-12, check_stride=False)
    torch.testing.assert_close(other.grad, upstream[:, deep:], rtol=0, atol=0, check_stride=False)


def test_learned_routes_sum_to_one(randomise: Randomise) -> None:
    stage = randomise(BoundaryFocusedDecoderStage(3, 3, 4, "learned")).double().eval()
    with torch.no_grad():  # with b = r the routes must cancel out of the sum, whatever they are
        stage.boundary = nn.Identity()
        stage.boundary_probability[2].bias.fill_(100.0)
    deep, skip = torch.randn(1, 3, 3, 3).double(), torch.randn(1, 3, 6, 6).double()
    region = stage.region(torch.cat([F.interpolate(deep, scale_factor=2, mode="bilinear"), skip], 1))
    torch.testing.assert_close(stage(deep, skip)[0], stage.out(region), rtol=0, atol=1e-12)


@pytest.mark.parametrize("routing", ["soft", "hard"])
def test_the_gradient_reaches_the_boundary_probability_through_the_routing(routing: str) -> None:
    stage = BoundaryFocusedDecoderStage(3, 3, 4, routing).double()
    for parameter in stage.boundary.parameters():  # leaves only z = r ⊙ (1−β), so b brings nothing to β
        nn.init.zeros_(parameter)
    out, _ = stage(torch.randn(2, 3, 4, 4).double(), torch.randn(2, 3, 8, 8).double())
    (out * torch.randn_like(out)).sum().backward()
    assert stage.boundary_probability[2].weight.grad.abs().max() > 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_hard_routing_takes_one_stream_exactly(dtype: torch.dtype, randomise: Randomise) -> None:
    stage = randomise(BoundaryFocusedDecoderStage(3, 3, 4, "hard")).to(dtype).eval()
    stage.boundary_probability[2].weight.data.mul_(20)
    stage.out = nn.Identity()
    seen: dict[str, Tensor] = {}
    stage.region[1].register_forward_hook(lambda _, __, r: seen.update(r=r))
    stage.boundary.register_forward_hook(lambda _, __, b: seen.update(b=b))
    z, beta = stage(torch.randn(2, 3, 8, 8, dtype=dtype), torch.randn(2, 3, 16, 16, dtype=dtype))
    assert 0.1 < (beta > 0.5).double().mean() < 0.9
    assert torch.equal(z, torch.where(beta > 0.5, seen["b"], seen["r"]))


def test_bfd_refuses_an_unknown_routing() -> None:
    with pytest.raises(ValueError, match=r"unknown routing 'sharp'; choose one of 'soft', 'hard', 'learned', 'none'"):
        BoundaryFocusedDecoderStage(3, 3, 3, "sharp")


# Heads ---------------------------------------------------------------------------------------------------------------


@given(height=sizes, width=sizes, odd=st.booleans())
def test_the_light_head_is_the_convolution_after_the_upsampling(height: int, width: int, odd: bool) -> None:
    head = build_head("light", 5, 4, 3).double()
    decoder = torch.randn(2, 5, height, width, dtype=torch.float64)
    size = (2 * height - odd, 2 * width - odd)
    up = F.interpolate(decoder, size=size, mode="bilinear", align_corners=False)
    logits = head(decoder, torch.zeros(2, 4, *size, dtype=torch.float64))
    torch.testing.assert_close(logits, F.conv2d(up, head.classify.weight, head.classify.bias), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "uses_stem"), [("stem", True), ("light", False), ("released", False)])
def test_only_the_stem_head_sees_full_resolution(name: str, uses_stem: bool, randomise: Randomise) -> None:
    head = randomise(build_head(name, 5, 4, 2)).eval()
    decoder, stem = torch.randn(1, 5, 6, 6), torch.randn(1, 4, 12, 12)
    assert torch.equal(head(decoder, stem), head(decoder, stem + torch.randn_like(stem))) != uses_stem


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown head 'big'; choose one of 'stem', 'light', 'released'"):
        build_head("big", 24, 16, 1)
