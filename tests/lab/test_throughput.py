"""The throughput of a folder beside that of the network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from s2mnet_lab import throughput

if TYPE_CHECKING:
    from tiny import Cli


def test_a_table_with_the_network_and_the_folder(
    s2mnet_lab: Cli, tiny_run: Path, tiny_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    for file in tiny_data.rglob("images/*.png"):
        shutil.copy(file, tmp_path / "images")
    code, out, _ = s2mnet_lab("throughput", tiny_run, tmp_path / "images", "--rounds", 1)
    lines = out.strip().splitlines()
    assert code == 0 and lines[0].startswith("12 images, 32×32, torch, ")
    assert [line.split(" | ")[0] for line in lines[-3:]] == [
        "| network alone",
        "| folder, masks",
        "| folder, masks and overlays",
    ]
    assert lines[-3].split(" | ")[2] == "100%"  # of itself


def test_the_first_images_are_not_counted(monkeypatch) -> None:
    """A clock that each image moves by a second, but for the first eight, which take a minute each."""
    now = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(throughput.time, "process_time", lambda: 2 * now[0])

    def work(progress) -> None:
        for done in range(1, 21):
            now[0] += 60 if done <= 8 else 1
            progress(done, 20)

    assert throughput.timed(work, 20) == throughput.Cost(1000.0, 2000.0)


def test_too_few_images_are_refused(s2mnet_lab: Cli, tiny_run: Path, tiny_data: Path) -> None:
    code, _, errors = s2mnet_lab("throughput", tiny_run, tiny_data / "val" / "images")
    assert code == 2 and "holds 2 images; the first 8 only warm up" in errors
    code, _, errors = s2mnet_lab("throughput", tiny_run, tiny_data / "train" / "images", "--tta", 3)
    assert code == 2 and "--tta is 3. Use 1, 4 or 8." in errors
