"""What is infinite or not a number, and damaged states: refused in time, with advice that works."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny import Cli, module_of, quiet, tiny_plan

from s2mnet import S2MNetError
from s2mnet.data import find_cases
from s2mnet.modelfolder import load_model
from s2mnet.plan import Plan
from s2mnet.training import run as run_module
from s2mnet.training.module import SegmentationModule
from s2mnet.training.run import check_run_folder
from s2mnet.training.state import StateFile


@pytest.fixture(scope="module")
def whole(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs; nothing writes to it."""
    run = tmp_path_factory.mktemp("whole")
    run_module.train(find_cases(tiny_data), tiny_plan(tiny_data, epochs=2), run, console=quiet())
    return run


def state_of(run: Path) -> dict:
    return torch.load(run / "training" / "last.ckpt", weights_only=True, map_location="cpu")


def poison(run: Path) -> str:
    """Put a NaN into the last state of a run; gives the name of the weight."""
    state = state_of(run)
    name = next(name for name, weight in state["state_dict"].items() if weight.dim() == 4)
    state["state_dict"][name][0, 0, 0, 0] = float("nan")
    torch.save(state, run / "training" / "last.ckpt")
    return name


def is_finite(run: Path) -> bool:
    return all(bool(weight.isfinite().all()) for weight in load_model(run)[0].state_dict().values())


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("what", ["weight", "running variance", "second moment of the optimiser"])
def test_a_nan_in_the_last_step_of_an_epoch_is_never_kept(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int, what: str
) -> None:
    original = SegmentationModule.optimizer_step
    taken = []

    def step(self, *args, **kwargs) -> None:
        original(self, *args, **kwargs)
        taken.append(self)
        if len(taken) == 4 * epoch:
            weight = next(self.network.parameters())
            buffer = next(b for name, b in self.network.named_buffers() if name.endswith("running_var"))
            moment = self.optimizers().optimizer.state[weight]["exp_avg_sq"]
            with torch.no_grad():
                {"weight": weight, "running variance": buffer}.get(what, moment).fill_(float("inf"))

    plan = tiny_plan(tiny_data, epochs=3)
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "optimizer_step", step)
        fix = "Start again with a lower --lr" if epoch == 1 else "Continue with --resume with a lower --lr"
        with pytest.raises(S2MNetError, match=f"not a number in epoch {epoch}.*{fix}"):
            run_module.train(find_cases(tiny_data), plan, tmp_path, console=quiet())
    assert (tmp_path / "model.safetensors").exists() == (epoch == 2)
    if epoch == 2:
        assert is_finite(tmp_path)
        assert len(json.loads((tmp_path / "history.json").read_text())) == 1
        assert all(weight.isfinite().all() for weight in state_of(tmp_path)["state_dict"].values())
    check_run_folder(tmp_path, resume=epoch == 2)  # what the message advises can be done
    history = run_module.train(find_cases(tiny_data), plan, tmp_path, epoch == 2, quiet(), recover=True)
    assert len(history) == 3 and is_finite(tmp_path)


@pytest.mark.parametrize("option", [("--lr", "1e-4"), ("--precision", "float32")])
def test_a_state_with_nan_is_refused_and_its_advice_works(
    tiny_data: Path, whole: Path, tmp_path: Path, s2mnet: Cli, option: tuple[str, str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    name, best = poison(run), (run / "model.safetensors").read_bytes()
    command = ("train", tiny_data, "-o", run, "--resume", "--epochs", 4)
    status, _, err = s2mnet(*command)
    assert status == 2 and name in err and "last.ckpt" in err and "--resume" in err and "--lr" in err
    assert (run / "model.safetensors").read_bytes() == best
    status, _, err = s2mnet(*command, *option)
    assert status == 0, err
    assert is_finite(run) and len(json.loads((run / "history.json").read_text())) == 4
    assert all(weight.isfinite().all() for weight in state_of(run)["state_dict"].values())


def test_recovery_starts_from_the_best_model_with_a_new_optimiser(tiny_data: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    poison(tmp_path / "run")
    module = module_of(Plan.load(whole / "plan.yaml"))
    state = StateFile(tmp_path / "run", module.state_dict, recover=True).load_checkpoint(
        tmp_path / "run" / "training" / "last.ckpt"
    )
    for name, weight in load_model(whole)[0].state_dict().items():
        assert torch.equal(state["state_dict"][f"network.{name}"], weight), name
    assert [optimiser["state"] for optimiser in state["optimizer_states"]] == [{}]
    assert state["epoch"] == state_of(whole)["epoch"]


class Planted:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, (str(Path(tempfile.gettempdir()) / "planted"), "w")


DAMAGE: dict[str, Callable[[dict, bytes], object]] = {
    "empty": lambda state, raw: b"",
    "cut": lambda state, raw: raw[: len(raw) // 2],
    "cut by one": lambda state, raw: raw[:-1],
    "a web page": lambda state, raw: b"<html>" * 100,
    "code": lambda state, raw: state | {"x": Planted()},
    "a list": lambda state, raw: [1],
    "no weights": lambda state, raw: {key: part for key, part in state.items() if key != "state_dict"},
    "no callbacks": lambda state, raw: {key: part for key, part in state.items() if key != "callbacks"},
    "no loops": lambda state, raw: state | {"loops": 5},
    "no version": lambda state, raw: {key: part for key, part in state.items() if "version" not in key},
    "no groups": lambda state, raw: state | {"optimizer_states": [{"state": {}, "param_groups": []}]},
    "records": lambda state, raw: state | {"callbacks": state["callbacks"] | {"History": {"records": 5}}},
    "another network": lambda state, raw: (
        state | {"state_dict": {name: weight[:1] for name, weight in state["state_dict"].items() if weight.dim()}}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_one_message_and_its_fix_works(
    damage: str, tiny_data: Path, whole: Path, tmp_path: Path, s2mnet: Cli
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    last = run / "training" / "last.ckpt"
    content = DAMAGE[damage](state_of(whole), last.read_bytes())
    if isinstance(content, bytes):
        last.write_bytes(content)
    else:
        torch.save(content, last)
    status, _, err = s2mnet("train", tiny_data, "-o", run, "--resume", "--epochs", 4)
    assert status == 2 and f"{last} is damaged, or not the state of this training" in " ".join(err.split()), err
    assert "Delete it and train again without --resume" in err and len(err) < 1000
    assert not (Path(tempfile.gettempdir()) / "planted").exists()
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    last.unlink()
    check_run_folder(run, resume=False)


def test_a_loss_in_the_thousands_is_warned_of_once(tiny_data: Path, tmp_path: Path) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    plan = tiny_plan(tiny_data, epochs=3, lr=1e3)
    with contextlib.suppress(S2MNetError):
        run_module.train(find_cases(tiny_data), plan, tmp_path, console=console)
    losses = [record["train_loss"] for record in json.loads((tmp_path / "history.json").read_text())]
    assert max(losses) > 1000  # so this tests something
    assert console.export_text().count("does not converge") == 1
