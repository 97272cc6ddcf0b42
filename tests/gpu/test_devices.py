"""Every tensor that is made beside others says where: a walk over the code that computes on a device."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "s2mnet"
FACTORIES = {
    "arange", "bartlett_window", "empty", "eye", "full", "hann_window", "linspace", "logspace", "ones", "rand",
    "randint", "randn", "randperm", "scalar_tensor", "tensor", "zeros",
}  # fmt: skip
# Where a tensor is made on the CPU by intent: buffers and parameters, which `.to` moves, and what only a CPU computes.
ON_THE_CPU = {
    "inference.py:window_weights": "given to MONAI's sliding window, which moves it",
    "inference.py:run: torch.zeros": "a sum's first term, 0-d, which may be on any device",
    "network/spectral.py:_start": "values that parameters start with",
    "loss/descriptors.py:_averaging": "skeletons and outlines are measured on the CPU",
    "network/fast": "fast forms are installed on a CPU alone",
    "__init__": "parameters and buffers move with their module",
}


def without_device(path: Path, root: Path = SOURCE) -> Iterator[str]:
    """FILE:FUNCTION of each call of a factory of tensors that names no device."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for call in [node for node in ast.walk(function) if isinstance(node, ast.Call)]:
            made = call.func
            if (
                isinstance(made, ast.Attribute)
                and isinstance(made.value, ast.Name)
                and made.value.id == "torch"
                and made.attr in FACTORIES
                and not any(keyword.arg in ("device", None) for keyword in call.keywords)
            ):
                yield f"{path.relative_to(root).as_posix()}:{function.name}: torch.{made.attr}"


def test_tensors_say_where_they_are_made() -> None:
    files = [*SOURCE.rglob("network/**/*.py"), *SOURCE.rglob("loss/*.py"), SOURCE / "inference.py",
             SOURCE / "engines.py", SOURCE / "training" / "module.py"]  # fmt: skip
    assert len(files) > 20
    found = [call for path in files for call in without_device(path)]
    assert [call for call in found if not any(known in call for known in ON_THE_CPU)] == []


def test_the_walk_sees_a_tensor_without_a_device(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text("def f(x):\n    return torch.zeros(3) + torch.ones(3, device=x.device) + torch.ones_like(x)\n")
    assert list(without_device(file, tmp_path)) == ["sample.py:f: torch.zeros"]
