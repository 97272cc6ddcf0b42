"""What stands beside a figure."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy
import pytest
import torch

from s2mnet.provenance import _cpu_model, commit, environment


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with package/module.py in it."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    module = tmp_path / "package" / "module.py"
    module.parent.mkdir()
    module.write_text("one\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--no-gpg-sign", "-m", "first")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_commit_and_changes(checkout: Path) -> None:
    module = checkout / "package" / "module.py"
    head = git(checkout, "rev-parse", "HEAD")
    assert commit(module) == head
    (checkout / "result.json").write_text("{}")
    assert commit(module) == head
    (module.parent / "new.py").write_text("untracked, but it can be imported\n")
    assert commit(module) == head + "+changes"
    (module.parent / "new.py").unlink()
    module.write_text("two\n")
    assert commit(module) == head + "+changes"


@pytest.mark.parametrize("tracked", [True, False])
def test_changes_of_the_laboratory_count_too(checkout: Path, tracked: bool) -> None:
    module, laboratory = checkout / "package" / "module.py", checkout / "s2mnet_lab" / "bench" / "timing.py"
    laboratory.parent.mkdir(parents=True)
    laboratory.write_text("one\n")
    if tracked:
        git(checkout, "add", ".")
        git(checkout, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--no-gpg-sign", "-m", "second")
        assert commit(module) == git(checkout, "rev-parse", "HEAD")
        laboratory.write_text("two\n")
    assert commit(module) == git(checkout, "rev-parse", "HEAD") + "+changes"


def test_no_commit_for_what_a_checkout_does_not_track(checkout: Path, tmp_path: Path) -> None:
    installed = checkout / "site-packages" / "module.py"
    installed.parent.mkdir()
    installed.write_text("one\n")
    assert commit(installed) is None


def test_environment_says_what_runs() -> None:
    got = environment()
    assert got["torch"] == torch.__version__
    assert got["numpy"] == numpy.__version__
    assert got["threads"] == torch.get_num_threads()
    assert got["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert got["python"] == sys.version.split()[0]
    assert got["cpu"] and got["cpu_count"] >= 1
    assert datetime.fromisoformat(got["date"]).utcoffset() == timedelta(0)
    assert json.loads(json.dumps(got)) == got


def test_a_processor_is_told_from_another_of_its_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n\nmodel name\t: other\n")
    assert _cpu_model(cpuinfo) == "AMD EPYC (family 26, model 2)"
    cpuinfo.write_text("model name\t: ARMv7 Processor rev 4 (v7l)\nCPU implementer\t: 0x41\n\n")
    assert _cpu_model(cpuinfo) == "ARMv7 Processor rev 4 (v7l)"
    cpuinfo.write_text("processor\t: 0\nCPU implementer\t: 0x41\n\n")
    assert _cpu_model(cpuinfo) == _cpu_model(tmp_path / "none") != ""


def test_environment_imports_no_library() -> None:
    code = "import sys; from s2mnet.provenance import environment; environment(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
