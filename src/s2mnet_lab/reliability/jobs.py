"""Three commands of s2mnet on made data, each a few seconds long, and what must be equal after they were stopped."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2mnet.data import find_cases
from s2mnet.files import write_png
from s2mnet.fingerprint import read_folder
from s2mnet.plan import make_plan
from s2mnet.training.run import has_finished_epoch

COUNTS = {"train": 8, "val": 2, "test": 2}
SIDE = 48
_TIMED = ("seconds", "data_share")  # of a record of the log


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: of the command.
        arguments: that start it for an output, or go on where it stopped.
        kept: parts of paths of files to compare; empty: all.
    """

    name: str
    arguments: Callable[[Path], list[object]]
    kept: tuple[str, ...] = ()

    def command(self, out: Path, code: str = "from s2mnet.cli import main; main()") -> list[str]:
        """The command line, by a program that ends in the entry point."""
        return [sys.executable, "-c", code, *map(str, self.arguments(out))]

    def result(self, out: Path) -> dict[str, object]:
        """What the job wrote, by path; of the log, what no clock says."""
        files = {file.relative_to(out).as_posix(): file for file in out.rglob("*") if file.is_file()}
        wanted = {name: file for name, file in files.items() if not self.kept or name in self.kept}
        return {name: _untimed(file) if name == "history.json" else file.read_bytes() for name, file in wanted.items()}


def make_jobs(work: Path, names: tuple[str, ...]) -> list[Job]:
    """Write data and a model to ``work``, and return the jobs with these names."""
    data, plan, model = work / "data", work / "plan.yaml", work / "model"
    _write_data(data)
    _write_download(data, work / "CVC-ClinicDB/PNG")
    made = make_plan(
        read_folder(find_cases(data)), size=32, extent="whole", batch_size=4, repeats=2, precision="float32", epochs=3
    )
    narrow = {"channels": [8, 8, 8, 8, 8], "num_frequencies": 4, "stem_channels": 8}
    made.model_copy(update={"network": narrow, "tta": 1}).save(plan)
    train = Job(
        "train",
        lambda out: ["train", data, "-o", out, *(["--resume"] if has_finished_epoch(out) else ["--plan", plan])],
        ("model.safetensors", "config.json", "plan.yaml", "history.json"),
    )
    if "predict" in names:
        subprocess.run(train.command(model), check=True, capture_output=True)
    options = ["--shard", "1/1", "--engine", "torch", "--probabilities"]
    predict = Job("predict", lambda out: ["predict", model, data / "train/images", "-o", out, *options])
    prepare = Job("prepare", lambda out: ["prepare", "CVC-ClinicDB", work / "CVC-ClinicDB", out])
    return [job for job in (train, predict, prepare) if job.name in names]


def leftovers(out: Path) -> int:
    """Temporary files and locks of s2mnet in an output or beside it."""
    return sum(file.name.startswith((".s2mnet-", ".lock")) for file in out.parent.rglob(".*"))


def _untimed(history: Path) -> object:
    return [{k: v for k, v in record.items() if k not in _TIMED} for record in json.loads(history.read_bytes())]


def _write_data(data: Path) -> None:
    """Bright discs on noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for split, count in COUNTS.items():
        for number in range(count):
            row, column, radius = *rng.uniform(14, SIDE - 14, 2), rng.uniform(8, 12)
            inside = np.hypot(y - row, x - column) < radius
            image = rng.integers(0, 80, (SIDE, SIDE, 3)) + 150 * inside[..., None]
            write_png(data / split / "images" / f"{split}_{number}.png", image.astype(np.uint8))
            write_png(data / split / "masks" / f"{split}_{number}.png", (255 * inside).astype(np.uint8))


def _write_download(data: Path, folder: Path) -> None:
    for name, kind in (("Original", "images"), ("Ground Truth", "masks")):
        (folder / name).mkdir(parents=True)
        for number in range(COUNTS["train"]):
            shutil.copy(data / "train" / kind / f"train_{number}.png", folder / name / f"{number + 1}.png")
