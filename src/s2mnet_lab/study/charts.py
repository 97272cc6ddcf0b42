"""The figures of a study, as SVG."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from s2mnet.pages.drawing import COLOURS, draw_figure
from s2mnet_lab.study.collected import Collected

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DASHES = ("-", "--", "-.", ":")


def ahead(found: Collected) -> bytes | None:
    """How many points of Dice the first row is ahead of each other one, with 95 % intervals; None without results."""
    shown = [name for name in found.others if any(found.comparison(dataset, name) for dataset in found.study.data)]
    if not shown:
        return None
    places = [*found.study.data, "mean"]

    def draw(figure: Figure) -> None:
        # A scale for each: beside one peer that is far behind, differences of a point would all lie on the line at 0.
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, shown, strict=True):
            for place, dataset in enumerate(places):
                one = found.mean_comparison(name) if dataset == "mean" else found.comparison(dataset, name)
                if one is None:
                    continue
                low, middle, high = (100 * value for value in (one.low, one.difference, one.high))
                colour = COLOURS[4] if low <= 0 <= high else COLOURS[0] if low > 0 else COLOURS[1]
                mark, size = ("D", 8) if dataset == "mean" else ("o", 6)
                error = [[middle - low], [high - middle]]
                axes.errorbar(middle, place, xerr=error, fmt=mark, color=colour, markersize=size, capsize=3)
            axes.axvline(0, color="#333333", linewidth=0.8)
            axes.set_title(textwrap.fill(found.study.variants[name].title, 28), fontsize=9)
            axes.set_yticks(range(len(places)), places)
            axes.grid(visible=False, axis="y")
        panels[0].invert_yaxis()
        title = found.study.variants[found.reference].title
        label = f"points of Dice that {title} is ahead (right of 0) or behind; each panel has its own scale"
        figure.supxlabel(label, fontsize=10)

    return draw_figure(draw, (max(6.4, 2.3 * len(shown) + 1.2), 1.4 + 0.38 * len(places)))


def learning(found: Collected) -> bytes | None:
    """Validation Dice over the steps, mean over seeds, one panel for each data set; None without results."""
    shown = [dataset for dataset in found.study.data if any(name == dataset for name, _, _ in found.results)]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, dataset in zip(panels, shown, strict=False):
            for count, (name, variant) in enumerate(found.study.variants.items()):
                trained = [found.trainings.get((dataset, name, seed)) for seed in found.study.seeds]
                histories = [one.history for one in trained if one]
                epochs = min((len(history) for history in histories), default=0)
                if epochs:
                    steps = [record["steps"] for record in histories[0][:epochs]]
                    dice = np.mean([[r["val_dice"] for r in history[:epochs]] for history in histories], axis=0)
                    colour, dash = COLOURS[count % len(COLOURS)], _DASHES[count // len(COLOURS) % len(_DASHES)]
                    axes.plot(steps, 100 * dice, dash, color=colour, marker=".", label=variant.title)
            axes.set(title=dataset, xlabel="steps", ylabel="validation Dice, %")
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        drawn = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        titles = [variant.title for variant in found.begun.values()]
        lines = [drawn[title] for title in titles]
        figure.legend(lines, titles, loc="outside lower center", ncols=min(3, len(titles)))

    return draw_figure(draw, (3.4 * columns, 2.7 * rows + 0.3 + 0.2 * (len(found.study.variants) // 3 + 1)))
