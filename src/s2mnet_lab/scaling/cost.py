"""Throughput, cost and storage of 10 million images, from a benchmark and the bytes of files."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from s2mnet_lab.bench.record import Measurement, Record
from s2mnet_lab.markdown import table
from s2mnet_lab.scaling import IMAGES, SIZE
from s2mnet_lab.scaling.growth import Growth

TRAIN, VALIDATION = 0.7, 0.1  # shares of the default split
EPOCHS = 20
DISK_BLOCK = 4096  # bytes: a file takes a multiple of this on a disk

Rate = tuple[Measurement, float]


class Prices(NamedTuple):
    """Assumed prices in dollars."""

    core_hour: float = 0.04
    gpu_hour: float = 2.5
    gigabyte_month: float = 0.02


def rates(record: Record, section: Literal["network", "train"], contestant: str) -> dict[str, Rate]:
    """The fastest measurement at 352² in each precision, and its images per second on one core, or one GPU."""
    best: dict[str, Rate] = {}
    units = 1 if record.device == "cuda" else record.threads
    for case, measurements in record.of(section).items():
        for measured in measurements:
            rate = case.batch / measured.median / units
            if measured.contestant == contestant and case.size == SIZE and rate > best.get(case.precision, (0, 0))[1]:
                best[case.precision] = measured, rate
    return best


def throughput(record: Record, prices: Prices) -> list[str]:
    """The tables of prediction and training, as paragraphs."""
    gpu = record.device == "cuda"
    unit, price = ("GPU", prices.gpu_hour) if gpu else ("core", prices.core_hour)
    rows = []
    for contestant in ("s2mnet", "s2mnet-torch", "s2mnet-openvino"):
        for measured, rate in rates(record, "network", contestant).values():
            hours = IMAGES / rate / 3600
            rows.append([_row(record, measured), f"{rate:.2f}", f"{hours:,.0f}", f"{price * hours:,.0f}"])
    head = (f"row of the benchmark ({SIZE}²)", f"images/s per {unit}", f"{unit}-hours", "$")
    views = "one view per image (`--tta 1`; planned models average 4 views and take 4 times as long)"
    parts = [f"**Prediction of 10 M images**, {views}:", table(head, rows)]
    command = f"`s2mnet-lab bench --only network --size {SIZE}`"
    parts = parts if rows else [f"The file holds no inference at {SIZE}²: run {command}."]
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
            "**Training.** An epoch is the default split of 10 M images: 7 M trained, 1 M validated. Eager, with Dice "
            "+ cross-entropy; the benchmark has the share of MASL in a table of its own:",
            table(columns, rows),
        ]
    else:
        parts.append(
            f"**Training.** The file holds no training step: run `s2mnet-lab bench --only train --size {SIZE}`."
        )
    if not gpu:
        parts.append(
            "No GPU figures yet: no GPU was available. `s2mnet-lab bench` on a machine with a GPU writes the file from "
            "which this command makes the same tables per GPU."
        )
    return parts


def _row(record: Record, measured: Measurement) -> str:
    return f"{record.titles[measured.contestant]}, {measured.case.precision}, batch {measured.case.batch}"


def storage(growth: Growth, prices: Prices) -> str:
    """The table of bytes."""
    rows = []
    for kind in growth.bytes:
        blocks = math.ceil(kind.mean / DISK_BLOCK) * DISK_BLOCK
        month = IMAGES * kind.mean / 1e9 * prices.gigabyte_month
        rows.append(
            [f"{kind.what} (mean of {kind.files})", f"{kind.mean / 1e3:,.1f}", f"{IMAGES * kind.mean / 1e12:.2f}",
             f"{IMAGES * blocks / 1e12:.2f}", f"{month:,.0f}"]
        )  # fmt: skip
    return table(("files", "kB each", "TB for 10 M", "TB in blocks of 4 KiB", "$ a month"), rows)
