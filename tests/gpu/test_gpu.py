"""Everything that runs on a GPU, on one that is not there: each function of ``cases.py``, in processes of its own."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
CASES = [
    node.name
    for node in ast.parse((HERE / "cases.py").read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By function, what failed in each of its cases; [""] for one that passed."""
    if not sys.platform.startswith("linux") or shutil.which("g++") is None:
        pytest.skip("needs Linux and g++ to build the device that is not there")
    folder = tmp_path_factory.mktemp("gpu")
    library = folder / "pretend.so"
    torch_folder = Path(torch.__file__).parent
    build = [
        "g++", "-shared", "-fPIC", "-std=c++20", f"-I{torch_folder / 'include'}", HERE / "pretend.cpp", "-o", library,
        f"-L{torch_folder / 'lib'}", "-Wl,--no-as-needed", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{torch_folder / 'lib'}",
    ]  # fmt: skip
    subprocess.run(build, check=True)
    env = {**os.environ, "LD_PRELOAD": str(library), "TORCH_COMPILE_DISABLE": "1"}
    outcomes: dict[str, list[str]] = {}
    for chosen in ("mac", "not mac"):  # PyTorch does not expect that one process has first one, then another
        report = folder / f"{chosen}.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-o", f"cache_dir={folder}", f"--junitxml={report}"]
        command += ["-k", chosen, str(HERE / "cases.py")]
        run = subprocess.run(command, env=env, cwd=HERE.parents[1], capture_output=True, text=True)
        assert report.exists(), run.stdout + run.stderr
        for case in ElementTree.parse(report).iter("testcase"):
            failures = [problem.text or "" for problem in case if problem.tag in ("failure", "error")]
            outcomes.setdefault(case.attrib["name"].partition("[")[0], []).append("\n".join(failures))
    return outcomes


@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu(name: str, outcomes: dict[str, list[str]]) -> None:
    assert name in outcomes
    problems = [problem for problem in outcomes[name] if problem]
    assert not problems, "\n\n".join(problems)
