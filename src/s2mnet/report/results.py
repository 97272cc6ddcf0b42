"""The answer in one view: the tiles on top of the page, and the tables of metrics as rows."""

from __future__ import annotations

import numpy as np

from s2mnet.evaluation.records import MEAN, Evaluation, ImageResult
from s2mnet.pages.embed import Picture, plot
from s2mnet.report import figures
from s2mnet.report.content import Report
from s2mnet.text import counted

Tile = tuple[str, str, str]
"""Name, value and what it means."""


def tiles(report: Report) -> list[Tile]:
    """The main figures: Dice, complete misses, number of images."""
    counts = report.counts
    text = f"training {counts.get('train', 0)}, validation {counts.get('val', 0)}, test {counts.get('test', 0)}"
    images = ("Images", str(sum(counts.values())), text) if counts else ("Images", "–", "not recorded")
    return [*_measured(report), images]


def distribution(evaluation: Evaluation) -> Picture:
    """The histogram of the images' Dice."""
    dice = [case.mean("dice") for case in evaluation.cases]
    over = " (mean over classes)" if len(evaluation.class_names) > 1 else ""
    return plot(
        figures.dice_distribution(dice),
        f"Histogram of the Dice of {counted(len(dice), 'image')}, median {np.median(dice):.3f}",
        f"How many images reached which Dice{over}; each tick below is one image. A long tail to the left means that a "
        "good mean hides some failures.",
        "Image by image.",
    )


def _measured(report: Report) -> list[Tile]:
    if report.evaluation is None:
        best = figures.best_epoch(report.history)
        if best is None:
            return [("Dice", "–", "not measured")]
        return [("Validation Dice", f"{best[1]:.3f}", f"best epoch ({best[0]}); no test images were given")]
    cases, dice = report.evaluation.cases, report.evaluation.summary[MEAN]["dice"]
    misses = sum(_missed(case) for case in cases)
    disjoint = sum(_disjoint(case) for case in cases)
    meaning = "images with a structure that only the model or only the reference marks"
    if disjoint:
        meaning += f"; in {disjoint} more, both mark it but without a pixel in common"
    interval = f"95 % interval {dice.low:.3f} to {dice.high:.3f}, mean of {counted(len(cases), 'image')}"
    return [
        (f"{report.evaluated_on.capitalize()} Dice", f"{dice.mean:.3f}", interval),
        ("Complete misses", f"{misses} of {len(cases)}", meaning),
    ]


def _missed(case: ImageResult) -> bool:
    return not {"prediction", "truth"}.isdisjoint(case.empty.values())


def _disjoint(case: ImageResult) -> bool:
    apart = (case.empty[name] == "neither" and values["dice"] == 0 for name, values in case.metrics.items())
    return not _missed(case) and any(apart)
