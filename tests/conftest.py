"""Fixtures shared by all tests."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from tiny import Cli

settings.register_profile("s2mnet", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("s2mnet")


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_caches(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[None]:
    """Decoded images of the tests stay out of the user's cache, and so does code that PyTorch compiled for tiny maps.

    It finds code again by what it computes, not by the sizes it was made for, and would train large images with it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S2MNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        compiled = pytestconfig.cache.mkdir("compiled")
        compiled.chmod(0o700)  # no compiled code is run from a folder that others may write to
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(compiled))
        yield


@pytest.fixture(scope="session", autouse=True)
def _speed_measured_once() -> Iterator[None]:
    """A plan measures the machine by training for a few seconds; fifty tests make one by the command line."""
    from s2mnet.plan import machine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "_speed", functools.cache(machine._speed))
        yield


@pytest.fixture(autouse=True)
def _pytorch_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO takes seconds to start, for the two or three tiny images of most tests: there it must be asked for."""
    from s2mnet.engines import choose
    from s2mnet.prediction import predictor

    monkeypatch.setattr(predictor, "choose", lambda name, device: choose("torch" if name == "auto" else name, device))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images with human masks, kept beside the repository and never in it; tests skip where they are missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "README.md").is_file():
        pytest.skip(f"needs the real images in {folder}, which are not on this machine")
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve generated images with discs, in train, val and test; nothing writes to it."""
    from tiny import write_data

    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def tiny_run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on it by the whole workflow, report included; nothing writes to it."""
    from tiny import quiet, tiny_plan

    from s2mnet.workflow import run_training

    folder = tmp_path_factory.mktemp("run")
    tiny_plan(tiny_data, epochs=4, repeats=6, tta=4).save(folder / "given.yaml")
    run_training(tiny_data, folder / "run", folder / "given.yaml", console=quiet(), command="s2mnet train tiny")
    return folder / "run"


@pytest.fixture
def s2mnet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the entry point with arguments; gives exit status, output and errors."""
    from s2mnet import cli

    return _calls_of("s2mnet", cli.main, monkeypatch, capsys)


@pytest.fixture
def s2mnet_lab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The same of the laboratory."""
    from s2mnet_lab import cli

    return _calls_of("s2mnet-lab", cli.main, monkeypatch, capsys)


def _calls_of(
    name: str, main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
            sys.exit(0)
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call
