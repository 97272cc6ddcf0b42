"""The report as one HTML page that needs no other file, no script and no network."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from s2mnet.files import write_atomically
from s2mnet.report import curve_sections, result_sections
from s2mnet.report.content import CaseFigure, Report
from s2mnet.report.tags import pairs, paragraph, section, sentences

__all__ = ["CaseFigure", "Report", "render", "write"]

_PAPER = "https://arxiv.org/abs/2601.01285"


def render(report: Report) -> str:
    """The whole page. Every text of the report is escaped, so file and class names may hold anything.

    Raises:
        S2MNetError: an array of the report cannot be drawn; the message says which and why.

    Example:
        >>> page = render(Report("Polyps <b>", ["polyp"]))
        >>> "<h1>Polyps &lt;b&gt;</h1>" in page, "<script" in page
        (True, False)
    """
    parts = [
        result_sections.opening(report),
        result_sections.pictures(report),
        result_sections.metrics(report),
        curve_sections.training(report),
        curve_sections.filters(report),
        _data(report),
        _table("Settings", "settings", report.settings, "No settings were recorded."),
        _table("How this was made", "provenance", report.provenance, "Nothing about its making was recorded."),
        _warnings(report),
        _footer(),
    ]
    page = Template(files("s2mnet.report").joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(title=escape(report.title), body="\n".join(parts))


def write(report: Report, path: str | Path) -> Path:
    """Render the page and put it at `path`, whole or not at all; a page that was there is replaced.

    Returns:
        The path.

    Raises:
        S2MNetError: an array cannot be drawn, or the place cannot be written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(Report("Polyps", ["polyp"]), Path(folder) / "report.html").name
        'report.html'
    """
    path = Path(path)
    # A file name that is no valid text (lone surrogates) must not cost the report.
    content = render(report).encode("utf-8", errors="replace")
    write_atomically(path, content)
    return path


def _data(report: Report) -> str:
    names = {"train": "training", "val": "validation", "test": "test"}
    counts = {f"Images for {names.get(part, part)}": number for part, number in report.counts.items()}
    return section(
        "Data",
        "data",
        sentences(report.data_sentences) or paragraph("The data were not described.", "note"),
        curve_sections.shapes(report),
        pairs(counts),
        "<h3>Labels as they were read</h3>",
        sentences(report.label_sentences) or paragraph("How the labels were read was not recorded.", "note"),
    )


def _table(title: str, anchor: str, rows: Mapping[str, object], absent: str) -> str:
    return section(title, anchor, pairs(rows) if rows else paragraph(absent, "note"))


def _warnings(report: Report) -> str:
    return section("Warnings", "warnings", sentences(report.warnings) or paragraph("None.", "note"))


def _footer() -> str:
    return (
        "<footer>Method: Chowdhury and Sabrin, “S2M-Net: Spectral-Spatial Mixing with Morphology-Aware Adaptive Loss "
        f'for Medical Image Segmentation”, <a href="{_PAPER}">arXiv 2601.01285</a>. This page is complete in itself: '
        "it loads nothing from the network. Research use only, not a medical device.</footer>"
    )
