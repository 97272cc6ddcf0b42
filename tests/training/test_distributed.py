"""Two processes train as one does on the same batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import NARROW, tiny_plan, train_tiny, untimed, write_data

from s2mnet.errors import S2MNetError
from s2mnet.modelfolder import load_model
from s2mnet.training.distributed import share_of
from s2mnet.training.samples import EpochSampler


def launch(processes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in so many processes, started by torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    command = [*launcher, "-m", "s2mnet", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.parametrize("loss", ["masl", "dice_ce"])
def test_two_processes_train_as_one(tiny_data: Path, tmp_path: Path, loss: str) -> None:
    options = {"weighting": "uncertainty"} if loss == "masl" else {}
    changes = dict(epochs=3, repeats=3, lr=1e-4, loss=loss, loss_options=options, network=NARROW | {"dropout": 0.0})
    alone = untimed(train_tiny(tiny_data, tmp_path / "alone", **changes))
    tiny_plan(tiny_data, **changes).save(tmp_path / "plan.yaml")
    done = launch(2, "train", tiny_data, "-o", tmp_path / "both", "--plan", tmp_path / "plan.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    both = untimed(json.loads((tmp_path / "both" / "history.json").read_text()))
    assert len(both) == len(alone) == 3 and [r["steps"] for r in both] == [r["steps"] for r in alone]
    # Equal but for rounding, which grows from step to step: by inputs scaled by 1 + 1e-7, less than 1e-6 in any epoch.
    # With ten times the learning rate they made up to 1e-5 in the first. Batch statistics of each process's own make
    # 2e-4 there, or more.
    for one, two, tolerance in zip(alone, both, (2e-6, 5e-6, 2e-5), strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], abs=tolerance)
        assert two["val_dice"] == pytest.approx(one["val_dice"], abs=0.02)
        for kind in ("terms", "weights"):
            assert two.get(kind, {}) == pytest.approx(one.get(kind, {}), abs=tolerance * 2)
    for file in ("plan.yaml", "report.html", "model.safetensors", "evaluation/test/metrics.json"):
        assert (tmp_path / "both" / file).is_file()
    assert done.stdout.count("epoch   1") == 1  # one of them speaks


def test_two_processes_start_from_the_same_weights(tiny_data: Path, tiny_run: Path, tmp_path: Path) -> None:
    """The last layer starts anew; the rates are next to zero, so that the model kept is what training started from."""
    data = write_data(tmp_path / "data", (0, 100, 200))
    network = NARROW | {"dropout": 0.0}
    changes = dict(epochs=1, repeats=2, lr=1e-12, min_lr=0.0, network=network, start=str(tiny_run))
    train_tiny(data, tmp_path / "alone", **changes)
    tiny_plan(data, **changes).save(tmp_path / "plan.yaml")
    done = launch(2, "train", data, "-o", tmp_path / "both", "--plan", tmp_path / "plan.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    (alone, facts), (both, again) = (load_model(tmp_path / name) for name in ("alone", "both"))
    for (name, one), two in zip(alone.named_parameters(), both.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-9, msg=name)
    assert facts.started_from == again.started_from is not None
    before = load_model(tiny_run)[0].state_dict()["decoder.0.out.0.weight"]
    torch.testing.assert_close(both.state_dict()["decoder.0.out.0.weight"], before, rtol=0, atol=1e-9)


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_the_parts_of_a_batch_are_the_batch(length: int, share: int, processes: int, epoch: int) -> None:
    batch = share * processes
    whole = EpochSampler(length, 7)
    parts = [EpochSampler(length, 7, batch, (rank, processes)) for rank in range(processes)]
    for sampler in (whole, *parts):
        sampler.set_epoch(epoch)
    together = np.array([list(part) for part in parts]).reshape(processes, -1, share, 2)
    expected = list(whole)[: length // batch * batch]
    assert [tuple(item) for item in together.transpose(1, 0, 2, 3).reshape(-1, 2).tolist()] == expected
    assert all(len(part) == len(list(part)) for part in parts)


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share_of(7) == 7
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    assert share_of(9) == 3
    with pytest.raises(S2MNetError, match="multiple of 3"):
        share_of(8)
