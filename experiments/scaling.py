"""What 10 million images take: throughput, cost, storage and what breaks first, for docs/scaling.md.

    python experiments/scaling.py measure RUN GROWTH.json DATA [DATA ...] [--counts 1000 4000 16000]
    python experiments/scaling.py write BENCH.json GROWTH.json [--write docs/scaling.md] [--core-hour 0.04] ...

``measure`` makes folders of tiny images in a temporary folder and takes processor time and peak memory of what reads
them, each in a fresh process, and the same on 300 and 900 pairs of the first DATA folder, for images of a real size.
Of every DATA folder it takes the bytes of images and masks; RUN, a trained model, predicts 100 images of the first for
the bytes of what is predicted. Linux only (it reads /proc). ``write`` makes the page of that and of what
``s2mnet bench`` wrote.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import gc
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import BaseModel
from scipy.optimize import nnls

from s2mnet.allocator import keep_freed_memory
from s2mnet.data import LabelMap, find_cases
from s2mnet.evaluation.folders import evaluate_folders
from s2mnet.evaluation.results import save
from s2mnet.files import write_atomically
from s2mnet.fingerprint import inspect_folder, read_folder
from s2mnet.fingerprint.duplicates import find_duplicates
from s2mnet.fingerprint.pair import measure as measure_case
from s2mnet.inspection import write_page
from s2mnet.plan import make_plan
from s2mnet.plan.schema import Preprocessing
from s2mnet.prediction import Predictor, predict_folder
from s2mnet.provenance import environment
from s2mnet.training.store import PreparedCases
from s2mnet_lab.bench.memory import resident
from s2mnet_lab.bench.record import Measurement, Record
from s2mnet_lab.markdown import table

IMAGES = 10_000_000
TRAIN, VALIDATION = 0.7, 0.1  # shares of the default split
EPOCHS = 20
SIZE = 352
SIDE = 64  # of the tiny images
REAL, PREDICTED = (300, 900), 100  # pairs and images taken of a real folder
STEEPEST = 1.1  # of a step whose code is linear but for sorting: a larger exponent is noise of small figures
MEMORY = 64e9  # bytes, of the machine that something breaks on
DAY = 24.0  # core-hours that are too many for one process
CACHE_BLOCK = 4096  # bytes: what a file takes on a disk is a multiple

Work = Callable[[], object]
Rate = tuple[Measurement, float]


class Point(BaseModel):
    """One step on one number of pairs: processor seconds of all threads, and peak bytes beyond what was held before."""

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
    """What ``measure`` writes."""

    environment: dict[str, Any]
    points: list[Point] = []
    bytes: list[Bytes] = []


class Step(NamedTuple):
    """Something that is done to a folder.

    Attributes:
        prepare: takes the data folder, a scratch folder and a run folder; gives the work that is measured.
        real: whether it depends on the size of the images, and is measured on real ones too.
        scale: pairs for each pair of the others: the quadratic part must be seen.
        quadratic: whether its code compares all pairs with all, so that its time is a + b·n + c·n².
    """

    title: str
    prepare: Callable[[Path, Path, Path], Work]
    real: bool = False
    scale: int = 1
    quadratic: bool = False


def _list(data: Path, scratch: Path, run: Path) -> Work:
    return lambda: find_cases(data)


def _plan(data: Path, scratch: Path, run: Path) -> Work:
    return lambda: make_plan(read_folder(find_cases(data)))


def _inspect(data: Path, scratch: Path, run: Path) -> Work:
    def work() -> None:
        found = inspect_folder(data)
        found.save(scratch / "fingerprint.json")
        write_page(found, data, scratch / "inspection.html")

    return work


def _look_alikes(data: Path, scratch: Path, run: Path) -> Work:
    cases = find_cases(data).splits["train"]
    fact, _ = measure_case(cases[0], "train", inspect=True)
    count = STEPS["look-alikes"].scale * sum(map(len, find_cases(data).splits.values()))
    thumbnails = np.random.default_rng(0).uniform(0, 255, (count, 32, 32)).astype(np.float32)
    facts = [
        dataclasses.replace(fact, thumbnail=thumbnail, image_hash=str(place).encode())
        for place, thumbnail in enumerate(thumbnails)
    ]
    names = [str(place) for place in range(count)]
    return lambda: find_duplicates(facts, names)


def _prepare(data: Path, scratch: Path, run: Path) -> Work:
    splits = find_cases(data).splits
    cases = [*splits["train"], *splits["val"]]
    labels = LabelMap(kind="threshold", values=[0, 255])
    size = SIDE if (data / "tiny").is_file() else SIZE
    preprocessing = Preprocessing(
        extent="whole", size=(size, size), channels=["red", "green", "blue"], normalisation="image"
    )
    return lambda: PreparedCases(cases, preprocessing, labels, True, scratch / "cache")


def _shard(data: Path, scratch: Path, run: Path) -> Work:
    predictor = Predictor(run)
    # So small a part that none of the images is in it: what is left is the start of a job.
    return lambda: predict_folder(predictor, data / "images", scratch / "out", shard=(1, 10**9))


def _evaluate(data: Path, scratch: Path, run: Path) -> Work:
    return lambda: save(evaluate_folders(data / "masks", data / "masks"), scratch / "evaluation")


STEPS = {
    "list": Step("list, pair and split (`find_cases`)", _list),
    "plan": Step("`s2mnet plan`, and the start of `train`", _plan, real=True),
    "inspect": Step("`s2mnet inspect`, but for the quadratic part of the next row", _inspect, real=True),
    "look-alikes": Step("in it, the search for look-alikes", _look_alikes, scale=4, quadratic=True),
    "prepare": Step("decode into the cache, first start of `train`", _prepare, real=True),
    "prepare again": Step("find all in the cache, any later start, each process", _prepare, real=True),
    "shard": Step("start of each job of `predict --shard i/n`", _shard),
    "evaluate": Step("`s2mnet evaluate MASKS TRUTH`", _evaluate, real=True),
}


def take(name: str, small: Path, data: Path, run: Path) -> tuple[float, int]:
    """Processor seconds and bytes of a step on a folder; first on a small folder, so that libraries are loaded."""
    keep_freed_memory()
    for folder in (small, data):
        made = folder.with_name(f"{folder.name}-made")  # kept: what one step put into the cache the next finds there
        work = STEPS[name].prepare(folder, made, run)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not serve what is measured
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before, start = resident("VmRSS"), time.process_time()
        work()
        cpu, memory = time.process_time() - start, resident("VmHWM") - before
    return cpu, max(0, memory)


def write_tiny(folder: Path, count: int) -> Path:
    """A data folder of ``count`` pairs of 64² PNG: noise, and a square as its mask."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    (folder / "tiny").touch()
    for number in range(count):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        top, left = rng.integers(0, SIDE - 24, 2)
        mask[top : top + 24, left : left + 24] = 255
        image = rng.integers(0, 128, (SIDE, SIDE, 3), dtype=np.uint8) + mask[..., None] // 4
        Image.fromarray(image).save(folder / "images" / f"case{number:08d}.png", compress_level=1)
        Image.fromarray(mask).save(folder / "masks" / f"case{number:08d}.png")
    return folder


def link_pairs(data: Path, folder: Path, count: int) -> Path:
    """A data folder of links to evenly chosen pairs of another."""
    cases = sorted((case for part in find_cases(data).splits.values() for case in part), key=lambda case: case.name)
    for place in np.linspace(0, len(cases) - 1, min(count, len(cases))).round().astype(int):
        for kind, file in (("images", cases[place].image), ("masks", cases[place].mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / file.name).symlink_to(file.resolve())
    return folder


def measure(run: Path, sources: Sequence[Path], counts: Sequence[int], report: Callable[[str], None]) -> Growth:
    """All steps on all folders, and the bytes of files."""
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
                    cpu, memory = pool.apply(take, (name, small, folder, run))
                growth.points.append(
                    Point(step=name, pairs=step.scale * count, size=size, cpu=cpu, memory=memory)  # type: ignore[arg-type]
                )
                report(f"{name}, {count} {size}: {cpu:.2f} s, {memory / 1e6:.1f} MB")
        growth.bytes = [kind for data in sources for kind in source_bytes(data)] + made_bytes(run, real[REAL[0]], place)
    return growth


def source_bytes(data: Path) -> list[Bytes]:
    """Mean bytes of the images and of the masks of a data folder."""
    cases = [case for part in find_cases(data).splits.values() for case in part]
    kinds = {"images": [case.image for case in cases], "masks": [case.mask for case in cases if case.mask]}
    return [_bytes(f"{data.name}: {kind}", files) for kind, files in kinds.items()]


def made_bytes(run: Path, data: Path, place: Path) -> list[Bytes]:
    """Mean bytes of what training and prediction write for the pairs of a data folder."""
    _prepare(data, place / "made", run)()
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


def exponent(counts: Sequence[float], values: Sequence[float]) -> float:
    """Exponent of the growth between the last two counts.

    Example:
        >>> round(exponent([10, 20, 40], [1, 4, 16]), 3)
        2.0
    """
    return math.log(values[-1] / values[-2]) / math.log(counts[-1] / counts[-2])


def extrapolate(counts: Sequence[float], values: Sequence[float], count: float, quadratic: bool = False) -> float:
    """The value at ``count``: from the last by the exponent, taken as 1 to 1.1; or by the best a + b·n + c·n².

    Example:
        >>> round(extrapolate([10, 20, 40], [3, 6, 12], 4000), 6)
        1200.0
        >>> round(extrapolate([10, 20, 40], [110, 420, 1640], 1000, quadratic=True), 3)
        1001000.0
    """
    if not quadratic:
        return values[-1] * (count / counts[-1]) ** min(max(1.0, exponent(counts, values)), STEEPEST)
    n, found = np.asarray(counts, dtype=np.float64), np.asarray(values, dtype=np.float64)
    # Of relative errors; none of the three below 0.
    parts = nnls(np.stack([1 / found, n / found, n**2 / found], axis=1), np.ones_like(n))[0]
    return float(parts @ [1.0, count, count**2])


class Prediction(NamedTuple):
    """A step at 10 million pairs: core-hours, bytes, and the exponents of both; the pairs at which it breaks."""

    name: str
    hours: float
    memory: float
    time_exponent: float
    memory_exponent: float
    breaks: float
    why: str


def predict_step(name: str, growth: Growth) -> Prediction:
    """A step at 10 million pairs of a real size, and at how many it needs 64 GB or a day of one core."""
    own = [point for point in growth.points if point.step == name]
    tiny = sorted((point for point in own if point.size == "tiny"), key=lambda point: point.pairs)
    real = sorted((point for point in own if point.size == "real"), key=lambda point: point.pairs)
    counts, cpu = [point.pairs for point in tiny], [max(point.cpu, 1e-3) for point in tiny]
    memory = [float(max(point.memory, 4096)) for point in tiny]
    # A larger image takes longer to decode, as often as there are images.
    slope = (real[-1].cpu - real[0].cpu) / (real[-1].pairs - real[0].pairs) if real else 0.0
    more = max(0.0, slope - cpu[-1] / counts[-1])

    def hours(pairs: float) -> float:
        return (extrapolate(counts, cpu, pairs, STEPS[name].quadratic) + more * pairs) / 3600

    def held(pairs: float) -> float:
        return extrapolate(counts, memory, pairs)

    by_memory, by_time = (_first(need, limit) for need, limit in ((held, MEMORY), (hours, DAY)))
    why = "memory" if by_memory <= by_time else "time"
    return Prediction(
        name, hours(IMAGES), held(IMAGES), exponent(counts, cpu), exponent(counts, memory), min(by_memory, by_time), why
    )


def _first(need: Callable[[float], float], limit: float) -> float:
    """The number of pairs, by halving, at which a growing need reaches its limit; infinite beyond 10^12."""
    low, high = 0.0, 12.0
    if need(10**high) < limit:
        return math.inf
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if need(10**middle) < limit else (low, middle)
    return 10**high


class Prices(NamedTuple):
    """Dollars, assumed."""

    core_hour: float
    gpu_hour: float
    gigabyte_month: float


def rates(record: Record, section: Literal["network", "train"], contestant: str) -> dict[str, Rate]:
    """For each precision the measurement at 352² with the most images a second, and those for one core, or GPU."""
    best: dict[str, Rate] = {}
    units = 1 if record.device == "cuda" else record.threads
    for case, found in record.of(section).items():
        for measured in found:
            rate = case.batch / measured.median / units
            if measured.contestant == contestant and case.size == SIZE and rate > best.get(case.precision, (0, 0))[1]:
                best[case.precision] = measured, rate
    return best


def throughput(record: Record, prices: Prices) -> list[str]:
    """The tables of inference and training."""
    gpu = record.device == "cuda"
    unit, price = ("GPU", prices.gpu_hour) if gpu else ("core", prices.core_hour)
    rows = []
    for contestant in ("s2mnet", "s2mnet-torch", "s2mnet-openvino"):
        for measured, rate in rates(record, "network", contestant).values():
            hours = IMAGES / rate / 3600
            rows.append([_row(record, measured), f"{rate:.2f}", f"{hours:,.0f}", f"{price * hours:,.0f}"])
    head = (f"row of the benchmark ({SIZE}²)", f"images/s per {unit}", f"{unit}-hours", "$")
    views = "one view of each (`--tta 1`; planned models average 4 views, in 4 times the time)"
    parts = [f"**Prediction of 10 M images**, {views}:", table(head, rows)]
    parts = parts if rows else [f"No inference at {SIZE}² is in the file: `s2mnet bench --only network --size {SIZE}`."]
    rows = []
    for precision, (measured, rate) in rates(record, "train", "s2mnet").items():
        validation = rates(record, "network", "s2mnet").get(precision)
        hours = IMAGES * TRAIN / rate / 3600 + (IMAGES * VALIDATION / validation[1] / 3600 if validation else 0)
        rows.append(
            [_row(record, measured), f"{rate:.2f}", f"{hours:,.0f}", f"{EPOCHS * hours:,.0f}",
             f"{price * EPOCHS * hours:,.0f}"]
        )  # fmt: skip
    columns = ("row of the benchmark", f"samples/s per {unit}", f"{unit}-hours, 1 epoch", f"{EPOCHS} epochs", "$")
    if rows:
        parts += [
            "**Training.** An epoch is the default split of 10 M: 7 M samples trained, 1 M images validated (eager; "
            "Dice + cross-entropy, the share of MASL is in the benchmark's own table):",
            table(columns, rows),
        ]
    else:
        parts.append(f"**Training.** No training step is in the file: `s2mnet bench --only train --size {SIZE}`.")
    if not gpu:
        parts.append(
            "No GPU figure yet: none was at hand. `s2mnet bench` on a machine with one writes the file from which this "
            "command makes the same tables per GPU."
        )
    return parts


def _row(record: Record, measured: Measurement) -> str:
    return f"{record.titles[measured.contestant]}, {measured.case.precision}, batch {measured.case.batch}"


def storage(growth: Growth, prices: Prices) -> str:
    """The table of bytes."""
    rows = []
    for kind in growth.bytes:
        blocks = math.ceil(kind.mean / CACHE_BLOCK) * CACHE_BLOCK
        month = IMAGES * kind.mean / 1e9 * prices.gigabyte_month
        rows.append(
            [f"{kind.what} (mean of {kind.files})", f"{kind.mean / 1e3:,.1f}", f"{IMAGES * kind.mean / 1e12:.2f}",
             f"{IMAGES * blocks / 1e12:.2f}", f"{month:,.0f}"]
        )  # fmt: skip
    return table(("files", "kB each", "TB for 10 M", "TB in blocks of 4 KiB", "$ a month"), rows)


def breaking(growth: Growth) -> tuple[str, dict[str, Prediction]]:
    """The table of what is done to a folder, what breaks first on top; and its rows by step."""
    found = {name: predict_step(name, growth) for name in STEPS}
    rows = []
    for step in sorted(found.values(), key=lambda step: step.breaks):
        breaks = f"{_million(step.breaks)} ({step.why})" if step.breaks < 1e9 else "no"
        hours = f"{step.hours:,.1f}"
        power = f"{step.time_exponent:.2f}"
        rows.append(
            [STEPS[step.name].title, power, hours, f"{step.memory_exponent:.2f}", f"{step.memory / 1e9:,.1f}", breaks]
        )
    head = ("what", "exponent, time", "core-hours, 10 M", "exponent, memory", "GB, 10 M", "breaks at, pairs")
    return table(head, rows), found


def _million(pairs: float) -> str:
    return f"{pairs / 1e6:.1f} M" if pairs >= 1e6 else f"{pairs / 1e3:,.0f} k"


def page(record: Record, growth: Growth, prices: Prices) -> str:
    """The whole of docs/scaling.md."""
    facts, own = record.environment, growth.environment
    rows, found = breaking(growth)
    counts = sorted({point.pairs for point in growth.points if point.step == "list"})
    threads = f"{record.threads} thread{'s' * (record.threads > 1)} of {facts.get('cpu_count')} cores"
    processor = facts.get("gpu") or f"{facts.get('cpu')}, {threads}"
    prepared = sum(kind.mean for kind in growth.bytes if kind.what.startswith("prepared"))
    return TEXT.format(
        commits=f"benchmark at commit {facts.get('commit')} on {processor}; growth at commit {own.get('commit')} on "
        f"{own.get('cpu')}, {own.get('cpu_count')} cores",
        **{name: f"{price:g}" for name, price in prices._asdict().items()},
        throughput="\n\n".join(throughput(record, prices)),
        storage=storage(growth, prices),
        breaking=rows,
        size=SIZE,
        cache_tb=f"{(TRAIN + VALIDATION) * IMAGES * prepared / 1e12:.1f}",
        counts=", ".join(f"{count:,}" for count in counts),
        far=f"{IMAGES / counts[-1]:,.0f}",
        look_alike_counts=f"{STEPS['look-alikes'].scale * counts[-1]:,}",
        look_alike_hours=f"{found['look-alikes'].hours:,.0f}",
        inspect_gb=f"{found['inspect'].memory / 1e9:,.0f}",
        plan_gb=f"{found['plan'].memory / 1e9:,.0f}",
        plan_hours=f"{found['plan'].hours:,.0f}",
        prepare_hours=f"{found['prepare'].hours:,.0f}",
        again_hours=f"{found['prepare again'].hours:,.1f}",
        shard_gb=f"{found['shard'].memory / 1e9:,.0f}",
        shard_minutes=f"{60 * found['shard'].hours:,.0f}",
        shard_hours=f"{1000 * found['shard'].hours:,.0f}",
        evaluate_hours=f"{found['evaluate'].hours:,.0f}",
        evaluate_gb=f"{found['evaluate'].memory / 1e9:,.0f}",
    )


TEXT = """\
# 10 million images

Written by `python experiments/scaling.py write`, not by hand, from a file of `s2mnet bench` and one of
`experiments/scaling.py measure`: {commits}. **Nothing here was run on 10 million images**: rates are those of the
network alone, times the number of images; the growth of time and memory is extrapolated {far}-fold. A core is a thread
of the benchmark. Prices are assumptions (options of the command): ${core_hour} a core-hour, ${gpu_hour} a GPU-hour,
${gigabyte_month} a GB and month of storage.

## Throughput and cost

{throughput}

Decoding, drawing and writing come on top; they run beside the network (`experiments/throughput.py` measures the share
that is left). Prediction needs no communication, so that the cores add up:
core-hours over cores are hours. Training by several processes was tested for
equal results, not for speed: each sends 19 MB of gradients a step, and two to four messages for each batch norm.

## Storage

{storage}

A prepared pair is decoded pixels at the plan's size, h·w bytes for each channel and for the mask, whatever the source
takes: train and validation at {size}² are {cache_tb} TB, on every machine that has a cache of its own. Each row is also
10 M files, or inodes; copying them one by one is slower than their bytes.

## What breaks first

Processor time and peak memory of {counts} pairs of 64² PNG, the functions behind each command in a fresh process; what
larger images cost more is added, from 300 and 900 pairs of a real folder. Extrapolated from the last point by the
exponent between the last two, taken as 1 to 1.1 where the code is linear (what is beyond is noise of small figures);
the search for look-alikes, which is quadratic, by the best a + b·n + c·n². "Breaks" is where one
process needs 64 GB or a day of one core. The disk was local and warm: on a network file system every file costs a
request or more, which is not in here and may be most of the time.

{breaking}

An error of 0.05 in an exponent is a factor of 1.4 at 10 M: read every row so. The tiny images are
noise: where many look alike, the search for look-alikes takes longer and holds every pair it finds. Masks
with JPEG noise have histograms of many values, where these have two: `plan`, `inspect` and `evaluate` take more
memory on them.

1. **`inspect`** compares every image with every other ({look_alike_hours} core-hours, measured up to
   {look_alike_counts} images), and holds thumbnails and histograms of all ({inspect_gb} GB). *Inspect a sample* of some
   ten thousand, drawn by patient; look for copies by a hash of the files.
2. **The start of `train`** reads every image and mask, with `--plan` too ({plan_hours} core-hours, {plan_gb} GB, in one
   process for which the others wait), and then reads and hashes every file again to find it in the cache
   ({again_hours} core-hours in each process; the first time it decodes, {prepare_hours}). Keep the cache
   (`S2MNET_CACHE`) on a local NVMe, at the plan's size.
3. **An epoch is the unit of everything**: training saves, validates and logs at its end. A machine that fails costs up
   to an epoch of 7 M samples. *Train on some 100,000 images* drawn by patient, then on those that the model
   finds hard. One run over all 10 M is not practical as long as points 2 and 3 are as they are; tar shards, which
   would spare the file system, are not read today.
4. **`evaluate`** reads in threads, measures in one, and has no shards ({evaluate_hours} core-hours,
   {evaluate_gb} GB). Evaluate folders of
   10,000, a job each: the mean of their means is that of all (their intervals are not). A random 10,000 alone give
   mean Dice within 0.005 where it deviates by 0.25.
5. **`predict --shard i/n`** lists, stats and sorts the whole folder in each job ({shard_minutes} core-minutes and
   {shard_gb} GB; {shard_hours} core-hours for 1,000 jobs), on a network file system with 10 M requests a job. *Make
   folders of 10,000 images first*; a job takes one.

## The plan

Folders `IMAGES/0000` to `IMAGES/0999` of 10,000 images, a job each. `--shard 1/1` passes over images whose mask is
done, so that a job that was stopped is started again as it is:

```
#!/bin/bash
#SBATCH --array=0-999%200 --cpus-per-task=4 --mem=8G --time=04:00:00 --requeue
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
part=$(printf %04d "$SLURM_ARRAY_TASK_ID")
s2mnet predict RUN "IMAGES/$part" -o "MASKS/$part" --shard 1/1 --tta 1 --no-overlays --engine openvino
```

The model comes from a sample, here on two machines of four GPUs (without a scheduler:
`torchrun --nnodes 2 --nproc-per-node 4 … -m s2mnet train …` on each); the batch is that of all processes together:

```
s2mnet inspect SAMPLE && s2mnet plan SAMPLE -o plan.yaml  # read the page; edit the plan
srun --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 s2mnet train SAMPLE -o RUN --plan plan.yaml --batch-size 128
```

Masks alone take little space, overlays some fifty times as much. Draw these and probability maps for the images that
somebody is going to look at.
"""


def main() -> None:
    """Measure, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("run", type=Path)
    measuring.add_argument("growth", type=Path)
    measuring.add_argument("data", type=Path, nargs="+")
    measuring.add_argument("--counts", type=int, nargs="+", default=[1000, 4000, 16000])
    writing = commands.add_parser("write")
    writing.add_argument("bench", type=Path)
    writing.add_argument("growth", type=Path)
    writing.add_argument("--write", type=Path)
    writing.add_argument("--core-hour", type=float, default=0.04, help="dollars")
    writing.add_argument("--gpu-hour", type=float, default=2.5, help="dollars")
    writing.add_argument("--gigabyte-month", type=float, default=0.02, help="dollars")
    asked = parser.parse_args()
    if asked.command == "measure":
        growth = measure(asked.run, asked.data, asked.counts, lambda line: print(line, flush=True))
        write_atomically(asked.growth, growth.model_dump_json(indent=1).encode())
        return
    prices = Prices(asked.core_hour, asked.gpu_hour, asked.gigabyte_month)
    record = Record.model_validate_json(asked.bench.read_text())
    text = page(record, Growth.model_validate_json(asked.growth.read_text()), prices)
    if asked.write:
        write_atomically(asked.write, text.encode())
    else:
        print(text)


if __name__ == "__main__":
    main()
