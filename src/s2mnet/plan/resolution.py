"""Whole images or windows, and the size of the network's input."""

from __future__ import annotations

import math

from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import Fingerprint
from s2mnet.fingerprint.problems import MIN_SIDE
from s2mnet.plan.machine import Machine
from s2mnet.plan.schema import MAX_SIDE, Extent, Preset

THIN_PX = 2.5  # thinner structures are hardly more than the 2 px that a grid can represent
FIXED_SIZE = 0.5  # growth of a structure, at most, whose size does not depend on that of the image
LARGER = (256, 192)  # sides of whole images where the budget allows more than SMALL, largest first
SMALL = 128
# What a larger input must leave of the budget: visits of each image, and steps. See docs/decisions.md.
LEAST_VISITS, LEAST_STEPS, BATCH = 10, 900, 8


def extent_and_size(
    fingerprint: Fingerprint,
    preset: Preset,
    size: int | None,
    extent: Extent | None,
    machine: Machine,
    pixels: float | None,
    reasons: dict[str, str],
) -> tuple[Extent, int]:
    """The extent and the side of the input; the reasons are added to ``reasons``.

    Args:
        fingerprint: of the folder.
        preset: of the plan.
        size, extent: requested; None: decided here.
        machine: the machine that trains.
        pixels: that the budget is enough for; None: unknown.
        reasons: of the plan.

    Raises:
        S2MNetError: the network does not take the size.
    """
    base = size or (352 if preset == "paper" else 256 if machine.gpu else SMALL)
    height, width = (side.median if side else 0.0 for side in (fingerprint.height, fingerprint.width))
    left = fingerprint.thickness_px * base / max(height, width)
    measured = (
        f"{fingerprint.thinnest} is {fingerprint.thickness_px:.1f} px thick in images of {height:.0f}×{width:.0f} px, "
        f"and {left:.1f} px thick after resizing to {base}×{base}"
    )
    if extent is not None:
        reasons["extent"] = f"{extent}: requested"
    elif fingerprint.growth and fingerprint.growth[1] < FIXED_SIZE:
        extent, reasons["extent"] = "patches", f"patches: {_fixed(fingerprint)}"
    elif left >= THIN_PX:
        extent, reasons["extent"] = "whole", f"whole: {measured}, which is enough"
    elif min(height, width) > base:
        extent, reasons["extent"] = "patches", f"patches: {measured}; below {THIN_PX:g} px it is lost"
    else:
        extent, reasons["extent"] = "whole", f"whole: {measured}, but the images are no larger than that"
    if size is not None:
        reasons["size"] = f"{size}×{size}: requested"
    elif extent == "patches":
        size = 256 if preset == "paper" or machine.gpu else SMALL
    else:
        size = base
        if preset == "default" and not machine.gpu and pixels:
            size = _affordable(pixels, fingerprint.counts["train"], max(height, width), reasons)
    if not MIN_SIDE <= size <= MAX_SIDE:
        problem = f"is {size}; the network takes {MIN_SIDE} to {MAX_SIDE} pixels"
        raise S2MNetError("--size", problem, "Choose a size in between.")
    where = "a GPU" if machine.gpu else "a CPU"
    reasons.setdefault("size", f"{size}×{size}: the {preset} preset, {extent}, on {where}")
    return extent, size


def _fixed(fingerprint: Fingerprint) -> str:
    """Why images of widely varying sizes are not resized to one."""
    spreads = [spread for spread in (fingerprint.height, fingerprint.width) if spread]
    smallest, largest = max(spread.minimum for spread in spreads), max(spread.maximum for spread in spreads)
    return (
        f"the images are from {smallest:.0f} to {largest:.0f} px long, and {fingerprint.thinnest} is as thick in large "
        "ones as in small ones; resized to one size it would not be"
    )


def _affordable(pixels: float, count: int, longest: float, reasons: dict[str, str]) -> int:
    """The largest side that the images have and that leaves enough steps, and visits of each image."""
    for side in LARGER:
        visits, steps = pixels / side**2 / count, pixels / side**2 / BATCH
        if longest >= side and visits >= LEAST_VISITS and steps >= LEAST_STEPS:
            reasons["size"] = f"{side}×{side}: the budget is enough for {math.floor(visits)} visits of each image at it"
            return side
    return SMALL
