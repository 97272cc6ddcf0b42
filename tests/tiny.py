"""Tiny generated data and a narrow network: a whole training takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from torch import nn

from s2mnet.data import LabelMap, find_cases
from s2mnet.fingerprint import read_folder
from s2mnet.inference import Inference
from s2mnet.modelfolder import ModelConfig
from s2mnet.plan import Plan, Preprocessing, make_plan
from s2mnet.training.module import SegmentationModule, build_loss, build_network
from s2mnet.training.run import train
from s2mnet.training.store import Pair, PreparedCases

Cli = Callable[..., tuple[int, str, str]]
HEIGHT, WIDTH = 48, 64
COUNTS = {"train": 8, "val": 2, "test": 2}
NARROW = {"channels": [8, 8, 8, 8, 8], "num_frequencies": 4, "stem_channels": 8}


def discs(values: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A colour image (H, W, 3) of bright discs on dark noise and its mask with ``values``, one disc per foreground."""
    image = rng.integers(0, 80, (HEIGHT, WIDTH, 3))
    mask = np.full((HEIGHT, WIDTH), values[0], np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    width = WIDTH // (len(values) - 1)
    for index, value in enumerate(values[1:]):
        centre = rng.uniform(14, HEIGHT - 14), index * width + rng.uniform(14, width - 14)
        inside = np.hypot(y - centre[0], x - centre[1]) < rng.uniform(8, 12)
        image[inside] += np.array([160, 90, 60]) if index == 0 else np.array([40, 60, 150])
        mask[inside] = value
    return image.astype(np.uint8), mask


def write_data(root: Path, values: tuple[int, ...] = (0, 255), seed: int = 0) -> Path:
    """A data folder in the layout train/val/test."""
    rng = np.random.default_rng(seed)
    for split, count in COUNTS.items():
        for number in range(count):
            for kind, array in zip(("images", "masks"), discs(values, rng), strict=True):
                folder = root / split / kind
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / f"{split}_{number}.png")
    return root


def tiny_plan(data: Path, **changes: object) -> Plan:
    """A plan for a narrow network at 32×32; ``changes`` are fields of the plan or of its training."""
    own = {name: changes.pop(name) for name in list(changes) if name in Plan.model_fields}
    options = {
        "size": 32,
        "extent": "whole",
        "batch_size": 4,
        "repeats": 2,
        "precision": "float32",
        "lr": 1e-2,
        "start": "none",  # of the narrow network
    } | changes
    plan = make_plan(read_folder(find_cases(data)), **options)  # type: ignore[arg-type]
    return plan.model_copy(update={"network": NARROW, "tta": 1, **own})


def quiet() -> Console:
    """A console that keeps what is printed to itself."""
    return Console(quiet=True)


def train_tiny(data: Path, run: Path, resume: bool = False, **changes: object) -> list[dict[str, object]]:
    """Train by :func:`tiny_plan` and return the log."""
    return train(find_cases(data), tiny_plan(data, **changes), run, resume, quiet())


def module_of(plan: Plan, val_cases: Sequence[Pair] | PreparedCases = ()) -> SegmentationModule:
    """The untrained module of a plan."""
    return SegmentationModule(plan, build_network(plan), build_loss(plan), val_cases)


def untimed(history: list[dict[str, object]]) -> list[dict[str, object]]:
    """The log without what a clock says."""
    return [{k: v for k, v in record.items() if k not in ("seconds", "data_share")} for record in history]


def refused(result: tuple[int, str, str], *words: str) -> None:
    """One message on standard error with the words, exit status 2, no traceback."""
    status, out, err = result
    assert status == 2, err
    assert err.startswith("error: ") and err.count("error: ") == 1
    assert "Traceback" not in err + out
    for word in words:
        assert word in err


def predict_probabilities(
    network: nn.Module,
    images: list[np.ndarray],
    preprocessing: Preprocessing,
    labels: LabelMap,
    tta: int = 1,
    batch_size: int = 8,
    boundaries: bool = False,
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Probabilities and β, if asked for, of each image at its own size; whole images ``batch_size`` at a time."""
    inference = Inference(network, ModelConfig(preprocessing=preprocessing, labels=labels, tta=tta))
    results, step = [], batch_size if preprocessing.extent == "whole" else 1
    for start in range(0, len(images), step):
        part = images[start : start + step]
        maps = inference.run(np.stack([inference.prepare(image) for image in part]), tta, boundaries, batch_size)
        results += [inference.at_own_size(one, image.shape[:2]) for one, image in zip(maps, part, strict=True)]
    return results
