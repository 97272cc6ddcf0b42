"""What a pretraining leaves for people: ``LEDGER.md``, which data are in the weights, and a page with its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2mnet.files import write_atomically
from s2mnet.pages.drawing import BLUE, ORANGE, draw_figure
from s2mnet.pages.embed import Picture, plot
from s2mnet.pages.render import render, write_page
from s2mnet.pretraining.corpus import Source
from s2mnet.pretraining.loop import best_of
from s2mnet.provenance import environment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEDGER, PAGE = "LEDGER.md", "report.html"
_COLUMNS = ("Set", "Modality", "Licence", "Images", "Held out", "Source", "Citation", "SHA-256")


def write_ledger(sources: Sequence[Source], folder: Path) -> Path:
    """Write where every image in the weights comes from, and on which terms.

    A data set without a licence in its ``dataset.yaml`` is listed as "not stated": weights trained on it should not be
    passed on.
    """
    rows = [
        (
            source.name,
            source.dataset.modality,
            source.dataset.licence or source.dataset.terms or "not stated",
            str(len(source.train)),
            str(len(source.held_out)),
            source.dataset.source,
            source.dataset.citation,
            source.checksum,
        )
        for source in sources
    ]
    lines = [
        "# Data in these weights",
        "",
        f"{sum(len(source.train) for source in sources)} images with masks of {len(sources)} data sets; the images "
        "held out were only measured. The SHA-256 is that of all images and masks of a set, by name.",
        "",
        _row(_COLUMNS),
        _row(["---"] * len(_COLUMNS)),
        *map(_row, rows),
        "",
    ]
    write_atomically(folder / LEDGER, "\n".join(lines).encode())
    return folder / LEDGER


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def write_report(sources: Sequence[Source], records: Sequence[Mapping[str, Any]], folder: Path, command: str) -> Path:
    """Write the page with the curves of the loss and of Dice on held-out images, of each data set too, and a table."""
    last = records[-1]
    page = render(
        "pretraining/report.html",
        sources=sources,
        last=last,
        best=best_of(records),
        curves=_curves(records),
        figures=[_curve(records, "mean_dice", "mean Dice of held-out images", BLUE),
                 _curve(records, "loss", "training loss", ORANGE)],
        provenance={"command": command, **environment()},
    )  # fmt: skip
    return write_page(page, folder / PAGE)


def _curve(records: Sequence[Mapping[str, Any]], key: str, label: str, colour: str) -> Picture:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(
            [record["steps"] for record in records], [record[key] for record in records], color=colour, marker="."
        )
        axes.set(xlabel="step", ylabel=label)

    return plot(draw_figure(draw), label, f"{label[0].upper()}{label[1:]}, by step.")


def _curves(records: Sequence[Mapping[str, Any]]) -> Picture:
    """Small curves of all data sets, with the same axes."""
    names, steps = list(records[-1]["dice"]), [record["steps"] for record in records]
    columns = 5
    rows = -(-len(names) // columns)

    def draw(figure: Figure) -> None:
        grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axes, name in zip(grid, names, strict=False):
            axes.plot(steps, [record["dice"][name] for record in records], color=BLUE)
            axes.set_title(name, fontsize=8)
            axes.set_ylim(0, 1)
            axes.tick_params(labelsize=7)
        for axes in grid[len(names) :]:
            axes.set_axis_off()

    drawn = draw_figure(draw, size=(11.0, 0.5 + 1.2 * rows))
    return plot(drawn, "Dice of held-out images of each data set", "Dice of held-out images, by step.")
