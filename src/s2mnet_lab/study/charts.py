"""The charts of a study, as SVG."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2mnet.files import write_atomically
from s2mnet.pages.drawing import COLOURS, draw_figure
from s2mnet_lab.markdown import relative
from s2mnet_lab.study.collected import Collected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DASHES = ("-", "--", "-.", ":")


def write_chart(content: bytes | None, name: str, folder: Path, page: Path) -> str:
    """Write a chart as ``NAME.svg`` and return the Markdown that shows it on a page; without content, nothing."""
    if content is None:
        return ""
    file = folder / f"{name}.svg"
    write_atomically(file, content)
    return f"![{name}]({relative(file, page)})"


def line_style(number: int) -> dict[str, Any]:
    """Colour and dashes of one of many lines: the colours first, then the next dashes with the same colours."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": _DASHES[number // len(COLOURS) % len(_DASHES)],
    }


def leads(collected: Collected) -> bytes | None:
    """The lead of the first row over each other row in points of Dice, with 95 % intervals; None without results."""
    study = collected.study
    shown = [name for name in collected.others if any(collected.comparison(dataset, name) for dataset in study.data)]
    if not shown:
        return None
    places = [*study.data, "mean"]

    def draw(figure: Figure) -> None:
        # One scale per panel: on a common one, a peer far behind would press all differences of a point onto 0.
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, shown, strict=True):
            for place, dataset in enumerate(places):
                mean = dataset == "mean"
                comparison = collected.mean_comparison(name) if mean else collected.comparison(dataset, name)
                if comparison is None:
                    continue
                low, middle, high = (100 * value for value in (comparison.low, comparison.difference, comparison.high))
                colour = COLOURS[4] if low <= 0 <= high else COLOURS[0] if low > 0 else COLOURS[1]
                mark, size = ("D", 8) if mean else ("o", 6)
                error = [[middle - low], [high - middle]]
                axes.errorbar(middle, place, xerr=error, fmt=mark, color=colour, markersize=size, capsize=3)
            axes.axvline(0, color="#333333", linewidth=0.8)
            axes.set_title(textwrap.fill(study.variants[name].title, 28), fontsize=9)
            axes.set_yticks(range(len(places)), places)
            axes.grid(visible=False, axis="y")
        panels[0].invert_yaxis()
        title = study.variants[collected.reference].title
        label = f"points of Dice that {title} is ahead (right of 0) or behind; each panel has its own scale"
        figure.supxlabel(label, fontsize=10)

    return draw_figure(draw, (max(6.4, 2.3 * len(shown) + 1.2), 1.4 + 0.38 * len(places)))


def learning(collected: Collected) -> bytes | None:
    """Validation Dice over the steps, mean over seeds, one panel for each data set; None without results."""
    study = collected.study
    shown = [dataset for dataset in study.data if any(name == dataset for name, _, _ in collected.results)]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, dataset in zip(panels, shown, strict=False):
            for number, (name, variant) in enumerate(study.variants.items()):
                trained = [collected.trainings.get((dataset, name, seed)) for seed in study.seeds]
                histories = [result.history for result in trained if result]
                epochs = min((len(history) for history in histories), default=0)
                if epochs:
                    steps = [record["steps"] for record in histories[0][:epochs]]
                    dice = np.mean([[r["val_dice"] for r in history[:epochs]] for history in histories], axis=0)
                    axes.plot(steps, 100 * dice, marker=".", label=variant.title, **line_style(number))
            axes.set(title=dataset, xlabel="steps", ylabel="validation Dice, %")
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        drawn = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        titles = [variant.title for variant in collected.started.values()]
        lines = [drawn[title] for title in titles]
        figure.legend(lines, titles, loc="outside lower center", ncols=min(3, len(titles)))

    return draw_figure(draw, (3.4 * columns, 2.7 * rows + 0.3 + 0.2 * (len(study.variants) // 3 + 1)))
