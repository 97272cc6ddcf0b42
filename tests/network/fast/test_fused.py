"""The elementwise steps of training against float64, as written and compiled, and where nothing can be compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from compiling import WAYS, compiler
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from s2mnet.network.fast import fused
from s2mnet.network.fast.fused import elu, elu_gradient, norm_elu, norm_gradient

DTYPES = [torch.float32, torch.bfloat16, torch.float64]


def close(found: Tensor, exact: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == dtype
    # Of bf16 what is rounded at the end, once or twice: it is computed in float32.
    rtol, atol = {torch.float32: (1e-6, 1e-6), torch.bfloat16: (8e-3, 1e-5), torch.float64: (1e-14, 1e-14)}[dtype]
    torch.testing.assert_close(found.double(), exact, rtol=rtol, atol=atol)


@pytest.mark.parametrize("worthwhile", WAYS)
@settings(max_examples=25, deadline=None)
@given(rows=st.integers(2, 70), columns=st.integers(2, 40), short=st.sampled_from(DTYPES), seed=st.integers(0, 99))
def test_equal_to_float64(worthwhile: int, rows: int, columns: int, short: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    wide = torch.promote_types(short, torch.float32)
    x, gradient = (8 * torch.randn(rows, columns, dtype=torch.float64).to(short) for _ in range(2))
    scale, slope, offset = torch.randn(3, columns, dtype=torch.float64).to(wide)
    inputs = {"x": x, "gradient": gradient, "scale": scale, "slope": slope, "offset": offset}
    exact = {name: value.double() for name, value in inputs.items()}
    with pytest.MonkeyPatch.context() as patch, torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        patch.setattr(fused, "WORTHWHILE", worthwhile)
        close(elu(x.clone()), F.elu(exact["x"]), short)
        y = exact["x"] * exact["scale"] + exact["offset"]
        close(norm_elu(x, scale, offset), F.elu(y), short)
        result = F.elu(exact["x"]).to(wide)
        slopes = torch.where(exact["x"] > 0, 1, exact["x"].exp())
        close(elu_gradient(gradient.to(wide, copy=True), result), exact["gradient"] * slopes, wide)
        result = result.to(short)
        slopes = torch.where(result > 0, 1, result.double() + 1)  # from the result as it has been rounded
        close(elu_gradient(gradient.clone(), result), exact["gradient"] * slopes, short)
        back = exact["gradient"] * exact["scale"] + exact["x"] * exact["slope"] + exact["offset"]
        # Two products that cancel leave the rounding of each, so nothing is compared with the small difference.
        limits = exact["gradient"].abs() * exact["scale"].abs() + exact["x"].abs() * exact["slope"].abs() + 1
        found = norm_gradient(gradient.clone(), x, scale, slope, offset)
        close(found.double().div(limits).to(short), back / limits, short)
    assert torch.equal(x.double(), exact["x"]), "norm_elu and norm_gradient leave x as it is"


@pytest.mark.parametrize("worthwhile", WAYS)
def test_overflow_and_what_is_not_a_number(worthwhile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "WORTHWHILE", worthwhile)
    y = torch.tensor([[float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 0.0]]).repeat(20, 3)
    torch.testing.assert_close(elu(y.clone()), F.elu(y), equal_nan=True)


@compiler
def test_compiled_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """One code for all sizes; a small map is left to PyTorch."""
    taken: list[int] = []

    def counted(function):  # type: ignore[no-untyped-def]
        code = found(function)
        return lambda x, *rest: (taken.append(x.numel()), code(x, *rest))[1]

    found = fused.compiled
    monkeypatch.setattr(fused, "compiled", counted)
    monkeypatch.setattr(fused, "WORTHWHILE", 60)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for rows in (5, 6, 7, 19, 400):
            elu(torch.randn(rows, 10))
    assert taken == [60, 70, 190, 4000]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is compiled elsewhere")
@pytest.mark.parametrize("found", ["broken", "missing"])
def test_training_goes_on_where_nothing_can_be_compiled(found: str, tmp_path: Path) -> None:
    broken = tmp_path / "cxx"
    broken.write_text("#!/bin/sh\necho no such header >&2\nexit 1\n")
    broken.chmod(0o755)
    code = (
        "import torch, s2mnet.network.fast.fused as fused\n"
        "fused.WORTHWHILE = 0\n"
        "print(fused.elu(torch.tensor([[-1.0, 2.0]])).tolist(), fused.compiles())"
    )
    variables = {
        "CXX": str(broken if found == "broken" else tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[-0.6321205496788025, 2.0]] False"
    assert ("without compiled steps" in done.stderr) == (found == "broken")
    assert "Traceback" not in done.stderr
