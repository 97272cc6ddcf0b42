"""Processor time and memory of each step on folders of several sizes, and the bytes of files. Linux only."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ValidationError

from s2mnet.allocator import keep_freed_memory
from s2mnet.data import find_cases
from s2mnet.errors import S2MNetError
from s2mnet.prediction import Predictor, predict_folder
from s2mnet.provenance import environment
from s2mnet_lab.bench.memory import resident
from s2mnet_lab.scaling import SIZE
from s2mnet_lab.scaling.steps import STEPS, TINY_MARK, TINY_SIDE

REAL, PREDICTED = (300, 900), 100  # pairs of a real folder that are measured; images that are predicted


class Point(BaseModel):
    """One step on one folder: processor seconds of all threads, and peak bytes beyond those held before."""

    step: str
    pairs: int
    size: Literal["tiny", "real"]
    cpu: float
    memory: int


class Bytes(BaseModel):
    """Mean size of the files of one kind."""

    what: str
    files: int
    mean: float


class Growth(BaseModel):
    """Everything that :func:`measure` measures."""

    environment: dict[str, Any]
    points: list[Point] = []
    bytes: list[Bytes] = []


def load_growth(file: Path) -> Growth:
    """Read what :func:`measure` measured.

    Raises:
        S2MNetError: the file is missing or damaged.
    """
    try:
        return Growth.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        problem = f"is not a record of measured growth ({' '.join(str(error).split())[:200]})"
        raise S2MNetError(file, problem, "Name a file that s2mnet-lab scaling measure wrote.") from None


def measure(run: Path, sources: Sequence[Path], counts: Sequence[int], report: Callable[[str], None]) -> Growth:
    """Measure all steps on all folders, and the bytes of files.

    Each step runs in a fresh process: on folders of tiny generated images, and on pairs of a real folder.

    Args:
        run: a trained model.
        sources: data folders. All give the bytes of their files; the first also gives the real pairs.
        counts: pairs in the folders of tiny images.
        report: called with one line for each result.
    """
    growth = Growth(environment=environment())
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        small = write_tiny(place / "small", 32)
        folders = {count: write_tiny(place / str(count), count) for count in counts}
        real = {count: link_pairs(sources[0], place / f"real{count}", count) for count in REAL}
        for name, step in STEPS.items():
            asked = [("tiny", count, folders[count]) for count in counts]
            asked += [("real", count, folder) for count, folder in real.items()] if step.real else []
            for size, count, folder in asked:
                with context.Pool(1) as pool:
                    cpu, memory = pool.apply(measure_step, (name, small, folder, run))
                growth.points.append(
                    Point(step=name, pairs=step.scale * count, size=size, cpu=cpu, memory=memory)  # type: ignore[arg-type]
                )
                report(f"{name}, {count} {size}: {cpu:.2f} s, {memory / 1e6:.1f} MB")
        growth.bytes = [kind for data in sources for kind in source_bytes(data)]
        growth.bytes += written_bytes(run, real[REAL[0]], place)
    return growth


def measure_step(name: str, small: Path, data: Path, run: Path) -> tuple[float, int]:
    """Processor seconds and bytes of a step on a folder, after a run on a small folder that loads the libraries."""
    keep_freed_memory()
    for folder in (small, data):
        scratch = folder.with_name(
            f"{folder.name}-made"
        )  # kept, so that a later step finds the cache of an earlier one
        work = STEPS[name].prepare(folder, scratch, run)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # memory freed before must not serve the measured work
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before, start = resident("VmRSS"), time.process_time()
        work()
        cpu, memory = time.process_time() - start, resident("VmHWM") - before
    return cpu, max(0, memory)


def write_tiny(folder: Path, count: int) -> Path:
    """Write a data folder of ``count`` pairs of 64² PNG: noise, and a square as its mask."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    (folder / TINY_MARK).touch()
    for number in range(count):
        mask = np.zeros((TINY_SIDE, TINY_SIDE), np.uint8)
        top, left = rng.integers(0, TINY_SIDE - 24, 2)
        mask[top : top + 24, left : left + 24] = 255
        image = rng.integers(0, 128, (TINY_SIDE, TINY_SIDE, 3), dtype=np.uint8) + mask[..., None] // 4
        Image.fromarray(image).save(folder / "images" / f"case{number:08d}.png", compress_level=1)
        Image.fromarray(mask).save(folder / "masks" / f"case{number:08d}.png")
    return folder


def link_pairs(data: Path, folder: Path, count: int) -> Path:
    """Write a data folder of links to evenly spaced pairs of another."""
    cases = sorted((case for part in find_cases(data).splits.values() for case in part), key=lambda case: case.name)
    for place in np.linspace(0, len(cases) - 1, min(count, len(cases))).round().astype(int):
        for kind, file in (("images", cases[place].image), ("masks", cases[place].mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / file.name).symlink_to(file.resolve())
    return folder


def source_bytes(data: Path) -> list[Bytes]:
    """Mean bytes of the images and of the masks of a data folder."""
    cases = [case for part in find_cases(data).splits.values() for case in part]
    kinds = {"images": [case.image for case in cases], "masks": [case.mask for case in cases if case.mask]}
    return [_bytes(f"{data.name}: {kind}", files) for kind, files in kinds.items()]


def written_bytes(run: Path, data: Path, place: Path) -> list[Bytes]:
    """Mean bytes of the files that training and prediction write for the pairs of a data folder."""
    STEPS["prepare"].prepare(data, place / "made", run)()
    predictor, some = Predictor(run), link_pairs(data, place / "some", PREDICTED)
    predict_folder(predictor, some / "images", place / "out", probabilities=True, tta=1)
    kinds = {
        f"prepared image, {SIZE}²": (place / "made").rglob("*.image.npy"),
        f"prepared mask, {SIZE}²": (place / "made").rglob("*.mask.npy"),
        "predicted mask": (place / "out" / "masks").iterdir(),
        "overlay": (place / "out" / "overlays").iterdir(),
        "probability map, 16 bits": (place / "out" / "probabilities").iterdir(),
    }
    return [_bytes(kind, list(files)) for kind, files in kinds.items()]


def _bytes(what: str, files: Sequence[Path]) -> Bytes:
    return Bytes(what=what, files=len(files), mean=float(np.mean([file.stat().st_size for file in files])))
