"""Volumes in 3-D and patients: against MONAI and closed forms, with gaps, in millimetres where these are known."""

from __future__ import annotations

import csv
import json
import os
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from direct import image_metrics
from rich.console import Console

from s2mnet.data.casetable import CaseFacts
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.folders import evaluate_folders
from s2mnet.evaluation.metrics import METRIC_NAMES
from s2mnet.evaluation.records import MEAN
from s2mnet.evaluation.results import Evaluation, evaluate, load, save, table
from s2mnet.report.content import Report
from s2mnet.report.page import render

SPACING = (8.0, 1.5, 1.25)
STRUCTURES = {"rim": [1], "all": [1, 2]}


def blob(seed: int, depth: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth (D, 20, 24): two balls of two classes, not in the same place."""
    z, y, x = np.mgrid[:depth, :20, :24]
    shift = np.random.default_rng(seed).integers(-2, 3, 3)

    def ball(at: np.ndarray) -> np.ndarray:
        far = np.hypot(np.hypot(2.5 * (z - depth / 2 - at[0] / 2), y - 9 - at[1]), x - 11 - at[2])
        return (far < 7).astype(np.uint8) + (far < 4)

    return ball(shift), ball(np.zeros(3))


def cut(
    volumes: dict[str, tuple[np.ndarray, np.ndarray]], spacing: tuple = SPACING, left_out: tuple[int, ...] = ()
) -> tuple[list, dict[str, CaseFacts]]:
    """Slices as `evaluate` takes them, numbered from 5; the patient of volume "p1-a" is "p1"."""
    pairs, facts = [], {}
    for volume, (prediction, truth) in volumes.items():
        for number, (predicted, true) in enumerate(zip(prediction, truth, strict=True)):
            if number not in left_out:
                name = f"{volume}_{number}"
                pairs.append((name, predicted, true))
                facts[name] = CaseFacts(volume[:2], volume, number + 5, *spacing[1:], spacing[0])
    return pairs, facts


def measured(made: tuple[list, dict[str, CaseFacts]]) -> Evaluation:
    pairs, facts = made
    return evaluate(pairs, STRUCTURES, facts=facts)


def monai(p: np.ndarray, t: np.ndarray, spacing: tuple[float, ...]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

        a, b = (torch.from_numpy(np.ascontiguousarray(m))[None, None] for m in (p, t))
        hd95 = compute_hausdorff_distance(a, b, include_background=True, percentile=95, spacing=spacing)
        surface = compute_surface_dice(a, b, [2.0], include_background=True, spacing=spacing)
        return {"dice": compute_dice(a, b).item(), "hd95": hd95.item(), "surface_dice": surface.item()}


@pytest.fixture(scope="module")
def volumes() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"p1-a": blob(1), "p1-b": blob(2, 7), "p2-a": blob(3)}


def test_volumes_equal_monai_in_three_dimensions(volumes: dict) -> None:
    got = measured(cut(volumes))
    assert got.volumes.unit == got.unit == "mm"
    assert [case.name for case in got.volumes.cases] == list(volumes)
    for case in got.volumes.cases:
        prediction, truth = volumes[case.name]
        assert (case.patient, case.slices) == (case.name[:2], len(truth))
        for name, members in STRUCTURES.items():
            expected = monai(np.isin(prediction, members), np.isin(truth, members), SPACING)
            assert {m: case.metrics[name][m] for m in expected} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("spacing", "units"),
    [
        (SPACING, ("mm", "mm")),
        ((None, 1.5, 1.25), ("mm", "voxels")),
        ((8.0, None, 1.25), ("px", "voxels")),
        ((None, None, None), ("px", "voxels")),
    ],
)
def test_units_are_millimetres_where_all_sizes_are_known(volumes: dict, spacing: tuple, units: tuple[str, str]) -> None:
    pairs, facts = cut(volumes, spacing=spacing)
    got = measured((pairs, facts))
    assert (got.unit, got.volumes.unit, got.patients.unit) == (*units, units[1])
    name, predicted, true = pairs[3]
    assert got.cases[3].metrics == image_metrics(
        predicted, true, STRUCTURES, spacing=SPACING[1:] if units[0] == "mm" else None
    )
    prediction, truth = volumes["p2-a"]
    whole = image_metrics(prediction, truth, STRUCTURES, spacing=SPACING if units[1] == "mm" else None)
    assert got.volumes.cases[2].metrics == whole
    # One image of unknown size, and all are in pixels: a mean of both units would be of neither.
    facts[name] = CaseFacts(facts[name].patient, facts[name].volume, facts[name].slice)
    assert measured((pairs, facts)).unit == "px"


def test_patients_are_means_of_their_volumes(volumes: dict) -> None:
    got = measured(cut(volumes))
    a, b, c = got.volumes.cases
    assert [(case.name, case.parts) for case in got.patients.cases] == [("p1", 2), ("p2", 1)]
    for name in STRUCTURES:
        for metric in METRIC_NAMES:
            first, second = (a.metrics[name][metric] + b.metrics[name][metric]) / 2, c.metrics[name][metric]
            assert got.patients.cases[0].metrics[name][metric] == pytest.approx(first)
            s = got.patients.summary[name][metric]
            assert s.mean == pytest.approx((first + second) / 2) and min(first, second) <= s.low <= s.high
    assert got.patients.mean_over == "volumes" and list(got.patients.summary) == [*STRUCTURES, MEAN]


def test_patients_of_images_without_volumes() -> None:
    square = np.zeros((12, 12), np.uint8)
    square[2:8, 3:9] = 1
    facts = {name: CaseFacts(patient=patient) for name, patient in (("a", "p"), ("b", "p"), ("c", "q"))}
    pairs = [("a", square, square), ("b", 0 * square, square), ("c", square, square)]
    got = evaluate(pairs, {"lesion": [1]}, facts=facts)
    assert got.volumes is None and got.patients.mean_over == "images" and got.patients.unit == "px"
    assert [case.metrics["lesion"]["dice"] for case in got.patients.cases] == [0.5, 1.0]
    assert got.summary["lesion"]["dice"].mean == pytest.approx(2 / 3)
    assert got.patients.summary["lesion"]["dice"].mean == pytest.approx(3 / 4)
    assert [case.patient for case in got.cases] == ["p", "p", "q"]
    facts["c"] = CaseFacts()
    assert evaluate(pairs, {"lesion": [1]}, facts=facts).patients is None


def test_a_slice_that_is_missing_is_a_gap_and_not_closed(volumes: dict) -> None:
    """Slices in any order, of several volumes at once; the third one is not there."""
    pairs, facts = cut(volumes, left_out=(2,))
    mixed = [pairs[place] for place in np.random.default_rng(0).permutation(len(pairs))]
    got = measured((mixed, facts))
    assert sorted(case.name for case in got.volumes.cases) == list(volumes)
    for case in got.volumes.cases:
        prediction, truth = (np.where(np.arange(len(v))[:, None, None] == 2, 0, v) for v in volumes[case.name])
        assert case.metrics == image_metrics(prediction, truth, STRUCTURES, spacing=SPACING)
        assert case.slices == len(truth) - 1


def test_ignored_voxels_and_a_miss() -> None:
    prediction, truth = blob(1)
    ignored = truth.copy()
    ignored[:, :8] = 255
    got = measured(cut({"p1": (prediction, ignored), "p2": (0 * prediction, truth)})).volumes
    assert got.cases[0].metrics == image_metrics(prediction, ignored, STRUCTURES, spacing=SPACING)
    diagonal = np.linalg.norm(np.multiply(truth.shape, SPACING))
    assert got.cases[1].metrics["all"]["hd95"] == pytest.approx(diagonal)
    assert (got.empty["all"].complete_misses, got.cases[1].empty["all"]) == (1, "prediction")


def test_slices_of_two_sizes_are_refused() -> None:
    pairs, facts = cut({"p1": blob(1)})
    pairs[3] = (pairs[3][0], pairs[3][1][:-1], pairs[3][2][:-1])
    with pytest.raises(S2MNetError, match=r"volume p1 has a slice of 19 × 24 px, but its first slice is 20 × 24 px"):
        measured((pairs, facts))


def test_files_and_tables(volumes: dict, tmp_path: Path) -> None:
    got = measured(cut(volumes))
    save(got, tmp_path)
    assert load(tmp_path) == got
    with (tmp_path / "volumes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2
    for row, (case, name) in zip(rows, ((c, n) for c in got.volumes.cases for n in STRUCTURES), strict=True):
        assert (row["volume"], row["patient"], row["slices"]) == (case.name, case.patient, str(case.slices))
        assert (row["class"], row["unit"]) == (name, "mm")
        assert {metric: float(row[metric]) for metric in METRIC_NAMES} == case.metrics[name]
    with (tmp_path / "metrics.csv").open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["image"], first["patient"], first["volume"], first["unit"]) == ("p1-a_0", "p1", "p1-a", "mm")
    assert json.loads((tmp_path / "metrics.json").read_text())["volumes"]["unit"] == "mm"

    text = rendered(got)
    for title, held in (("19 images", got), ("3 volumes in 3-D", got.volumes), ("2 patients", got.patients)):
        after = text[text.index(title) :]
        s = held.summary["rim"]["hd95"]
        assert f"{s.mean:.1f} [{s.low:.1f}, {s.high:.1f}] mm" in after
    assert "Surface Dice 2 mm" in text and "px" not in text

    page = results_on_the_page(got)
    assert page.count("<table") == 3 and "3 volumes, each measured as a whole" in page and "HD95, mm" in page
    for held in (got, got.volumes, got.patients):
        assert f"{held.summary['rim']['dice'].mean:.3f}<small>{held.summary['rim']['dice'].low:.3f}" in page
    assert "millimetres" in page and "pixels" not in page

    flat = evaluate(cut(volumes)[0], STRUCTURES)
    save(flat, tmp_path)  # in the same place: the volumes of before are gone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "metrics.json"]
    assert results_on_the_page(flat).count("<table") == 1


def results_on_the_page(evaluation: Evaluation) -> str:
    """The section of the report that holds the tables of metrics."""
    page = render(Report("volumes", evaluation.class_names, evaluation=evaluation))
    return page[page.index('<section id="results">') : page.index('<section id="training">')]


def rendered(evaluation: Evaluation) -> str:
    console = Console(width=100, record=True, file=open(os.devnull, "w"), color_system=None)  # noqa: SIM115
    console.print(table(evaluation))
    return console.export_text()


# Two folders of NIfTI masks


def nifti(file: Path, mask: np.ndarray, spacing: tuple[float, float, float] = SPACING, units: str = "mm") -> Path:
    """Write (D, H, W) with slices along the third axis."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(mask.transpose(2, 1, 0), np.diag([*spacing[::-1], 1.0]))
    image.header.set_xyzt_units(units)
    nibabel.save(image, file)
    return file


def test_folders_of_volumes(volumes: dict, tmp_path: Path) -> None:
    for name, (prediction, truth) in volumes.items():
        nifti(tmp_path / f"p/{name}.nii.gz", prediction.astype(np.int16))
        nifti(tmp_path / f"t/{name}.nii" if name == "p2-a" else tmp_path / f"t/{name}.nii.gz", truth.astype(np.float32))
    (tmp_path / "t/notes.txt").touch()
    nifti(tmp_path / "p/more.nii.gz", blob(0)[0])
    got = evaluate_folders(tmp_path / "p", tmp_path / "t")
    assert got.volumes.unit == "mm" and got.cases == [] and got.patients is None
    assert [case.name for case in got.volumes.cases] == list(volumes)
    for case in got.volumes.cases:
        prediction, truth = volumes[case.name]
        expected = image_metrics(prediction, truth, {"class 1": [1], "class 2": [2]}, spacing=SPACING)
        assert list(case.metrics) == list(expected)
        for name, values in expected.items():
            assert case.metrics[name] == pytest.approx(values)
    assert got.context["predictions_without_truth"] == ["more.nii.gz"]
    save(got, tmp_path / "out")
    assert load(tmp_path / "out") == got
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.json", "volumes.csv"]
    assert "3 volumes in 3-D" in rendered(got) and "image" not in rendered(got)


def test_folders_of_volumes_through_the_command_line(s2mnet, tmp_path: Path) -> None:
    prediction, truth = (mask > 0 for mask in blob(4))
    nifti(tmp_path / "p/a.nii.gz", prediction.astype(np.uint8) * 255, (0.008, 0.0015, 0.00125), "meter")
    nifti(tmp_path / "t/a.nii.gz", truth.astype(np.uint8), (0.008, 0.0015, 0.00125), "meter")
    status, out, err = s2mnet("evaluate", tmp_path / "p", tmp_path / "t", "-o", tmp_path / "out")
    assert status == 0, err
    assert "1 volume in 3-D" in out
    values = load(tmp_path / "out").volumes.cases[0].metrics["foreground"]
    expected = monai(prediction, truth, SPACING)
    assert {m: values[m] for m in expected} == pytest.approx(expected, rel=1e-5)


def test_volumes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    prediction, truth = blob(1)
    nifti(tmp_path / "t/a.nii.gz", truth)
    file = tmp_path / "p/a.nii.gz"
    for mask, spacing, message in (
        (prediction, (8.0, 1.5, 1.5), r"p/a\.nii\.gz .*an affine .* 5\.75 mm"),
        (prediction[1:], SPACING, r"p/a\.nii\.gz has 24 × 20 × 5 voxels; the grid of a\.nii\.gz has 24 × 20 × 6"),
        (prediction * 7, SPACING, r"p/a\.nii\.gz holds the values 7 and 14; the truth has "),
        (prediction / 3, SPACING, r"p/a\.nii\.gz .*fractional values"),
    ):
        nifti(file, mask, spacing)
        with pytest.raises(S2MNetError, match=message):
            evaluate_folders(tmp_path / "p", tmp_path / "t")
    file.rename(tmp_path / "p/b.nii.gz")
    with pytest.raises(S2MNetError, match=r"no prediction for 1 of 1 masks .*a\.nii\.gz"):
        evaluate_folders(tmp_path / "p", tmp_path / "t")
    nifti(tmp_path / "t/a.nii", truth)
    with pytest.raises(S2MNetError, match=r"two volumes with one name: a\.nii and a\.nii\.gz"):
        evaluate_folders(tmp_path / "p", tmp_path / "t")
