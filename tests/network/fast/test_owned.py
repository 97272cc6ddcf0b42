"""Compiled code lies where nobody else can plant any."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from s2mnet.network.fast.owned import VARIABLE, check_owned, use_own_folder

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is compiled elsewhere")


@pytest.mark.parametrize("named", [None, "torchinductor_user"])
def test_the_folder_is_private_and_in_the_users_cache(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE)
    if named:  # PyTorch itself sets this, to its folder for all users
        monkeypatch.setenv(VARIABLE, str(tmp_path / named))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_own_folder()
    folder = Path(os.environ[VARIABLE])
    assert folder.is_relative_to(tmp_path / "cache")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_folder_that_others_may_write_to_is_not_used(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir()
    folder.chmod(mode)
    monkeypatch.setenv(VARIABLE, str(folder))
    with pytest.raises(PermissionError, match="0700"):
        use_own_folder()


def test_a_folder_that_others_may_replace_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "compiled"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    check_owned(folder)
    folder.parent.chmod(0o777)
    with pytest.raises(PermissionError, match="replace"):
        check_owned(folder)
    folder.parent.chmod(0o1777)  # as /tmp: only owners may rename what is in it
    check_owned(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir(mode=0o700)
    os.chown(folder, 34567, 34567)
    monkeypatch.setenv(VARIABLE, str(folder))
    with pytest.raises(PermissionError):
        use_own_folder()


def test_training_goes_on_in_plain_steps_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    code = (
        "import torch, s2mnet.network.fast.fused as fused\n"
        "fused.WORTHWHILE = 0\n"
        "print(fused.elu(torch.tensor([[-1.0, 2.0]])).tolist(), fused.compiles())"
    )
    variables = {VARIABLE: str(tmp_path / "open"), "CXX": sys.executable}  # any programme: it is not to be run
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[-0.6321205496788025, 2.0]] False"
    assert "without compiled steps" in done.stderr and "0700" in done.stderr
    assert not any((tmp_path / "open").iterdir())
