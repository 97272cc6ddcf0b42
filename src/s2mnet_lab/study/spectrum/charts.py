"""The charts of the study of spectra: energy and reconstruction over K, stages and filters of networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2mnet.data.channels import to_show
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.pages.drawing import draw_figure
from s2mnet_lab.study.charts import line_style
from s2mnet_lab.study.spectrum.images import reconstruction
from s2mnet_lab.study.spectrum.result import SpectrumResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = range(1, 6)
_MARKS = "osv^DX*P"


def energy_over_k(results: Sequence[SpectrumResult]) -> bytes:
    """Share of the energy within K×K, without DC."""
    return _over_k(results, "without_dc", 100, "% of the energy without DC")


def psnr_over_k(results: Sequence[SpectrumResult]) -> bytes:
    """PSNR of the images made of K×K frequencies."""
    return _over_k(results, "psnr", 1, "PSNR from K×K frequencies, dB")


def _over_k(results: Sequence[SpectrumResult], field: str, unit: float, label: str) -> bytes:
    """One line for each data set, the interval as a band."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, result in enumerate(results):
            bands = [(band.k, getattr(band, field)) for band in result.image.bands if band.k > 1]
            known = [(k, summary) for k, summary in bands if summary]
            _line(axes, number, [(k, unit * summary.mean) for k, summary in known], result.name)
            low, high = ([unit * getattr(summary, end) for _, summary in known] for end in ("low", "high"))
            colour = line_style(number)["color"]
            axes.fill_between([k for k, _ in known], low, high, color=colour, alpha=0.15, linewidth=0)
        _scale_k(axes)
        axes.set_ylabel(label)
        if field == "without_dc":
            axes.set_ylim(0, 103)
        figure.legend(loc="outside right center")

    return draw_figure(draw, (7.4, 3.8))


def stage_chart(results: Sequence[SpectrumResult]) -> bytes:
    """Share of the energy within K×K of the maps of each stage, without DC."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(STAGES), sharey=True)
        for number, result in enumerate(results):
            for axes, stage in zip(panels, result.stages, strict=False):
                if stage:
                    side = min(stage.height, stage.width)
                    shares = {min(share.k, side): share.without_dc for share in stage.shares if share.k > 1}
                    points = [(k, 100 * share) for k, share in shares.items() if share is not None]
                    _line(axes, number, points, result.name)
        for axes, stage_number in zip(panels, STAGES, strict=True):
            axes.set_title(f"stage {stage_number}", fontsize=9.5)
            _scale_k(axes)
        panels[0].set(ylabel="% of the energy without DC", ylim=(0, 103))
        _legend(figure, panels)

    return draw_figure(draw, (12, 3.1))


def filter_chart(results: Sequence[SpectrumResult]) -> bytes:
    """Magnitude and phase of the filters of each stage, by radius."""

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, len(STAGES), sharex="col", sharey="row")
        for number, result in enumerate(results):
            for column, one in enumerate(result.filters):
                if one:
                    _line(upper[column], number, list(enumerate(one.magnitude)), result.name, marks=False)
                    _line(lower[column], number, list(enumerate(np.degrees(one.phase))), result.name, marks=False)
        for axes, stage_number in zip(upper, STAGES, strict=True):
            axes.set_title(f"stage {stage_number}", fontsize=9.5)
        for axes in lower:
            axes.set_xlabel("cycles per map")
            axes.locator_params(axis="x", integer=True, nbins=5)
        upper[0].set_ylabel("mean |W|")
        lower[0].set(ylabel="mean phase, °", ylim=(0, None))
        _legend(figure, upper)

    return draw_figure(draw, (12, 4.6))


def _line(axes: Axes, number: int, points: Sequence[tuple[float, float]], name: str, marks: bool = True) -> None:
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    style: Any = {"marker": _MARKS[number % len(_MARKS)], "markersize": 4.5} if marks else {}
    axes.plot(x, y, linewidth=1.6, label=name, **line_style(number), **style)


def _scale_k(axes: Axes) -> None:
    """A logarithmic axis with a tick at every K of the lines."""
    ticks = sorted({int(k) for line in axes.lines for k in np.asarray(line.get_xdata())})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(k) for k in ticks], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("K")


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels, with each data set once."""
    lines = {str(line.get_label()): line for axes in panels for line in axes.lines}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=6)


def draw_reconstructions(image: NDArray[np.uint8], ks: Sequence[int | None], path: Path) -> Path:
    """Draw an image from its central K×K frequencies alone, one picture for each K, and write a PNG at ``path``.

    Args:
        image: uint8 (H, W), (H, W, 3) or a stack (H, W, n), of which the middle channel is drawn.
        ks: each at least 1; None for all frequencies, the image itself.

    Raises:
        S2MNetError: ``ks`` is empty, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        >>> draw_reconstructions(image, (16, 24, 32, 48, None), Path(tempfile.mkdtemp(), "mine.png")).name
        'mine.png'
    """
    if not ks:
        raise S2MNetError("ks", "holds no K", "Name at least one, such as 16, 24, 32 or 48.")
    shown = to_show(image)
    planes = shown if shown.ndim == 2 else shown.transpose(2, 0, 1)

    def draw(figure: Figure) -> None:
        for axes, k in zip(figure.subplots(1, len(ks), squeeze=False)[0], ks, strict=True):
            made, psnr, _ = reconstruction(planes, k)
            pixels = np.rint(made.clip(0, 255)).astype(np.uint8)
            axes.imshow(pixels if pixels.ndim == 2 else pixels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255)
            axes.set_title("full" if k is None else f"K = {k}, {psnr:.1f} dB", fontsize=9.5)
            axes.set_axis_off()

    height = 2.4 * shown.shape[0] / shown.shape[1] + 0.4
    write_atomically(path, draw_figure(draw, (2.4 * len(ks), height), form="png"))
    return path
