"""Figures of the inspection page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from s2mnet.fingerprint.record import ClassFacts, Distribution, ImageFacts, Morphology, SpectralEnergy
from s2mnet.pages.drawing import BLUE, GREY, ORANGE, draw_figure
from s2mnet.pages.embed import Picture, plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sizes(images: Sequence[ImageFacts]) -> Picture:
    """Histogram of the heights and widths of the images, in pixels; at least one image.

    Example:
        >>> image = ImageFacts(name="a", split="train", image="", mask="", height=9, width=12, channels=1, mode="L",
        ...     mask_mode="L", bits=8, foreground=None)
        >>> sizes([image]).caption
        'Height and width of the images.'
    """
    height, width = ([getattr(image, side) for image in images] for side in ("height", "width"))
    room = max(4, (max(*height, *width) - min(*height, *width)) // 20)
    edges = np.linspace(min(*height, *width) - room, max(*height, *width) + room, 25).tolist()

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hist([height, width], bins=edges, color=[BLUE, ORANGE], label=["height", "width"])
        axes.set(xlabel="px", ylabel="images")
        axes.locator_params(axis="y", integer=True)
        axes.legend()

    return plot(draw_figure(draw), "Sizes of the images", "Height and width of the images.")


def foreground(images: Sequence[ImageFacts]) -> Picture:
    """Foreground as a share of each image; at least one image with a known share."""
    shares = [100 * image.foreground for image in images if image.foreground is not None]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hist(shares, bins=24, color=BLUE, alpha=0.75, edgecolor="white", linewidth=0.8)
        axes.set(xlabel="foreground, % of the image", ylabel="masks")
        axes.locator_params(axis="y", integer=True)

    return plot(draw_figure(draw), "Size of the foreground", "Foreground as a share of each image.")


def label_shares(classes: Sequence[ClassFacts]) -> Picture:
    """Share of the pixels and number of masks of each class; at least one class."""
    names = [entry.name if len(entry.name) < 28 else entry.name[:26] + "…" for entry in classes]
    masks = [sum(entry.masks.values()) for entry in classes]
    rows = np.arange(len(classes))

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, values, text in (
            (left, [100 * entry.share for entry in classes], [f"{100 * entry.share:.3g}" for entry in classes]),
            (right, masks, [str(count) for count in masks]),
        ):
            bars = axes.barh(rows, values, color=BLUE, alpha=0.75)
            axes.bar_label(bars, text, padding=3, fontsize=9)
            axes.margins(x=0.18)
            axes.grid(visible=False, axis="y")
        left.set(yticks=rows, yticklabels=names, xlabel="% of the labelled pixels")
        left.invert_yaxis()
        right.set_xlabel("masks that contain it")

    drawn = draw_figure(draw, (5.4, max(1.8, 0.9 + 0.4 * len(classes))))
    return plot(drawn, "Shares of the classes", "Pixels of each class, and masks that contain it.")


def shapes(entry: ClassFacts, morphology: Morphology) -> Picture:
    """Descriptors and thickness of one class: a dot for each mask, quartiles and median."""
    names = ("tubularity", "compactness", "irregularity", "size")

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(4, 1))
        _dots(left, {name: getattr(morphology, name) for name in names})
        left.set_ylim(-0.03, 1.03)
        left.tick_params(axis="x", labelsize=8.5)
        _dots(right, {"thickness, px": morphology.thickness_px})
        right.set_ylim(0, 1.05 * max(morphology.thickness_px.values))

    over = f"{entry.name}, {len(morphology.size.values)} masks"
    return plot(draw_figure(draw), f"Shapes of {over}", f"{over}: a dot for each mask, with median and quartiles.")


def spectrum(energies: Sequence[SpectralEnergy]) -> Picture:
    """Median energy within K, with and without the mean, quartiles as whiskers; at least one K."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for offset, colour, text, field in (
            (-0.2, GREY, "with the mean of the image (DC)", "with_dc"),
            (0.2, BLUE, "without it", "without_dc"),
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

    return plot(draw_figure(draw), "Spectral energy within K", "Energy within the central K × K frequencies.")


def _dots(axes: Axes, parts: dict[str, Distribution]) -> None:
    spread = np.random.default_rng(0)
    for place, part in enumerate(parts.values()):
        aside = place + spread.uniform(-0.25, 0.25, len(part.values))
        axes.plot(aside, part.values, ".", color=BLUE, alpha=0.3, markersize=4)
        axes.vlines(place, part.lower, part.upper, color=ORANGE, linewidth=5, alpha=0.6)
        axes.plot([place - 0.32, place + 0.32], [part.median] * 2, color=ORANGE, linewidth=2)
    axes.set(xticks=range(len(parts)), xticklabels=list(parts), xlim=(-0.6, len(parts) - 0.4))
    axes.grid(visible=False, axis="x")
