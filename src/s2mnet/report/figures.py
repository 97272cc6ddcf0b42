"""Figures of the report, by Matplotlib's object interface: training curves, Dice per image, spectral filters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2mnet.errors import S2MNetError
from s2mnet.pages.drawing import BLUE, DARK, GREEN, ORANGE, PURPLE, draw_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, Any]]
Points = list[tuple[float, float]]

_LINES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, (0, (5, 1))), (DARK, ":"))
_SINGLE = {
    "dice": ("val_dice", "Dice on validation images"),
    "loss": ("train_loss", "training loss"),
    "lr": ("lr", "learning rate"),
}
_BY_TERM = {"terms": "value of the term", "weights": "weight w", "limits": "share of w", "alpha": "modulation α"}
_TERMS = {
    "core": "core (overlap)",
    "bnd": "boundary",
    "str": "structure",
    "sca": "scale",
    "tex": "texture",
}


def curves(history: History) -> dict[str, bytes]:
    """Training curves as SVG, one figure each, for what the history holds.

    Args:
        history: one record per epoch with "epoch" and any of "train_loss", "val_dice", "lr" (numbers) and "terms",
            "weights", "limits", "alpha" (name → number). What is missing, None or not finite is left out of its curve.

    Returns:
        SVG by name, in this order and only where there is something to draw: "dice", "loss", "lr", "terms", "weights",
        "limits", "alpha". An empty history gives an empty dict.

    Example:
        >>> list(curves([{"epoch": 1, "train_loss": 0.9, "val_dice": 0.4}]))
        ['dice', 'loss']
    """
    charts = {name: (label, {label: _points(history, key)}) for name, (key, label) in _SINGLE.items()}
    for name, label in _BY_TERM.items():
        terms = dict.fromkeys(term for record in history for term in (record.get(name) or {}))
        charts[name] = (label, {_TERMS.get(term, term): _points(history, name, term) for term in terms})
    axes = {"dice": _mark_best, "lr": _from_zero}
    return {
        name: draw_figure(partial(_draw_lines, label, lines, axes.get(name, _fit)))
        for name, (label, lines) in charts.items()
        if any(lines.values())
    }


def best_epoch(history: History) -> tuple[int, float] | None:
    """The epoch of the highest validation Dice and that Dice; None without any. The earliest of equals is taken.

    Example:
        >>> best_epoch([{"epoch": 1, "val_dice": 0.4}, {"epoch": 2, "val_dice": 0.7}, {"epoch": 3, "val_dice": 0.6}])
        (2, 0.7)
    """
    points = _points(history, "val_dice")
    if not points:
        return None
    epoch, dice = max(points, key=lambda point: point[1])
    return int(epoch), dice


def dice_distribution(values: Sequence[float]) -> bytes:
    """Dice of every image as an SVG: a histogram in steps of 0.05, one tick per image below it, and the median.

    Args:
        values: one Dice in [0, 1] per image, at least one.

    Example:
        >>> dice_distribution([0.5, 0.8, 0.9])[:5]
        b'<?xml'
    """
    dice = np.asarray(values, dtype=float)
    if not dice.size or not ((dice >= 0) & (dice <= 1)).all():
        problem = f"must be one or more values in [0, 1], not {dice.tolist()[:5]}"
        raise S2MNetError("Dice per image", problem, "Leave out the others.")

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
        upper.hist(dice, bins=np.linspace(0, 1, 21), color=BLUE, alpha=0.75, edgecolor="white", linewidth=0.8)
        median = float(np.median(dice))
        for axes in (upper, lower):
            axes.axvline(median, color=ORANGE, linewidth=1.6)
        left = median > 0.5
        place = {"xytext": (-5 if left else 5, 2), "textcoords": "offset points", "ha": "right" if left else "left"}
        upper.annotate(f"median {median:.3f}", (median, 1), xycoords=("data", "axes fraction"), color=ORANGE, **place)
        upper.set_ylabel("images")
        upper.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        upper.tick_params(axis="x", length=0)
        lower.vlines(dice, 0, 1, color=BLUE, linewidth=0.9, alpha=0.6)
        lower.set(yticks=[], xlim=(-0.01, 1.01), ylim=(-0.1, 1.1), xlabel="Dice of one image")
        lower.spines["left"].set_visible(False)
        lower.grid(visible=False)

    return draw_figure(draw)


def spectral_filters(responses: Sequence[NDArray[Any] | None]) -> bytes:
    """The learned filters of the spectral branch as one PNG, a row for each stage.

    A row shows the magnitude |W| averaged over channels, three single channels (the one that passes the lowest
    frequencies on average, the middle one, the highest), and the mean magnitude against the radius with the range that
    holds 80 % of the channels. The mean has its own colour scale, the single channels of a row share one.

    Args:
        responses: for each stage (C, K, K), complex or real, the zero frequency at [K // 2, K // 2] as `fftshift` puts
            it, or None for a stage without a spectral branch.

    Raises:
        S2MNetError: no stage has a filter, or a filter is not (C, K, K).

    Example:
        >>> spectral_filters([np.ones((4, 8, 8))])[:4]
        b'\\x89PNG'
    """
    stages = [(number, _magnitude(number, w)) for number, w in enumerate(responses, 1) if w is not None]
    if not stages:
        raise S2MNetError("spectral filters", "are missing at every stage", "Leave the picture out.")

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(stages), 5, squeeze=False, width_ratios=(1, 1, 1, 1, 1.35))
        for row, (number, magnitude) in zip(grid, stages, strict=True):
            _stage(row, number, magnitude)
        for axes in grid[-1][:4]:
            axes.set_xlabel("across, cycles per map")
        grid[-1][4].set_xlabel("radius, cycles per map")

    return draw_figure(draw, (12, 2.35 * len(stages) + 0.3), form="png")


def radial_profile(magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each channel over rings of one cycle per map, from radius 0 to K // 2: (C, K, K) → (C, K // 2 + 1).

    Example:
        >>> radial_profile(np.ones((2, 8, 8))).tolist()
        [[1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0]]
    """
    ring = np.round(_radius(magnitude.shape[-1])).astype(int)
    return np.stack([magnitude[:, ring == r].mean(axis=1) for r in range(magnitude.shape[-1] // 2 + 1)], axis=1)


def _stage(row: Sequence[Axes], number: int, magnitude: NDArray[np.float64]) -> None:
    channels, size, _ = magnitude.shape
    radius = _radius(size)
    power = magnitude.sum(axis=(1, 2))
    centroid = (magnitude * radius).sum(axis=(1, 2)) / np.where(power > 0, power, 1)
    order = np.argsort(centroid, kind="stable")
    singles = list(dict.fromkeys(int(order[i]) for i in (0, channels // 2, channels - 1)))
    maps = [magnitude.mean(axis=0), *(magnitude[c] for c in singles)]
    titles = [f"Stage {number}: mean of {channels} channels", *(f"channel {c}" for c in singles)]
    scales = [_scale(maps[0]), *[_scale(np.stack(maps[1:]))] * len(singles)]
    edge = -(size // 2) - 0.5
    extent = (edge, edge + size, edge + size, edge)  # downwards, as the image is drawn
    for axes, picture, title, (low, high) in zip(row[: len(maps)], maps, titles, scales, strict=True):
        shown = axes.imshow(picture, cmap="viridis", vmin=low, vmax=high, extent=extent)
        axes.set_title(title, fontsize=9.5)
        axes.grid(visible=False)
        axes.locator_params(nbins=5, integer=True)
        if axes is row[0] or axes is row[len(maps) - 1]:
            axes.figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.03, label="|W|", extend="both")
    for axes in row[len(maps) : 4]:
        axes.set_axis_off()
    row[0].set_ylabel("down, cycles per map")
    profile = radial_profile(magnitude)
    inner, outer = np.percentile(profile, (10, 90), axis=0)
    rings = np.arange(profile.shape[1])
    row[4].fill_between(rings, inner, outer, color=BLUE, alpha=0.18, linewidth=0, label="80 % of channels")
    row[4].plot(rings, profile.mean(axis=0), color=BLUE, linewidth=1.8, label="mean")
    row[4].set(ylabel="|W|", xlim=(0, max(1, rings[-1])))
    row[4].set_title(f"Stage {number}: by radius", fontsize=9.5)
    row[4].legend(fontsize=8, loc="best")


def _magnitude(number: int, response: NDArray[Any]) -> NDArray[np.float64]:
    magnitude = np.abs(np.asarray(response)).astype(np.float64)
    if magnitude.ndim != 3 or not magnitude.size or magnitude.shape[1] != magnitude.shape[2]:
        problem = f"has the shape {magnitude.shape} instead of (channels, K, K)"
        fix = "Complete a half-plane filter to the full square first."
        raise S2MNetError(f"spectral filter of stage {number}", problem, fix)
    return magnitude


def _scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """The range of colours: without the outermost 1 % of values, or one strong frequency would hide all others."""
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    flat = high - low <= 1e-3 * high
    return (low - 0.05, high + 0.05) if flat else (low, high)


def _radius(size: int) -> NDArray[np.float64]:
    frequency = np.arange(size) - size // 2
    return np.hypot(frequency[:, None], frequency[None, :])


def _points(history: History, *path: str) -> Points:
    points = []
    for record in history:
        value: Any = record
        for key in path:
            value = value.get(key) if value is not None else None
        if value is not None and math.isfinite(value):
            points.append((float(record["epoch"]), float(value)))
    return points


def _draw_lines(label: str, lines: Mapping[str, Points], scale: Callable[[Axes, Points], None], figure: Figure) -> None:
    from matplotlib.ticker import MaxNLocator

    lines = {text: points for text, points in lines.items() if points}
    every = [point for points in lines.values() for point in points]
    axes = figure.subplots()
    for (text, points), (colour, dash) in zip(lines.items(), cycle(_LINES), strict=False):
        x, y = np.array(points).T
        few: Any = {"marker": "o", "markersize": 4} if len(points) <= 20 else {}
        axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.7, label=text, **few)
    first, last = min(every)[0], max(every)[0]
    if first == last:
        axes.set(xlim=(first - 1, first + 1), xticks=[first])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel=label)
    scale(axes, every)
    if len(lines) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, columnspacing=1.2, handlelength=2.2)


def _from_zero(axes: Axes, points: Points) -> None:
    values = [value for _, value in points]
    if min(values) >= 0:
        axes.set_ylim(0, 1.08 * max(values) or 1)


def _fit(axes: Axes, points: Points) -> None:
    """A logarithmic axis where values differ widely."""
    values = [value for _, value in points]
    if 0 < 30 * min(values) < max(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")
    else:
        _from_zero(axes, points)


def _mark_best(axes: Axes, points: Points) -> None:
    best = max(points, key=lambda point: point[1])
    axes.set_ylim(0, 1)
    axes.plot(*best, marker="*", markersize=13, color=ORANGE, linestyle="none", zorder=5)
    left, right = axes.get_xlim()
    axes.annotate(
        f"best {best[1]:.3f}, epoch {best[0]:.0f}",
        best,
        xytext=(0, 11 if best[1] < 0.75 else -20),
        textcoords="offset points",
        ha="right" if best[0] > (left + right) / 2 else "left",
        color=ORANGE,
    )
