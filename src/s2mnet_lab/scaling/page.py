"""docs/scaling.md, from a benchmark and measured growth."""

from __future__ import annotations

from s2mnet_lab.bench.record import Record
from s2mnet_lab.markdown import table
from s2mnet_lab.scaling import IMAGES, SIZE
from s2mnet_lab.scaling.cost import TRAIN, VALIDATION, Prices, storage, throughput
from s2mnet_lab.scaling.extrapolate import Prediction, predict_step
from s2mnet_lab.scaling.growth import Growth
from s2mnet_lab.scaling.steps import STEPS


def page(record: Record, growth: Growth, prices: Prices) -> str:
    """The whole page."""
    facts, own = record.environment, growth.environment
    rows, steps = breaking(growth)
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
        look_alike_hours=f"{steps['look-alikes'].hours:,.0f}",
        inspect_gb=f"{steps['inspect'].memory / 1e9:,.0f}",
        plan_gb=f"{steps['plan'].memory / 1e9:,.0f}",
        plan_hours=f"{steps['plan'].hours:,.0f}",
        prepare_hours=f"{steps['prepare'].hours:,.0f}",
        again_hours=f"{steps['prepare again'].hours:,.1f}",
        shard_gb=f"{steps['shard'].memory / 1e9:,.0f}",
        shard_minutes=f"{60 * steps['shard'].hours:,.0f}",
        shard_hours=f"{1000 * steps['shard'].hours:,.0f}",
        evaluate_hours=f"{steps['evaluate'].hours:,.0f}",
        evaluate_gb=f"{steps['evaluate'].memory / 1e9:,.0f}",
    )


def breaking(growth: Growth) -> tuple[str, dict[str, Prediction]]:
    """The table of the steps, the first to break on top, and its rows by step."""
    steps = {name: predict_step(name, growth) for name in STEPS}
    rows = []
    for step in sorted(steps.values(), key=lambda step: step.breaks):
        breaks = f"{_million(step.breaks)} ({step.why})" if step.breaks < 1e9 else "no"
        hours = f"{step.hours:,.1f}"
        power = f"{step.time_exponent:.2f}"
        rows.append(
            [STEPS[step.name].title, power, hours, f"{step.memory_exponent:.2f}", f"{step.memory / 1e9:,.1f}", breaks]
        )
    head = ("what", "exponent, time", "core-hours, 10 M", "exponent, memory", "GB, 10 M", "breaks at, pairs")
    return table(head, rows), steps


def _million(pairs: float) -> str:
    return f"{pairs / 1e6:.1f} M" if pairs >= 1e6 else f"{pairs / 1e3:,.0f} k"


TEXT = """\
# 10 million images

**Nothing here was run on 10 million images.** Rates are those of the network alone, times the number of images; the
growth of time and memory is extrapolated {far}-fold. A core is a thread of the benchmark. Prices are assumptions:
${core_hour} a core-hour, ${gpu_hour} a GPU-hour, ${gigabyte_month} a GB and month of storage.

Written by `s2mnet-lab scaling write`, not by hand, from the records of `s2mnet-lab bench` and `s2mnet-lab scaling
measure`: {commits}.

## Throughput and cost

{throughput}

Decoding, drawing and writing run beside the network and add to this; `s2mnet-lab throughput` measures the share of the
network's rate that is left. Prediction needs no communication, so cores add up: hours are core-hours divided by cores.
Training in several processes was tested for equal results, not for speed. Each process sends 19 MB of gradients a step,
and two to four messages for each batch norm.

## Storage

{storage}

A prepared pair is decoded pixels at the plan's size: h·w bytes for each channel and for the mask, however small the
source file is. Training and validation images at {size}² take {cache_tb} TB on every machine with a cache of its own.
Each row is also 10 M files, or inodes; copying them one by one takes longer than their bytes do.

## What breaks first

Processor time and peak memory of {counts} pairs of 64² PNG, for the functions behind each command, each in a fresh
process. The extra cost of larger images is added, from 300 and 900 pairs of a real folder. The figures are extrapolated
from the last point by the exponent between the last two, clipped to 1 … 1.1 where the code is linear: anything beyond
is noise of small measurements. The search for look-alikes is quadratic and is extrapolated by the best
a + b·n + c·n². A step "breaks" where one process needs 64 GB or a day of one core. The disk was local and warm. On a
network file system each file costs at least one request, which is not included and may take most of the time.

{breaking}

An error of 0.05 in an exponent is a factor of 1.4 at 10 M; read every row with that in mind. The tiny images are noise:
where many images look alike, the search for look-alikes takes longer and holds every pair it finds. Masks with JPEG
noise have histograms of many values, these have two: `plan`, `inspect` and `evaluate` take more memory on noisy masks.

1. **`inspect`** compares every image with every other ({look_alike_hours} core-hours, measured up to
   {look_alike_counts} images), and holds thumbnails and histograms of all ({inspect_gb} GB). *Inspect a sample* of some
   ten thousand images, drawn by patient; find copies by a hash of the files.
2. **The start of `train`** reads every image and mask, also with `--plan` ({plan_hours} core-hours, {plan_gb} GB, in
   one process while the others wait). It then reads and hashes every file again to find it in the cache ({again_hours}
   core-hours in each process; {prepare_hours} the first time, when it decodes). Keep the cache (`S2MNET_CACHE`) on a
   local NVMe, at the plan's size.
3. **An epoch is the unit of everything**: training saves, validates and logs at the end of an epoch. A failing machine
   costs up to an epoch of 7 M samples. *Train on about 100,000 images* drawn by patient, then on those that the model
   finds hard. One run over all 10 M is not practical until points 2 and 3 change. Tar shards, which would spare the
   file system, are not supported.
4. **`evaluate`** reads in threads, measures in one, and has no shards ({evaluate_hours} core-hours, {evaluate_gb} GB).
   Evaluate folders of 10,000 images, one job each: the mean of their means is the mean of all (but not their
   intervals). A random 10,000 images give mean Dice within 0.005 if its standard deviation is 0.25.
5. **`predict --shard i/n`** lists, stats and sorts the whole folder in each job ({shard_minutes} core-minutes and
   {shard_gb} GB; {shard_hours} core-hours for 1,000 jobs): on a network file system, 10 M requests a job. *Make folders
   of 10,000 images first*, one for each job.

## The plan

Folders `IMAGES/0000` to `IMAGES/0999` of 10,000 images, one job each. `--shard 1/1` skips images that have a mask
already, so an interrupted job can be restarted unchanged:

```
#!/bin/bash
#SBATCH --array=0-999%200 --cpus-per-task=4 --mem=8G --time=04:00:00 --requeue
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
part=$(printf %04d "$SLURM_ARRAY_TASK_ID")
s2mnet predict RUN "IMAGES/$part" -o "MASKS/$part" --shard 1/1 --tta 1 --no-overlays --engine openvino
```

The model is trained on a sample, here on two machines with four GPUs each (without a scheduler:
`torchrun --nnodes 2 --nproc-per-node 4 … -m s2mnet train …` on each). The batch size counts all processes together:

```
s2mnet inspect SAMPLE && s2mnet plan SAMPLE -o plan.yaml  # read the page; edit the plan
srun --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 s2mnet train SAMPLE -o RUN --plan plan.yaml --batch-size 128
```

Masks alone take little space; overlays take about fifty times as much. Draw overlays and probability maps only for
images that somebody will look at.
"""
