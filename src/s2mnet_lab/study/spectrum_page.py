"""The study `spectral` as Markdown tables and figures, from what `s2mnet_lab.study.spectrum` measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2mnet.data.channels import to_show
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.records import Summary
from s2mnet.files import write_atomically
from s2mnet.pages.drawing import COLOURS, draw_figure
from s2mnet_lab.markdown import table
from s2mnet_lab.study.spectrum import Band, SpectrumResult, reconstruction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORTED_KS = (16, 24, 32, 48)
TABLE_KS = (1, *REPORTED_KS)
# SPEC 3.3, % of the energy with the DC term, by a word of the modality.
REPORTED = {
    "colonoscopy": (89.3, 93.7, 95.2, 97.1),
    "fundus": (91.2, 94.8, 96.4, 97.8),
    "brain MRI": (87.6, 92.1, 94.1, 96.2),
    "cardiac MRI": (87.6, 92.1, 94.1, 96.2),
    "ultrasound": (85.9, 90.8, 93.3, 95.4),
}
STAGES = range(1, 6)
STAGE_K = 32

ABOUT = """\
Share of an image's energy within its central K×K frequencies, Σ|central K×K|² / Σ|all|² of the 2-D FFT of each channel,
mean over channels and images, at {side}² (the paper's are at 352²). The DC term is the mean of the image, which holds
no structure; K = 1 is its share. In brackets the 95 % bootstrap interval over images; "reported" is the paper's figure
for the modality, which includes the DC term; – stands for what was not reported."""
STAGES_ABOUT = """\
Inside the trained network: the energy within K = {k}, clamped to the map, of the map x that enters the SSTM of each
stage. "Added" is the rms of what the SSTM adds to x over the rms of x; "spectral part" the energy of the spectral
branch over that of both branches behind the 1×1 fusion."""
FILTERS_ABOUT = """\
The learned filters W, which start as the identity on the band (W = 1). "Departure" is the rms of W − 1 over channels
and frequencies, "imaginary" the share of its square that only a complex filter can have; magnitude |W| and phase
(weighted by |W|) are means over channels at the lowest and the highest radius in cycles per map."""

_MARKS = "osv^DX*P"


def spectrum_section(results: Sequence[SpectrumResult], folder: Path) -> str:
    """The Markdown of the study, for a page that lies beside ``folder``; writes the figures into ``folder``.

    Figures: ``energy.svg`` (share over K without DC), ``reconstruction.svg`` (PSNR of the images made of K×K
    frequencies), and where a result has a network ``stages.svg`` and ``filters.svg``.

    Args:
        results: one for each data set, at least one.

    Raises:
        S2MNetError: no result, or a place that cannot be written to.

    Example:
        >>> import tempfile
        >>> from s2mnet_lab.study.spectrum import image_spectrum
        >>> noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
        >>> result = SpectrumResult(name="noise", modality="none", image=image_spectrum(noise, side=64))
        >>> print(spectrum_section([result], Path(tempfile.mkdtemp(), "spectral")).splitlines()[-1])
        ![reconstruction](spectral/reconstruction.svg)
    """
    if not results:
        raise S2MNetError("study of the spectrum", "no result", "at least one data set", "Run the study first.")
    sides = " or ".join(f"{side}" for side in sorted({result.image.side for result in results}))
    parts = [ABOUT.format(side=sides), *_origins(results), _images(results)]
    drawn = {"energy": _energy(results), "reconstruction": _reconstruction(results)}
    parts += [_picture(folder, name) for name in drawn]
    if any(any(result.stages) for result in results):
        drawn["stages"] = _stages(results)
        parts += [STAGES_ABOUT.format(k=STAGE_K), _stage_rows(results), _picture(folder, "stages")]
    if any(any(result.filters) for result in results):
        drawn["filters"] = _filters(results)
        parts += [FILTERS_ABOUT, _filter_rows(results), _picture(folder, "filters")]
    for name, content in drawn.items():
        write_atomically(folder / f"{name}.svg", content)
    return "\n\n".join(parts)


def draw_reconstructions(image: NDArray[np.uint8], ks: Sequence[int | None], path: Path) -> Path:
    """Draw an image made of its central K×K frequencies alone, one picture for each K, to a PNG at ``path``.

    Meant for a user's own image, in a folder of a run.

    Args:
        image: uint8 (H, W), (H, W, 3) or a stack (H, W, n), of which the middle channel is drawn.
        ks: each at least 1; None for all frequencies, the image itself.

    Raises:
        S2MNetError: no K, or a place that cannot be written to.

    Example:
        >>> import tempfile
        >>> image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        >>> draw_reconstructions(image, (16, 24, 32, 48, None), Path(tempfile.mkdtemp(), "mine.png")).name
        'mine.png'
    """
    if not ks:
        raise S2MNetError("reconstructions", "no K", "at least one K", "Name some, such as 16, 24, 32 and 48.")
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


def reported(modality: str) -> tuple[float, ...] | None:
    """The paper's % of the energy within K = 16, 24, 32, 48 for a modality (SPEC 3.3); None if it reports none.

    Example:
        >>> reported("fundus photography"), reported("dermoscopy")
        ((91.2, 94.8, 96.4, 97.8), None)
    """
    return next((shares for word, shares in REPORTED.items() if word.lower() in modality.lower()), None)


def _origins(results: Sequence[SpectrumResult]) -> list[str]:
    """What it was measured with, once for each commit."""
    facts = {result.environment.get("commit"): result.environment for result in results if result.environment}
    return [
        "Measured with "
        + ", ".join(f"{name} {fact[name]}" for name in ("s2mnet", "torch", "numpy", "python") if fact.get(name))
        + f"; commit {commit}; {fact.get('date')}."
        for commit, fact in facts.items()
    ]


def _images(results: Sequence[SpectrumResult]) -> str:
    rows = []
    for result in results:
        bands = {band.k: band for band in result.image.bands}
        figures = reported(result.modality)
        images = f"{result.image.images} image{'s' * (result.image.images > 1)}"
        rows += [
            (f"{result.name}, {result.modality}, {images}", "with DC", *_cells(bands, "with_dc")),
            ("", "reported", "–", *([f"{share:.1f}" for share in figures] if figures else ["–"] * len(REPORTED_KS))),
            ("", "without DC", "–", *_cells(bands, "without_dc")[1:]),
        ]
    return table(("data set", "% of the energy", *(f"K = {k}" for k in TABLE_KS)), rows)


def _cells(bands: dict[int, Band], field: str) -> list[str]:
    found: list[Summary | None] = [getattr(bands.get(k), field, None) for k in TABLE_KS]
    return [f"{100 * s.mean:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]" if s else "–" for s in found]


def _stage_rows(results: Sequence[SpectrumResult]) -> str:
    rows = []
    for result in results:
        for stage in filter(None, result.stages):
            share = next((share for share in stage.shares if share.k == STAGE_K), None)
            within = (share.with_dc, share.without_dc) if share else (None, None)
            rows.append(
                (
                    result.name,
                    str(stage.stage),
                    f"{stage.channels}×{stage.height}×{stage.width}",
                    *("–" if part is None else f"{100 * part:.1f} %" for part in within),
                    f"{stage.branch_ratio:.2f}",
                    f"{100 * stage.spectral_part:.1f} %",
                )
            )
    return table(("data set", "stage", "map", "with DC", "without DC", "added", "spectral part"), rows)


def _filter_rows(results: Sequence[SpectrumResult]) -> str:
    rows = []
    for result in results:
        for one in filter(None, result.filters):
            phase = np.degrees(one.phase)
            rows.append(
                (
                    result.name,
                    str(one.stage),
                    f"{one.k}, {'complex' if one.complex_filter else 'real'}",
                    f"{one.departure:.3f}",
                    f"{100 * one.imaginary_part:.1f} %",
                    f"{one.magnitude[0]:.2f} – {one.magnitude[-1]:.2f}",
                    f"{phase[0]:.1f}° – {phase[-1]:.1f}°",
                )
            )
    return table(("data set", "stage", "K", "departure", "imaginary", "magnitude", "phase"), rows)


def _picture(folder: Path, name: str) -> str:
    return f"![{name}]({folder.name}/{name}.svg)"


def _energy(results: Sequence[SpectrumResult]) -> bytes:
    return _over_k(results, "without_dc", 100, "% of the energy without DC")


def _reconstruction(results: Sequence[SpectrumResult]) -> bytes:
    return _over_k(results, "psnr", 1, "PSNR from K×K frequencies, dB")


def _over_k(results: Sequence[SpectrumResult], field: str, unit: float, label: str) -> bytes:
    """One line for each data set, the interval as a band."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for number, result in enumerate(results):
            known = [(band.k, found) for band in result.image.bands if band.k > 1 and (found := getattr(band, field))]
            points = [(k, unit * found.mean) for k, found in known]
            _line(axes, number, points, result.name)
            low, high = ([unit * getattr(found, end) for _, found in known] for end in ("low", "high"))
            axes.fill_between([k for k, _ in known], low, high, color=_colour(number), alpha=0.15, linewidth=0)
        _scale_k(axes)
        axes.set_ylabel(label)
        if field == "without_dc":
            axes.set_ylim(0, 103)
        figure.legend(loc="outside right center")

    return draw_figure(draw, (7.4, 3.8))


def _stages(results: Sequence[SpectrumResult]) -> bytes:
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


def _filters(results: Sequence[SpectrumResult]) -> bytes:
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
    dash = ("-", "--", "-.", ":")[number // len(COLOURS) % 4]
    axes.plot(x, y, color=_colour(number), linestyle=dash, linewidth=1.6, label=name, **style)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _scale_k(axes: Axes) -> None:
    """A tick at every K of the lines."""
    ticks = sorted({int(k) for line in axes.lines for k in np.asarray(line.get_xdata())})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(k) for k in ticks], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("K")


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One for all panels, each data set once."""
    lines = {str(line.get_label()): line for axes in panels for line in axes.lines}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=6)
