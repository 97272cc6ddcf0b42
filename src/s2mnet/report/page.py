"""The report as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

from s2mnet.evaluation.metrics import metrics_in
from s2mnet.evaluation.records import MEAN
from s2mnet.pages.embed import plot
from s2mnet.pages.render import render as fill
from s2mnet.report import cases, figures, results, training
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
    filters = None
    if any(stage is not None for stage in report.filters):
        filters = plot(
            figures.spectral_filters(report.filters),
            "Magnitude of the spectral filters of each stage",
            "One row per stage: the mean over channels; the channels that favour the lowest, middle and highest "
            "frequencies (|W| is how strongly a wave is passed on); the profile by radius. Axes in cycles per map: 4 "
            "is a wave that repeats four times across the image.",
        )
    groups = report.evaluation.groups() if report.evaluation else {}
    context = report.evaluation.context if report.evaluation else {}
    return fill(
        "report/report.html",
        report=report,
        results=results,
        cases=cases,
        training=training,
        filters=filters,
        best_epoch=figures.best_epoch(report.history),
        groups=groups,
        units=list(dict.fromkeys(_UNITS[group.unit] for group in groups.values())),
        context={name: value for name, value in context.items() if report.provenance.get(name) != value},
        metrics_in=metrics_in,
        MEAN=MEAN,
    )
