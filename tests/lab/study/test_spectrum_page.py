"""Tables and figures of the spectral study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2mnet.errors import S2MNetError
from s2mnet.evaluation.records import Summary
from s2mnet_lab.study.spectrum.charts import draw_reconstructions
from s2mnet_lab.study.spectrum.images import reconstruction
from s2mnet_lab.study.spectrum.page import reported, spectrum_section
from s2mnet_lab.study.spectrum.result import (
    Band,
    EnergyShare,
    FilterSummary,
    ImageSpectrum,
    SpectrumResult,
    StageSpectrum,
)


def around(mean: float) -> Summary:
    return Summary(mean=mean, std=0.1, median=mean, low=mean - 0.01, high=mean + 0.01)


def result(name: str, modality: str, trained: bool) -> SpectrumResult:
    bands = [
        Band(k=k, with_dc=around(0.9 + k / 1000), without_dc=around(k / 100), psnr=around(k), relative_error=None)
        for k in (1, 16, 24, 32, 48, 64)
    ]
    shares = [EnergyShare(k=k, with_dc=0.75, without_dc=k / 100) for k in (8, 16, 32)]
    sizes = {"height": 20, "width": 24, "channels": 8}
    stages = [
        StageSpectrum(stage=n, shares=shares, branch_ratio=0.5, spectral_rms=3, gate_rms=1, **sizes)
        for n in (1, 2, 4, 5)
    ]
    summary = {"k": 4, "complex_filter": True, "magnitude": [1, 0.5, 0.25], "phase": [0, 0, np.pi / 4]}
    filters = [FilterSummary(stage=n, departure=0.125, imaginary_part=0.25, **summary) for n in (1, 2, 4, 5)]
    return SpectrumResult(
        name=name,
        modality=modality,
        image=ImageSpectrum(images=7, side=352, bands=bands),
        stages=[*stages[:2], None, *stages[2:]] if trained else [],
        filters=[*filters[:2], None, *filters[2:]] if trained else [],
        environment={"s2mnet": "0.1.0", "commit": "abc", "date": "2026-11-23"},
    )


def cells(page: str, start: str) -> list[str]:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_measured_stands_beside_reported(tmp_path: Path) -> None:
    page = spectrum_section([result("A", "fundus photography", False)], tmp_path / "spectral", tmp_path / "a.md")
    with_dc = cells(page, "A, fundus photography, 7 images | with DC")
    assert with_dc[2:4] == ["90.1 [89.1, 91.1]", "91.6 [90.6, 92.6]"]
    assert cells(page, " | reported")[2:] == ["–", "91.2", "94.8", "96.4", "97.8"]
    assert cells(page, " | without DC")[2::4] == ["–", "48.0 [47.0, 49.0]"]
    assert "352²" in page and "commit abc" in page
    assert sorted(file.name for file in (tmp_path / "spectral").iterdir()) == ["energy.svg", "reconstruction.svg"]


def test_what_was_not_reported_or_not_measured_is_a_dash(tmp_path: Path) -> None:
    one = result("A", "dermoscopy", False)
    one = one.model_copy(update={"image": one.image.model_copy(update={"bands": one.image.bands[:3]})})
    page = spectrum_section([one], tmp_path, tmp_path / "a.md")
    assert cells(page, " | reported")[2:] == ["–"] * 5
    assert cells(page, " | without DC")[5:] == ["–", "–"]


def test_stages_and_filters_of_a_trained_network(tmp_path: Path) -> None:
    results = [result("A", "colonoscopy", True), result("B", "ultrasound", False)]
    page = spectrum_section(results, tmp_path / "spectral", tmp_path / "a.md")
    assert cells(page, "A | 1 | 8") == ["A", "1", "8×20×24", "75.0 %", "32.0 %", "0.50", "90.0 %"]
    assert cells(page, "A | 1 | 4") == ["A", "1", "4, complex", "0.125", "25.0 %", "1.00 – 0.25", "0.0° – 45.0°"]
    assert "| A | 3 |" not in page and "| B |" not in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {8}  # seven columns each, no bar within a cell
    for name in ("energy", "reconstruction", "stages", "filters"):
        assert f"![{name}](spectral/{name}.svg)" in page
        assert (tmp_path / "spectral" / f"{name}.svg").read_bytes().startswith(b"<?xml")


def test_the_same_results_give_the_same_files(tmp_path: Path) -> None:
    results = [result(f"set {number}", "brain MRI", True) for number in range(9)]
    roots = [tmp_path / name for name in "ab"]
    pages = [spectrum_section(results, root / "spectral", root / "page.md") for root in roots]
    assert pages[0] == pages[1]
    for file in (tmp_path / "a" / "spectral").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "spectral" / file.name).read_bytes()


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="no result"):
        spectrum_section([], tmp_path, tmp_path / "a.md")
    with pytest.raises(S2MNetError, match="no K"):
        draw_reconstructions(np.zeros((8, 8), np.uint8), (), tmp_path / "a.png")


def test_modalities_of_the_known_data_sets_find_their_row() -> None:
    from s2mnet.datasets import DATASETS

    without = {"dermoscopy", "histopathology", "robotic surgery"}
    modalities = {known.modality for known in DATASETS.values()}
    assert {name for name in modalities if reported(name) is None} == without
    assert reported("Fundus photography") == (91.2, 94.8, 96.4, 97.8)


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (40, 60, 5)])
def test_reconstructions_are_drawn_for_every_k(shape: tuple[int, ...], tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    widths = []
    for ks in ((16,), (16, 24, 32, 48, None)):
        with Image.open(draw_reconstructions(image, ks, tmp_path / "made.png")) as drawn:
            widths.append(drawn.width)
    assert widths[1] == pytest.approx(5 * widths[0], abs=5)


def test_the_picture_of_all_frequencies_is_the_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib.axes import Axes

    shown: list[np.ndarray] = []
    monkeypatch.setattr(Axes, "imshow", lambda self, pixels, **style: shown.append(pixels))
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    draw_reconstructions(image, (8, None), tmp_path / "made.png")
    np.testing.assert_array_equal(shown[1], image)
    expected = reconstruction(image.transpose(2, 0, 1), 8).image.transpose(1, 2, 0)
    np.testing.assert_allclose(shown[0], expected.clip(0, 255), atol=0.5)
