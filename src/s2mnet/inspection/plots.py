"""Figures of the inspection page, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from s2mnet.fingerprint.record import ClassFacts, Distribution, ImageFacts, SpectralEnergy
from s2mnet.report.figures import draw_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#8a939c"
_SIZE = (5.4, 3.1)


def sizes(images: Sequence[ImageFacts]) -> bytes:
    """How often which image height and width occurs, in pixels; at least one image.

    Example:
        >>> image = ImageFacts(name="a", split="train", image="", mask="", height=9, width=12, channels=1, mode="L",
        ...     mask_mode="L", bits=8, foreground=None)
        >>> sizes([image])[:5]
        b'<?xml'
    """
    height, width = ([getattr(image, side) for image in images] for side in ("height", "width"))
    room = max(4, (max(*height, *width) - min(*height, *width)) // 20)
    edges = np.linspace(min(*height, *width) - room, max(*height, *width) + room, 25).tolist()

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hist([height, width], bins=edges, color=[_BLUE, _ORANGE], label=["height", "width"])
        axes.set(xlabel="px", ylabel="images")
        axes.legend()

    return draw_figure(draw, _SIZE)


def foreground(images: Sequence[ImageFacts]) -> bytes:
    """How large the foreground of the masks is, as a share of each image; at least one with a known share."""
    shares = [100 * image.foreground for image in images if image.foreground is not None]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hist(shares, bins=24, color=_BLUE, alpha=0.75, edgecolor="white", linewidth=0.8)
        axes.set(xlabel="foreground, % of the image", ylabel="masks")

    return draw_figure(draw, _SIZE)


def label_shares(classes: Sequence[ClassFacts]) -> bytes:
    """Pixel share of each class and share of the masks that hold it; at least one class."""
    names = [entry.name if len(entry.name) < 28 else entry.name[:26] + "…" for entry in classes]
    masks = [sum(entry.masks.values()) for entry in classes]
    rows = np.arange(len(classes))

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, values, text in (
            (left, [100 * entry.share for entry in classes], [f"{100 * entry.share:.3g}" for entry in classes]),
            (right, masks, [str(count) for count in masks]),
        ):
            bars = axes.barh(rows, values, color=_BLUE, alpha=0.75)
            axes.bar_label(bars, text, padding=3, fontsize=9)
            axes.margins(x=0.18)
            axes.grid(visible=False, axis="y")
        left.set(yticks=rows, yticklabels=names, xlabel="% of the pixels with a truth")
        left.invert_yaxis()
        right.set_xlabel("masks that hold it")

    return draw_figure(draw, (5.4, max(1.8, 0.9 + 0.4 * len(classes))))


def shapes(entry: ClassFacts) -> bytes:
    """Descriptors and thickness of one class that has a morphology: every mask a dot, quartiles and median."""
    found = entry.morphology
    if found is None:
        return b""
    names = ("tubularity", "compactness", "irregularity", "size")

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(4, 1))
        _dots(left, {name: getattr(found, name) for name in names})
        left.set_ylim(-0.03, 1.03)
        left.tick_params(axis="x", labelsize=8.5)
        _dots(right, {"thickness, px": found.thickness_px})
        right.set_ylim(0, 1.05 * max(found.thickness_px.values))

    return draw_figure(draw, _SIZE)


def spectrum(energies: Sequence[SpectralEnergy]) -> bytes:
    """Median energy within K with and without DC, quartiles as whiskers; at least one K."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for offset, colour, text, field in (
            (-0.2, _GREY, "with the mean of the image (DC)", "with_dc"),
            (0.2, _BLUE, "without it", "without_dc"),
        ):
            known = [(i, getattr(energy, field)) for i, energy in enumerate(energies) if getattr(energy, field)]
            if not known:
                continue
            middle = np.array([100 * part.median for _, part in known])
            reach = np.abs(np.array([[100 * part.lower, 100 * part.upper] for _, part in known]).T - middle)
            bars = axes.bar([i + offset for i, _ in known], middle, 0.38, yerr=reach, color=colour, label=text,
                            error_kw={"elinewidth": 1, "ecolor": "#333333"})  # fmt: skip
            axes.bar_label(bars, [f"{value:.1f}" for value in middle], label_type="center", color="white", fontsize=8.5)
        axes.set(xticks=range(len(energies)), xticklabels=[f"K = {energy.k}" for energy in energies])
        axes.set(ylabel="% of the energy", ylim=(0, 105))
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2)
        axes.grid(visible=False, axis="x")

    return draw_figure(draw, _SIZE)


def _dots(axes: Axes, parts: dict[str, Distribution]) -> None:
    spread = np.random.default_rng(0)
    for place, part in enumerate(parts.values()):
        aside = place + spread.uniform(-0.25, 0.25, len(part.values))
        axes.plot(aside, part.values, ".", color=_BLUE, alpha=0.3, markersize=4)
        axes.vlines(place, part.lower, part.upper, color=_ORANGE, linewidth=5, alpha=0.6)
        axes.plot([place - 0.32, place + 0.32], [part.median] * 2, color=_ORANGE, linewidth=2)
    axes.set(xticks=range(len(parts)), xticklabels=list(parts), xlim=(-0.6, len(parts) - 0.4))
    axes.grid(visible=False, axis="x")
