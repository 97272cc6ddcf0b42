"""Training: repeatable, resumable, bounded in time, and what it leaves behind."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny import module_of, quiet, tiny_plan, train_tiny, untimed

from s2mnet import Predictor, S2MNetError
from s2mnet.data import find_cases, load_case
from s2mnet.files import write_atomically
from s2mnet.modelfolder import load_model
from s2mnet.network import TruncatedSpectralFilter
from s2mnet.plan import Plan, Training
from s2mnet.training import run as run_module
from s2mnet.training.callbacks import History, KeepBest, Schedule, learning_rate
from s2mnet.training.module import validation_dice
from s2mnet.training.run import check_run_folder
from s2mnet.training.samples import TrainingSamples
from s2mnet.training.store import PreparedCases
from s2mnet.workflow import run_training


def state_of(run: Path) -> dict:
    """What --resume reads, read as it reads it."""
    return torch.load(run / "training" / "last.ckpt", weights_only=True, map_location="cpu")


def assert_same_run(one: Path, other: Path) -> None:
    """Best model, last weights, optimiser and log are equal, bit for bit and but for the clock."""
    best, other_best = (load_file(run / "model.safetensors") for run in (one, other))
    assert best.keys() == other_best.keys() and all(torch.equal(best[name], other_best[name]) for name in best)
    last, other_last = state_of(one), state_of(other)
    assert last["state_dict"].keys() == other_last["state_dict"].keys()
    for name, tensor in last["state_dict"].items():
        assert torch.equal(tensor, other_last["state_dict"][name]), name
    moments, other_moments = (state["optimizer_states"][0]["state"] for state in (last, other_last))
    for index, moment in moments.items():
        assert all(torch.equal(moment[key], other_moments[index][key]) for key in ("step", "exp_avg", "exp_avg_sq"))
    logs = [untimed(json.loads((run / "history.json").read_text())) for run in (one, other)]
    assert logs[0] == logs[1]


# The schedule ---------------------------------------------------------------------------------------------------------


@given(
    st.floats(0, 1), st.floats(1e-5, 1), st.floats(0, 1e-5), st.one_of(st.just(0.0), st.floats(0.01, 0.9)),
)  # fmt: skip
def test_learning_rate_is_a_line_and_a_cosine(progress: float, lr: float, min_lr: float, warmup: float) -> None:
    found = learning_rate(progress, Training(lr=lr, min_lr=min_lr, warmup=warmup))
    if progress < warmup:
        expected = lr * progress / warmup
    else:
        expected = min_lr + 0.5 * (lr - min_lr) * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_learning_rate_of_the_paper() -> None:
    paper = Training(lr=1e-4, min_lr=1e-6, warmup=10 / 150)
    assert learning_rate(10 / 150, paper) == pytest.approx(1e-4)
    assert learning_rate(5 / 150, paper) == pytest.approx(5e-5)
    assert learning_rate(80 / 150, paper) == pytest.approx((1e-4 + 1e-6) / 2)
    assert learning_rate(1.0, paper) == pytest.approx(1e-6)


def test_progress_is_of_steps_or_of_time_whichever_is_further() -> None:
    clock = [1000.0]

    def progress(step: int, seconds: float, **budget: float) -> float:
        clock[0] = 1000.0
        schedule = Schedule(Training(**budget), lambda: clock[0])
        trainer = SimpleNamespace(global_step=step, num_training_batches=20, should_stop=False)
        schedule.on_train_start(trainer, None)  # type: ignore[arg-type]
        clock[0] += seconds
        return schedule.progress(trainer)  # type: ignore[arg-type]

    assert progress(50, 9999, epochs=10) == 0.25
    assert progress(99999, 30, minutes=2) == 0.25
    assert progress(50, 30, epochs=10, minutes=1) == 0.5
    assert progress(150, 30, epochs=10, minutes=1) == 0.75
    assert progress(500, 0, epochs=10) == 1.0


def test_time_goes_on_where_a_run_stopped() -> None:
    clock = [0.0]
    trainer = SimpleNamespace(global_step=0, num_training_batches=20, should_stop=False)
    first, second = (Schedule(Training(minutes=1), lambda: clock[0]) for _ in range(2))
    first.on_train_start(trainer, None)  # type: ignore[arg-type]
    clock[0] = 24
    state = first.state_dict()
    clock[0] = 5000  # the machine was off
    second.load_state_dict(state)
    second.on_train_start(trainer, None)  # type: ignore[arg-type]
    clock[0] += 12
    assert second.seconds() == pytest.approx(36)
    assert second.progress(trainer) == pytest.approx(0.6)  # type: ignore[arg-type]
    second.on_train_batch_end(trainer, None)  # type: ignore[arg-type]
    assert not trainer.should_stop
    clock[0] += 24
    second.on_train_batch_end(trainer, None)  # type: ignore[arg-type]
    assert trainer.should_stop


def test_the_optimiser_follows_the_schedule(tiny_run: Path) -> None:
    plan, history = Plan.load(tiny_run / "plan.yaml"), json.loads((tiny_run / "history.json").read_text())
    # The last step of epoch e of 4, 12 steps each, starts with 12e − 1 of 48 steps done.
    expected = [learning_rate((12 * epoch - 1) / 48, plan.training) for epoch in (1, 2, 3, 4)]
    assert [record["lr"] for record in history] == pytest.approx(expected)
    assert [record["steps"] for record in history] == [12, 24, 36, 48]


# Repeating and resuming -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_plan(tiny_data: Path) -> Plan:
    """Three epochs with learned weights of the loss, long enough to be killed in."""
    return tiny_plan(tiny_data, epochs=3, repeats=10, loss_options={"weighting": "learned"})


@pytest.fixture(scope="module")
def whole(tiny_data: Path, long_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by it that nothing interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    run_module.train(find_cases(tiny_data), long_plan, run, console=quiet())
    return run


def test_a_seed_repeats_a_run_bit_by_bit(tiny_data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        torch.rand(5 if name == "one" else 1)  # whatever was drawn before
        train_tiny(tiny_data, tmp_path / name, epochs=2)
    assert_same_run(tmp_path / "one", tmp_path / "two")
    other = train_tiny(tiny_data, tmp_path / "three", epochs=2, seed=7)
    assert other[0]["train_loss"] != json.loads((tmp_path / "one" / "history.json").read_text())[0]["train_loss"]


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    tiny_data: Path, long_plan: Plan, whole: Path, tmp_path: Path
) -> None:
    run, state = tmp_path / "run", tmp_path / "run" / "training" / "last.ckpt"
    long_plan.save(tmp_path / "plan.yaml")
    arguments = ["train", str(tiny_data), "-o", str(run), "--plan", str(tmp_path / "plan.yaml")]
    command = [sys.executable, "-c", "from s2mnet.cli import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while not state.exists() and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        printed = process.communicate()[0].decode()
    assert process.returncode == -signal.SIGKILL, printed
    assert len(state_of(run)["callbacks"]["History"]["records"]) < 3
    load_model(run)
    run_training(tiny_data, run, resume=True, console=quiet(), command="s2mnet train")
    assert_same_run(run, whole)
    assert not [path for path in run.rglob("*") if path.name.endswith(".part") and path.stat().st_size == 0]
    assert (run / "report.html").is_file()


def test_an_interrupted_epoch_is_done_again(
    tiny_data: Path, long_plan: Plan, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    original = Schedule.on_train_batch_end

    def stop(self, trainer: pl.Trainer, *args) -> None:
        original(self, trainer, *args)
        if trainer.global_step == 47:  # in the middle of the third epoch
            raise Stop

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Schedule, "on_train_batch_end", stop)
        with pytest.raises(Stop):
            run_module.train(find_cases(tiny_data), long_plan, run, console=quiet())
    assert [record["steps"] for record in state_of(run)["callbacks"]["History"]["records"]] == [20, 40]
    history = run_module.train(find_cases(tiny_data), long_plan, run, resume=True, console=quiet())
    assert [record["steps"] for record in history] == [20, 40, 60]
    assert_same_run(run, whole)


def test_a_finished_run_that_is_resumed_stays_as_it_is(tiny_data: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    run_module.train(find_cases(tiny_data), Plan.load(whole / "plan.yaml"), tmp_path / "run", True, quiet())
    assert_same_run(whole, tmp_path / "run")


def test_an_interrupt_by_the_user_reaches_the_caller(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Schedule, "on_train_batch_end", interrupt)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tiny_data, tmp_path / "run", epochs=1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_state_is_whole_at_every_moment(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A file is read before it is put in its place, and so is the one there: neither is ever partly written. It comes
    # from beside its place, since a move from another disk is a copy.
    placed = []
    replace = os.replace

    def check(source: Path, target: Path) -> None:
        assert Path(source).parent == Path(target).parent
        if Path(target).name == "last.ckpt":
            torch.load(source, weights_only=True)
            if Path(target).exists():
                torch.load(target, weights_only=True)
        placed.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", check)
    train_tiny(tiny_data, tmp_path / "run", epochs=2)
    assert placed.count("last.ckpt") == 2 and {"model.safetensors", "config.json", "history.json"} <= set(placed)
    assert sorted(path.name for path in (tmp_path / "run" / "training").iterdir()) == ["last.ckpt"]
    assert len(state_of(tmp_path / "run")["callbacks"]["History"]["records"]) == 2


def test_a_run_is_not_trained_over_and_nothing_is_not_resumed(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="--resume") as caught:
        check_run_folder(whole, resume=False)
    assert caught.value.where == str(whole)
    check_run_folder(whole, resume=True)
    check_run_folder(tmp_path / "new", resume=False)
    for run in (tmp_path / "new", tmp_path):
        with pytest.raises(S2MNetError, match="no finished epoch"):
            check_run_folder(run, resume=True)


def test_a_run_stopped_in_its_first_epoch_starts_anew(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Schedule, "on_train_batch_end", stop)
        with pytest.raises(RuntimeError, match="power cut"):
            train_tiny(tiny_data, tmp_path / "run", epochs=1)
    with pytest.raises(S2MNetError, match="without --resume"):
        check_run_folder(tmp_path / "run", resume=True)
    check_run_folder(tmp_path / "run", resume=False)


# Budget and choice of the best ----------------------------------------------------------------------------------------


def test_minutes_bound_a_run_within_an_epoch(tiny_data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(tiny_data, minutes=0.05, repeats=5000)
    assert plan.training.epochs is None
    plan.save(tmp_path / "plan.yaml")
    report = run_training(tiny_data, tmp_path / "run", tmp_path / "plan.yaml", console=quiet(), command="s2mnet")
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(history) == 1 and 1 <= history[0]["steps"] < 10000  # an epoch would be 10,000 steps
    assert history[0]["seconds"] >= 3
    assert report.is_file() and Predictor(tmp_path / "run").config.labels.values == [0, 255]
    spent = state_of(tmp_path / "run")["callbacks"]["Schedule"]["elapsed"]
    assert spent >= 3
    again = run_module.train(find_cases(tiny_data), plan, tmp_path / "run", resume=True, console=quiet())
    assert again == history  # resumed after its time, it is as it was


def test_other_work_takes_nothing_from_a_budget_of_processor_time(tiny_data: Path, tmp_path: Path) -> None:
    class Busy(pl.Callback):
        def on_train_batch_start(self, *_: object) -> None:
            time.sleep(0.05)  # as if another process had the core

    plan, started = tiny_plan(tiny_data, minutes=0.01, repeats=5000), time.process_time()
    run_module.train(
        find_cases(tiny_data), plan, tmp_path / "run", console=quiet(), callbacks=[Busy()], clock=time.process_time
    )
    (record,) = json.loads((tmp_path / "run" / "history.json").read_text())
    assert 0.6 <= record["seconds"] <= time.process_time() - started


def test_the_model_kept_is_that_of_the_best_epoch(tiny_data: Path, tiny_run: Path) -> None:
    history = json.loads((tiny_run / "history.json").read_text())
    plan, predictor = Plan.load(tiny_run / "plan.yaml"), Predictor(tiny_run)
    scores = []
    for case in find_cases(tiny_data).splits["val"]:
        image, truth = load_case(case, plan.labels)
        found = predictor.predict(image, tta=1).indices
        scores.append(2 * ((found == 1) & (truth == 1)).sum() / ((found == 1).sum() + (truth == 1).sum()))
    assert sum(scores) / len(scores) == pytest.approx(max(record["val_dice"] for record in history), abs=1e-6)
    assert max(record["val_dice"] for record in history) > 0.7


def test_the_first_of_the_best_is_kept_and_patience_ends_the_run(tiny_data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(tiny_data, epochs=1)
    module = module_of(plan)
    history = History(tmp_path, Schedule(plan.training), quiet())
    config = run_module.ModelConfig(preprocessing=plan.preprocessing, labels=plan.labels)
    keep, trainer = KeepBest(tmp_path, config, history, patience=2), SimpleNamespace(should_stop=False)
    stopped = []
    for epoch, dice in enumerate([0.0, 0.5, 0.7, 0.6, 0.7], 1):
        with torch.no_grad():
            for parameter in module.network.parameters():
                parameter.fill_(float(epoch))
        history.records.append({"val_dice": dice})
        keep.on_train_epoch_end(trainer, module)  # type: ignore[arg-type]
        kept = next(load_model(tmp_path)[0].parameters())
        assert (kept == {1: 1, 2: 2, 3: 3, 4: 3, 5: 3}[epoch]).all()
        stopped.append(trainer.should_stop)
    assert stopped == [False, False, False, False, True]


def test_training_without_gain_stops_and_stays_stopped(tiny_data: Path, tmp_path: Path) -> None:
    changes = {"epochs": 20, "patience": 2, "lr": 1e-12, "min_lr": 0, "repeats": 1}
    history = train_tiny(tiny_data, tmp_path / "run", **changes)
    scores = [record["val_dice"] for record in history]
    best = scores.index(max(scores))
    assert len(scores) == best + 3 < 20
    assert train_tiny(tiny_data, tmp_path / "run", resume=True, **changes) == history


def test_the_figures_of_an_epoch_are_means_over_it_alone(tiny_data: Path) -> None:
    plan = tiny_plan(tiny_data, epochs=1)
    cases = {
        split: PreparedCases(
            find_cases(tiny_data).splits[split], plan.preprocessing, plan.labels, split == "train", None
        )
        for split in ("train", "val")
    }
    module, samples = module_of(plan, cases["val"]), TrainingSamples(cases["train"], plan)
    losses, cores = [], []
    for start in (0, 2, 4):
        parts = zip(*(samples[(0, index)] for index in (start, start + 1)), strict=True)
        losses.append(float(module.training_step(tuple(map(torch.stack, parts)), 0).detach()))
        cores.append(float(module.criterion.log["term/core"]))
        if start == 2:
            module.eval()
            module.validation_step([0, 1], 0)
            dices = list(validation_dice(module.inference, [cases["val"][0], cases["val"][1]]))
            module.train()
            figures = module.finish_epoch()
    assert figures.loss == pytest.approx((losses[0] + losses[1]) / 2)
    assert figures.loss_log["term"]["core"] == pytest.approx((cores[0] + cores[1]) / 2)
    assert figures.val_dice == pytest.approx(sum(dices) / 2)
    assert module.finish_epoch().loss == pytest.approx(losses[2])


# The loss in training -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["learned", "uncertainty"])
def test_the_weights_of_the_loss_are_learned_within_bounds(tiny_data: Path, tmp_path: Path, weighting: str) -> None:
    changes = {"loss_options": {"weighting": weighting}, "weight_decay": 0.5}
    module = module_of(tiny_plan(tiny_data, epochs=1, **changes))
    groups = module.configure_optimizers().param_groups
    weights = list(module.criterion.parameters())
    assert len(weights) == 1 and weights[0].numel() == 5
    assert [group["weight_decay"] for group in groups if any(p is weights[0] for p in group["params"])] == [0.0]
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))

    # Steps of 0.5 drive them against the bounds within an epoch.
    history = train_tiny(tiny_data, tmp_path / "run", epochs=2, repeats=10, lr=0.5, warmup=0.0, **changes)
    for record in history:
        for kind in ("terms", "weights", "limits", "alpha"):
            assert set(record[kind]) == {"core", "bnd", "str", "sca", "tex"}
        assert set(record["descriptors"]) == {"tubularity", "compactness", "irregularity", "size"}
        assert all(0.1 <= weight <= 10 for weight in record["weights"].values())
    start = {"core": 1.0, "bnd": 1.0, "str": 1.0, "sca": 0.5, "tex": 0.5}
    assert history[1]["weights"] != pytest.approx(start, abs=0.1)
    state = state_of(tmp_path / "run")["state_dict"]
    (stored,) = [tensor for name, tensor in state.items() if name.startswith("criterion.")]
    weight = stored if weighting == "learned" else torch.exp(-stored)
    assert weight.min() >= 0.1 and weight.max() <= 10
    assert weight.min() < 0.11 or weight.max() > 9.9


def test_fixed_weights_and_the_plain_loss_are_not_learned(tiny_data: Path, tmp_path: Path) -> None:
    fixed = module_of(tiny_plan(tiny_data, epochs=1, loss_options={"weighting": "fixed"}))
    assert not list(fixed.criterion.parameters()) and len(fixed.configure_optimizers().param_groups) == 1
    history = train_tiny(tiny_data, tmp_path / "run", epochs=1, loss="dice_ce", loss_options={})
    assert "terms" not in history[0] and "weights" not in history[0] and history[0]["train_loss"] > 0


def test_adam_and_adamw_are_what_they_say(tiny_data: Path) -> None:
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        module = module_of(tiny_plan(tiny_data, epochs=1, optimiser=name))
        optimiser = module.configure_optimizers()
        assert type(optimiser) is kind
        assert optimiser.param_groups[0]["betas"] == (0.9, 0.999)
        assert optimiser.param_groups[0]["weight_decay"] == 1e-4


@pytest.mark.parametrize(
    "wrong",
    [{"network": {"depth": 9}}, {"network": {"head": "none"}}, {"loss_options": {"weighting": "best"}}],
    ids=str,
)
def test_a_plan_for_no_network_or_loss_is_refused_before_anything_is_written(
    tiny_data: Path, tmp_path: Path, wrong: dict
) -> None:
    with pytest.raises(S2MNetError, match="plan"):
        train_tiny(tiny_data, tmp_path / "run", epochs=1, **wrong)
    assert not (tmp_path / "run").exists()


def test_writing_over_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "a.txt", b"old")

    def full(self: Path, content: bytes) -> int:
        with open(self, "wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(S2MNetError, match="No space left"):
        write_atomically(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_spectral_filters_may_learn_faster(tiny_data: Path, tmp_path: Path) -> None:
    """After one step of Adam every weight has moved by the learning rate, whatever its gradient."""
    moved = {}
    for factor in (1.0, 10.0):
        train_tiny(tiny_data, tmp_path / f"{factor}", steps=1, warmup=0.0, filter_lr=factor, weight_decay=0.0)
        network, _ = load_model(tmp_path / f"{factor}")
        moved[factor] = network.stages[0][-1].spectral.weight.detach() - TruncatedSpectralFilter(8, 4).weight.detach()
    assert float(moved[1.0].abs().max()) == pytest.approx(1e-2, rel=1e-3)
    assert torch.allclose(moved[10.0], 10 * moved[1.0], atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_gradients_are_clipped_in_every_precision(tiny_data: Path, tmp_path: Path, precision: str) -> None:
    """Clipped far below Adam's ε of 1e-8, gradients move nothing; else every weight moves by the learning rate."""
    train_tiny(tiny_data, tmp_path / "run", steps=1, warmup=0.0, clip=1e-13, weight_decay=0.0, precision=precision)
    network, _ = load_model(tmp_path / "run")
    moved = network.stages[0][-1].spectral.weight.detach() - TruncatedSpectralFilter(8, 4).weight.detach()
    assert float(moved.abs().max()) < 1e-6


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU the plain network trains")
def test_history_and_report_name_the_fast_forms_that_trained(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    tiny_plan(tiny_data, epochs=1).save(tmp_path / "plan.yaml")
    report = run_training(tiny_data, run, tmp_path / "plan.yaml", console=quiet(), command="s2mnet").read_text()
    assert ">fast forms</th><td>MRF-SE in chunks" in report
    monkeypatch.setenv("S2MNET_PLAIN", "1")
    report = run_training(tiny_data, run, resume=True, epochs=2, console=quiet(), command="s2mnet").read_text()
    first, second = (record["fast_forms"] for record in json.loads((run / "history.json").read_text()))
    assert "depthwise gradients" in first and second == []
    assert ">fast forms</th><td>none</td>" in report


def test_the_report_says_in_which_precision_the_model_was_trained(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan's "auto" does not, least of all where a run goes on on another machine."""
    run = tmp_path / "run"
    tiny_plan(tiny_data, epochs=1, precision="auto").save(tmp_path / "plan.yaml")
    monkeypatch.setattr(run_module, "multiplies_bf16", lambda device: True)
    report = run_training(tiny_data, run, tmp_path / "plan.yaml", console=quiet(), command="s2mnet").read_text()
    assert ">training precision</th><td>bf16</td>" in report
    monkeypatch.setattr(run_module, "multiplies_bf16", lambda device: False)
    report = run_training(tiny_data, run, resume=True, epochs=2, console=quiet(), command="s2mnet").read_text()
    assert ">training precision</th><td>bf16, from epoch 2 on float32</td>" in report
    context = json.loads((run / "evaluation" / "test" / "metrics.json").read_text())["context"]
    assert context["training precision"] == "bf16, from epoch 2 on float32"
