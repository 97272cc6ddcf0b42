"""The report as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

from typing import Any

import numpy as np

from s2mnet import overlay
from s2mnet.evaluation.metrics import metrics_in
from s2mnet.evaluation.records import MEAN, Evaluation
from s2mnet.pages.embed import plot
from s2mnet.pages.render import render as fill
from s2mnet.report import cases, figures
from s2mnet.report.content import Report

_UNITS = {"px": "pixels", "voxels": "voxels", "mm": "millimetres"}


def render(report: Report) -> str:
    """The whole page. Every text of the report is escaped, so file and class names may hold anything.

    Raises:
        S2MNetError: an array of the report cannot be drawn; the message says which and why.

    Example:
        >>> page = render(Report("Polyps <b>", ["polyp"]))
        >>> "<h1>Polyps &lt;b&gt;</h1>" in page, "<script" in page
        (True, False)
    """

    def recorded(key: str) -> list[Any]:
        return [record[key] for record in report.history if record.get(key) is not None]

    evaluation = report.evaluation
    groups = evaluation.groups() if evaluation else {}
    context = evaluation.context if evaluation else {}
    return fill(
        "report/report.html",
        report=report,
        recorded=recorded,
        misses=_misses(evaluation) if evaluation else None,
        dice=[case.mean("dice") for case in evaluation.cases] if evaluation else [],
        median=np.median,
        cases=cases,
        overlay=overlay,
        figures=figures,
        plot=plot,
        groups=groups,
        units=list(dict.fromkeys(_UNITS[group.unit] for group in groups.values())),
        context={name: value for name, value in context.items() if report.provenance.get(name) != value},
        metrics_in=metrics_in,
        MEAN=MEAN,
    )


def _misses(evaluation: Evaluation) -> tuple[int, int]:
    """Images with a complete miss of a structure; and others where its two masks have no pixel in common."""
    missed = [case for case in evaluation.cases if not {"prediction", "truth"}.isdisjoint(case.empty.values())]
    disjoint = [
        case
        for case in evaluation.cases
        if any(case.empty[name] == "neither" and values["dice"] == 0 for name, values in case.metrics.items())
    ]
    return len(missed), sum(case not in missed for case in disjoint)
