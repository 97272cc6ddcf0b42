"""The network through compilers, exporters, short dtypes and memory formats: no FFT and no complex number in it."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
from compiling import fast
from torch import nn
from torch.export import Dim, ExportedProgram

from s2mnet.network import S2MNet, TruncatedSpectralFilter

Randomise = Form = Callable[[nn.Module], nn.Module]
FORMS = pytest.mark.parametrize("form", [pytest.param(lambda network: network, id="plain"), fast])
SMALL = {"channels": (4, 4, 6, 6, 8), "stem_channels": 4}
FREE = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}


def forbidden(graph: torch.fx.GraphModule) -> list[str]:
    """The nodes of an exported graph that are an FFT or hold a complex number."""
    found = []
    for node in graph.graph.nodes:
        values = node.meta.get("val")
        values = values if isinstance(values, list | tuple) else [values]
        is_complex = any(isinstance(value, torch.Tensor) and value.is_complex() for value in values)
        if is_complex or re.search("fft|stft|complex", str(node.target)):
            found.append(str(node))
    return found


def onnx_run(program: torch.onnx.ONNXProgram, x: torch.Tensor) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra s2mnet[onnx]")
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def onnx_operators(program: torch.onnx.ONNXProgram) -> set[str]:
    model = program.model_proto
    return {node.op_type for part in (model.graph, *model.functions) for node in part.node}


@pytest.fixture(scope="module")
def model() -> S2MNet:
    torch.manual_seed(0)
    return S2MNet().eval()


@pytest.fixture(scope="module")
def exported(model: S2MNet) -> ExportedProgram:
    with torch.no_grad():
        return torch.export.export(model, (torch.rand(2, 3, 64, 48),), dynamic_shapes={"x": {0: Dim("batch")}})


@torch.no_grad()
def test_exports_and_serves_any_batch(model: S2MNet, exported: ExportedProgram) -> None:
    for batch in (1, 2, 3):
        x = torch.rand(batch, 3, 64, 48)
        torch.testing.assert_close(exported.module()(x), model(x), rtol=0, atol=1e-5)


def test_the_exported_graph_has_no_fft_and_no_complex_number(exported: ExportedProgram) -> None:
    assert forbidden(exported.graph_module) == []


def test_the_search_for_ffts_finds_one() -> None:
    class Fourier(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.ifft2(torch.fft.fft2(x)).real

    assert len(forbidden(torch.export.export(Fourier(), (torch.rand(4, 4),)).graph_module)) >= 2


@torch.no_grad()
@FORMS
def test_exports_with_free_height_and_width_where_no_band_is_clamped(form: Form) -> None:
    # K_eff = min(K, H, W) is a branch on the size, so only a network whose bands fit every size has one graph for all.
    small = form(S2MNet(**SMALL, num_frequencies=(8, 0, 0, 0, 1)).eval())
    program = torch.export.export(small, (torch.rand(2, 3, 64, 48),), dynamic_shapes={"x": FREE}).module()
    for shape in [(1, 3, 36, 47), (2, 3, 101, 64)]:
        x = torch.rand(shape)
        torch.testing.assert_close(program(x), small(x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_onnx_runtime_agrees_on_the_whole_network(model: S2MNet, exported: ExportedProgram) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra s2mnet[onnx]")
    program = torch.onnx.export(exported, dynamo=True, verbose=False)
    for batch in (1, 3):
        x = torch.rand(batch, 3, 64, 48)
        np.testing.assert_allclose(onnx_run(program, x), model(x).numpy(), rtol=0, atol=1e-4)
    operators = onnx_operators(program)
    assert "MatMul" in operators
    assert not operators & {"DFT", "STFT"}


@torch.no_grad()
@pytest.mark.parametrize("complex_filter", [False, True])
def test_onnx_runtime_agrees_on_the_spectral_branch_at_any_size(complex_filter: bool, randomise: Randomise) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra s2mnet[onnx]")
    branch = randomise(TruncatedSpectralFilter(3, 6, complex_filter)).eval()
    x = torch.randn(2, 3, 9, 14)
    program = torch.onnx.export(branch, (x,), dynamo=True, verbose=False, dynamic_shapes={"x": FREE})
    for shape in [(2, 3, 9, 14), (1, 3, 40, 23)]:
        x = torch.randn(shape)
        np.testing.assert_allclose(onnx_run(program, x), branch(x).numpy(), rtol=0, atol=1e-5)


def train_step(model: nn.Module, run: Callable[..., torch.Tensor], x: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logits = run(x)
    logits.square().mean().backward()
    return {"logits": logits.detach(), **{name: p.grad.clone() for name, p in model.named_parameters()}}


@FORMS
def test_compiles_the_whole_network_without_a_graph_break(form: Form) -> None:
    # The tracing and the backward graph, without the minutes that generating code for all of it would take.
    network = form(S2MNet(**SMALL, num_frequencies=(8, 8, 8, 4, 2), dropout=0.0).double())
    x = torch.rand(2, 3, 64, 48, dtype=torch.float64)
    plain = train_step(network, network, x)
    compiled = train_step(network, torch.compile(network, fullgraph=True, backend="aot_eager"), x)
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name], rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile for the CPU needs a C++ compiler")
def test_generated_code_of_the_spectral_branch_agrees(randomise: Randomise) -> None:
    branch = randomise(TruncatedSpectralFilter(4, 5))
    x = torch.randn(1, 4, 9, 8)
    plain = train_step(branch, branch, x)
    compiled = train_step(branch, torch.compile(branch, fullgraph=True), x)
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name], rtol=1e-4, atol=1e-5)


@FORMS
def test_trains_and_predicts_in_bf16_autocast(model: S2MNet, form: Form) -> None:
    x, model = torch.rand(2, 3, 64, 48), form(copy.deepcopy(model))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        short = model(x)
    with torch.no_grad():
        exact = model(x)
    assert (short.float() - exact).norm() < 3e-2 * exact.norm()

    network = form(S2MNet(**SMALL, num_frequencies=8))
    with torch.autocast("cpu", torch.bfloat16):
        logits, boundaries = network(x, return_boundaries=True)
    assert logits.isfinite().all()
    assert all(((b >= 0) & (b <= 1)).all() for b in boundaries)
    logits.float().square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.dtype == torch.float32
        assert parameter.grad.isfinite().all(), name


@FORMS
def test_channels_last_gives_the_same(form: Form, randomise: Randomise) -> None:
    network = form(randomise(S2MNet(**SMALL, num_frequencies=(8, 8, 8, 4, 2), dropout=0.0)).double())
    x = torch.rand(2, 3, 64, 47, dtype=torch.float64)
    plain = train_step(network, network, x)
    network.to(memory_format=torch.channels_last)
    last = train_step(network, network, x.contiguous(memory_format=torch.channels_last))
    for name in plain:
        torch.testing.assert_close(last[name], plain[name], rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
