"""The commands and their files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s2mnet_lab.bench import Case, Measurement, Record
from s2mnet_lab.bench.charts import charts
from s2mnet_lab.bench.contestants import CONTESTANTS
from s2mnet_lab.bench.memory import alone
from s2mnet_lab.bench.ratios import ratios
from s2mnet_lab.bench.record import LeftOut
from s2mnet_lab.bench.tables import tables

if TYPE_CHECKING:
    from tiny import Cli


def test_inference_is_recorded_whole(s2mnet_lab: Cli, tmp_path: Path) -> None:
    what = ("--only", "network", "--contestant", "s2mnet", "--size", 64, "--batch", 2, "--precision", "float32")
    how = ("--repeats", 3, "--threads", 1)
    code, out, _ = s2mnet_lab("bench", *what, *how, "-o", tmp_path / "out")
    assert code == 0 and str(tmp_path / "out" / "bench.md") in out
    record = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert {"commit", "torch", "cpu", "date"} <= record["environment"].keys()
    assert record["threads"] == 1 and record["options"]["repeats"] == 3
    [found] = record["measurements"]
    assert len(found["seconds"]) == len(found["peak"]) == 3 and min(found["seconds"]) > 0
    assert 4.6e6 < found["parameters"] < 4.9e6 and found["flops"] > 0
    assert 4 * found["parameters"] < found["memory"] < found["memory_process"]
    assert Record.model_validate(record).measurements[0].form == "channels_last"
    folder = tmp_path / "docs" / "performance"
    bench = tmp_path / "out" / "bench.json"
    code, out, _ = s2mnet_lab("performance", "mine", bench, "--title", "My machine", "--folder", folder)
    assert code == 0 and str(tmp_path / "docs" / "performance.md") in out
    for written in (folder / "mine.md", tmp_path / "out" / "bench.md"):
        text = written.read_text()
        assert "| S2M-Net | 4.75 |" in text
        for link in re.findall(r"\]\((.+?)\)", text):
            assert (written.parent / link).read_bytes().startswith(b"<?xml")


def test_loss_and_step_are_measured_together(s2mnet_lab: Cli, tmp_path: Path) -> None:
    code, _, _ = s2mnet_lab("bench", "--only", "loss", "--size", 32, "--batch", 2, "--repeats", 1, "-o", tmp_path)
    record = Record.model_validate_json((tmp_path / "bench.json").read_text())
    assert code == 0 and [one.contestant for one in record.measurements] == ["masl", "dice_ce", "step"]
    assert "| training step of S2M-Net with MASL |" in (tmp_path / "bench.md").read_text()


def test_an_unknown_contestant_ends_the_command_with_the_names(s2mnet_lab: Cli, tmp_path: Path) -> None:
    code, _, errors = s2mnet_lab("bench", "--contestant", "resnet", "-o", tmp_path / "out")
    assert code == 2 and "resnet" in errors and "attention-unet" in errors
    assert not (tmp_path / "out").exists()


def test_memory_that_cannot_be_measured_says_why() -> None:
    case = Case(section="network", size=64, batch=1)
    with pytest.raises(RuntimeError, match="no time left"):
        alone(CONTESTANTS["s2mnet"], case, "channels_last", "cpu", 1, seconds=0.01)
    with pytest.raises(RuntimeError, match="KeyError"):
        alone(CONTESTANTS["s2mnet"], case, "no such form", "cpu", 1, seconds=60)


def one(contestant: str, case: Case, *milliseconds: float, **facts: object) -> Measurement:
    return Measurement(case=case, contestant=contestant, seconds=[t / 1000 for t in milliseconds], **facts)


def test_tables_and_charts_of_a_record_worked_out_by_hand() -> None:
    def network(size: int, batch: int = 1) -> Case:
        return Case(section="network", size=size, batch=batch)

    facts = dict(parameters=2_500_000, form="channels_last", peak=[100e9, 200e9, 300e9])
    train = Case(section="train", size=352, batch=8, precision="bf16")
    spectral = Case(section="spectral", size=352, batch=1, stage=2)
    loss = Case(section="loss", size=352, batch=8)
    record = Record(
        environment={},
        device="cpu",
        threads=1,
        options={},
        titles={name: name.upper() for name in ("unet", "matrix", "rfft", "fft", "masl", "dice_ce", "step")},
        measurements=[
            one("unet", network(256), 10, 20, 30, flops=10**9, memory=100_000_000, alone=0.018, **facts),
            one("unet", network(1024), 320, 640, 960, flops=16 * 10**9, memory=1_840_000_000, **facts),
            one("unet", network(512, 8), 800, 800, 800, flops=32 * 10**9, memory=10**9, alone=0.72, **facts),
            one("unet", train, 1000, 2000, 4000, flops=10**11, memory=10**9, **facts),
            one("matrix", spectral, 2, 2, 2, flops=2 * 10**8, peak=[100e9, 200e9, 300e9]),
            one("rfft", spectral, 5, 5, 5),
            one("fft", spectral, 9, 9, 9),
            one("masl", loss, 50),
            one("dice_ce", loss, 10),
            one("step", loss, 1000),
        ],
        left_out=[LeftOut(case=network(1024, 8), contestant="unet", reason="too large")],
    )
    text = tables(record)
    for row in (
        "| UNET | 2.50 | 1 | 20 (15–25) | 18 | 50 | 100 | 25 % |",  # 1 GFLOP in 20 ms is 50 of 200 GFLOP/s
        "| UNET | 2.50 | 4 | 100 (100–100) | 90 | 10 | 1000 | 20 % |",  # per image of eight
        "| UNET | 2.50 | 100 | 2000 (1500–3000) | – | 4 | 1000 | 25 % |",
        "| spectral branch, 352², batch 1: fastest FFT form of all over ours, stages 1 to 5, time | 2.50 |",
        "FFT form of all over our products at the full rate of a matrix product, stages 1 to 5, time | 5.00 |",
        "| MASL, 352², batch 8, float32: share of the training step | 5.0 % |",
        "| 352², stage 2, batch 1 | 2 (2–2) | 5 (5–5) | 9 (9–9) | 2.50 | 0.2 | 50 % |",
        "| MASL | 50 (50–50) | 5.0 % |",
        "| network 1024×1024, batch 8, float32 | UNET | too large |",
    ):
        assert row in text, text
    assert set(charts(record)) == {"inference", "training", "sizes", "spectral"}


def test_ratios_of_a_record_worked_out_by_hand() -> None:
    small, large = (Case(section="network", size=size, batch=1) for size in (256, 1024))
    short = small.model_copy(update={"precision": "bf16"})
    train = Case(section="train", size=352, batch=8)
    facts = dict(parameters=5_000_000, peak=[100e9])
    found = [
        one("s2mnet", small, 20, flops=10**9, memory=100, **facts),
        one("s2mnet", large, 640, flops=16 * 10**9, memory=1840, **facts),
        one("s2mnet-openvino", small, 16, flops=10**9, **facts),
        one("s2mnet-openvino", short, 5, flops=10**9, **facts),
        one("unet", small, 30, **facts),
        one("tiny", small, 1, parameters=1_000_000),
        one("unet-openvino", small, 8, **facts),
        one("s2mnet", train, 3000, memory=200, alone=2.5),
        one("s2mnet-straightforward", train, 12_000, memory=500, alone=12.5),
    ]
    titles = {name: name.upper() for name in ("s2mnet", "unet", "unet-openvino")}
    record = Record(environment={}, device="cpu", threads=1, options={}, titles=titles, measurements=found)
    rows = dict(ratios(record))
    peer = "inference, 256², batch 1, float32: fastest peer over 4 M parameters over ours"
    own = "each in a process of its own, time"
    growth = "growth from 256² to 1024² over that in pixels, batch 1, float32, S2MNET"
    assert rows == {
        "inference, 256², batch 1, float32: share of the matrix product's peak, OpenVINO": "62 %",
        "inference, 256², batch 1, float32: our network, eager over OpenVINO, time": "1.25",
        f"{peer}, eager PyTorch, time": "1.50 (UNET)",
        f"{peer}, OpenVINO, time": "0.50 (UNET-OPENVINO)",
        "inference, 256², batch 1, bf16: share of the matrix product's peak, OpenVINO": "200 %",
        "inference, 256², batch 1, bf16: our network, eager in float32 over OpenVINO, time": "4.00",
        "training step, 352², batch 8, float32: straightforward form over ours, time": "4.00",
        f"training step, 352², batch 8, float32: straightforward form over ours, {own}": "5.00",
        "training step, 352², batch 8, float32: ours over straightforward form, peak memory": "0.40",
        f"{growth}: time": "2.00",
        f"{growth}: memory": "1.15",
    }
