"""Measurements inside a trained network, on a tiny run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import train_tiny, write_data
from typer.testing import CliRunner

from s2mnet.errors import S2MNetError
from s2mnet.loss import MASL
from s2mnet_lab.cli import app
from s2mnet_lab.probe.gradients import gradients_table, signal
from s2mnet_lab.probe.trained import TrainedRun, stack


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    root = tmp_path_factory.mktemp("probe")
    data = write_data(root / "data")
    train_tiny(data, root / "run", steps=2)
    return TrainedRun(root / "run", data)


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_signal_is_the_squared_mean_over_the_variance() -> None:
    """Of many draws with a known mean and deviation; of none that agree, zero."""
    rng = np.random.default_rng(0)
    for mean, deviation in ((0.5, 2.0), (3.0, 1.0), (0.0, 1.0)):
        gradients = torch.from_numpy(rng.normal(mean, deviation, (400, 300)))
        measured = signal(gradients.sum(0), (gradients**2).sum(0), 400)
        assert measured == pytest.approx((mean / deviation) ** 2, rel=0.02, abs=2e-3)


def test_pulls_are_those_of_the_samples(run: TrainedRun) -> None:
    result = CliRunner().invoke(app, ["probe", "pulls", str(run.run), str(run.folder), "--samples", "6"])
    assert result.exit_code == 0, result.output
    rows = cells(result.output.strip())
    assert [row[1] for row in rows] == list(MASL(2).terms)
    assert {row[0] for row in rows} == {"with foreground (6)"}  # every sample shows a disc
    assert rows[0][4] == "1.00"
    for row in rows:
        assert float(row[4]) == pytest.approx(float(row[3]) / float(rows[0][3]), rel=0.01, abs=0.02)


def test_gradients_of_every_part(run: TrainedRun) -> None:
    rows = {row[0]: row[1:] for row in cells(gradients_table(run, 3))}
    assert {name for name in rows if name.startswith("stage 2: filters")} == {
        f"stage 2: filters, {how}" for how in ("one by one", "by octave", "by channel")
    }
    assert rows["stage 1: filters, by channel"][0] == "8" and "decoder" in rows
    assert all(np.isfinite(float(value)) for row in rows.values() for value in row[1:])


def test_samples_are_those_of_training(run: TrainedRun) -> None:
    images, masks = stack(run.samples(), 0, [0, 1, 2])
    assert images.shape == (3, 3, 32, 32) and masks.shape == (3, 32, 32)
    assert not run.network().training


def test_another_network_has_no_filters(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    train_tiny(data, tmp_path / "run", steps=1, architecture="BasicUNet", network={})
    with pytest.raises(S2MNetError, match="holds the network BasicUNet"):
        gradients_table(TrainedRun(tmp_path / "run", data), 2)
