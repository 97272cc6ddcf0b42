"""The page of the study of spectra: tables and charts from its result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.evaluation.records import Summary
from s2mnet_lab.markdown import table
from s2mnet_lab.study.charts import write_chart
from s2mnet_lab.study.spectrum.charts import energy_over_k, filter_chart, psnr_over_k, stage_chart
from s2mnet_lab.study.spectrum.result import Band, SpectrumResult

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
STAGE_K = 32

ABOUT_IMAGES = """\
## Images

The share of an image's energy within its central K×K frequencies: Σ|central K×K|² / Σ|all|² of the 2-D FFT of each
channel, averaged over channels and images, at {side}² (the paper: 352²). The DC term is the mean of the image, without
structure; K = 1 is its share. Brackets hold the 95 % bootstrap interval over images. "Reported" is the paper's figure
for the modality, which includes the DC term; – means not reported."""
ABOUT_STAGES = """\
## Inside the trained network

The share of energy within K = {k}, clamped to the map, of the map x that enters the SSTM of each stage. "Added" is the
rms of what the SSTM adds to x over the rms of x; "spectral part" is the energy of the spectral branch over that of
both branches after the 1×1 fusion."""
ABOUT_FILTERS = """\
## Learned filters

The filters W start as the identity on the band (W = 1). "Departure" is the rms of W − 1 over channels and frequencies;
"imaginary" is the share of its square that only a complex filter can have. Magnitude and phase (weighted by |W|) are
means over channels at the lowest and the highest radius, in cycles per map."""


def spectrum_section(results: Sequence[SpectrumResult], folder: Path, page: Path) -> str:
    """The Markdown of the study for ``page``; writes the charts into ``folder``.

    Charts: ``energy.svg`` (share over K without DC), ``reconstruction.svg`` (PSNR of the images made of K×K
    frequencies), and where a result has a network ``stages.svg`` and ``filters.svg``.

    Args:
        results: at least one, each of one data set.

    Raises:
        S2MNetError: there is no result, or a chart cannot be written.

    Example:
        >>> import tempfile
        >>> from s2mnet_lab.study.spectrum.images import image_spectrum
        >>> noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
        >>> result = SpectrumResult(name="noise", modality="none", image=image_spectrum(noise, side=64))
        >>> folder = Path(tempfile.mkdtemp())
        >>> print(spectrum_section([result], folder, folder / "spectral.md").splitlines()[-1])
        ![reconstruction](reconstruction.svg)
    """
    if not results:
        raise S2MNetError("the study of spectra", "has no result to show", "Run the study first.")

    def chart(name: str, content: bytes) -> str:
        return write_chart(content, name, folder, page)

    sides = " or ".join(f"{side}" for side in sorted({result.image.side for result in results}))
    parts = [ABOUT_IMAGES.format(side=sides), *_origins(results), _images(results)]
    parts += [chart("energy", energy_over_k(results)), chart("reconstruction", psnr_over_k(results))]
    if any(any(result.stages) for result in results):
        parts += [ABOUT_STAGES.format(k=STAGE_K), _stage_rows(results), chart("stages", stage_chart(results))]
    if any(any(result.filters) for result in results):
        parts += [ABOUT_FILTERS, _filter_rows(results), chart("filters", filter_chart(results))]
    return "\n\n".join(parts)


def reported(modality: str) -> tuple[float, ...] | None:
    """The paper's % of the energy within K = 16, 24, 32, 48 for a modality (SPEC 3.3); None if it reports none.

    Example:
        >>> reported("fundus photography"), reported("dermoscopy")
        ((91.2, 94.8, 96.4, 97.8), None)
    """
    return next((shares for word, shares in REPORTED.items() if word.lower() in modality.lower()), None)


def _origins(results: Sequence[SpectrumResult]) -> list[str]:
    """Versions and dates of the measurements, one line for each commit."""
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
    summaries: list[Summary | None] = [getattr(bands.get(k), field, None) for k in TABLE_KS]
    return [f"{100 * s.mean:.1f} [{100 * s.low:.1f}, {100 * s.high:.1f}]" if s else "–" for s in summaries]


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
