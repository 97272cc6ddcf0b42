"""Two folders of masks: pairs by stem, one meaning of the values, nothing skipped and nothing silently wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from direct import image_metrics
from PIL import Image

from s2mnet.errors import S2MNetError
from s2mnet.evaluation.folders import evaluate_folders

RNG = np.random.default_rng(0)
TRUE = {name: RNG.integers(0, 2, (16, 24)).astype(np.uint8) for name in ("a", "b")}
PREDICTED = {name: RNG.integers(0, 2, (16, 24)).astype(np.uint8) for name in ("a", "b")}
FOREGROUND = {"foreground": [1]}
CLASSES = RNG.integers(0, 3, (16, 24)).astype(np.uint8)


def folder(path: Path, masks: dict[str, np.ndarray], suffix: str = ".png", **options: int) -> Path:
    path.mkdir()
    for name, mask in masks.items():
        Image.fromarray(mask).save(path / f"{name}{suffix}", **options)
    return path


def times(factor: int, masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: mask * np.uint8(factor) for name, mask in masks.items()}


def noisy(masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """0/255 with the grey noise of a JPEG: every value within 12 of 0 or 255."""
    noise = np.random.default_rng(1).integers(0, 13, (16, 24)).astype(np.uint8)
    return {name: np.where(mask == 1, 255 - noise, noise) for name, mask in masks.items()}


@pytest.mark.parametrize("true", [lambda m: m, lambda m: times(255, m), noisy], ids=["0/1", "0/255", "noisy"])
@pytest.mark.parametrize("predicted", [lambda m: m, lambda m: times(255, m), noisy], ids=["0/1", "0/255", "noisy"])
def test_two_classes_in_any_encoding(tmp_path: Path, predicted, true) -> None:
    got = evaluate_folders(folder(tmp_path / "p", predicted(PREDICTED)), folder(tmp_path / "t", true(TRUE)))
    assert [case.name for case in got.cases] == ["a", "b"]
    for case in got.cases:
        assert case.metrics == image_metrics(PREDICTED[case.name], TRUE[case.name], FOREGROUND)


def test_classes_with_ignored_pixels_and_other_formats(tmp_path: Path) -> None:
    truth = CLASSES * 1
    truth[:4] = 255
    predicted = np.roll(CLASSES, 1, axis=1)
    got = evaluate_folders(folder(tmp_path / "p", {"a": predicted}, ".tif"), folder(tmp_path / "t", {"a": truth}))
    assert list(got.cases[0].metrics.values()) == list(image_metrics(predicted, truth, {"a": [1], "b": [2]}).values())


@pytest.mark.parametrize("factor", [1, 255])
def test_all_empty_predictions_are_misses(tmp_path: Path, factor: int) -> None:
    got = evaluate_folders(folder(tmp_path / "p", times(0, TRUE)), folder(tmp_path / "t", times(factor, TRUE)))
    assert got.empty["foreground"].complete_misses == 2


def test_ignored_pixels_of_a_prediction_where_the_truth_is_ignored(tmp_path: Path) -> None:
    truth = TRUE["a"] * 1
    truth[:4] = 255
    truths = folder(tmp_path / "t", {"a": truth})
    assert evaluate_folders(folder(tmp_path / "p", {"a": truth}), truths).summary["foreground"]["dice"].mean == 1
    with pytest.raises(S2MNetError, match=r"q/a\.png.* 255 .* px that have a truth"):
        evaluate_folders(folder(tmp_path / "q", {"a": TRUE["a"] * np.uint8(255)}), truths)


@pytest.mark.parametrize(
    ("predicted", "true"),
    [
        (CLASSES, TRUE["a"]),
        (CLASSES, TRUE["a"] * np.uint8(255)),
        (CLASSES, noisy(TRUE)["a"]),
        (CLASSES * np.uint8(127), TRUE["a"] * np.uint8(255)),
        (TRUE["a"] * np.uint8(10), TRUE["a"] * np.uint8(255)),
        (TRUE["a"] * np.uint8(255), CLASSES),
        (noisy(PREDICTED)["a"], np.where(np.arange(24) < 4, np.uint8(255), TRUE["a"])),
        (CLASSES, CLASSES * np.uint8(10)),
        (np.arange(384, dtype=np.uint16).astype(np.uint8).reshape(16, 24), noisy(TRUE)["a"]),
    ],
)
def test_refuses_values_that_the_truth_does_not_explain(tmp_path: Path, predicted, true) -> None:
    with pytest.raises(S2MNetError, match=r"p/a\.png holds the values? \d.*; the truth has "):
        evaluate_folders(folder(tmp_path / "p", {"a": predicted}), folder(tmp_path / "t", {"a": true}))


def test_an_explicit_threshold_holds_for_grey_predictions_but_not_for_indices(tmp_path: Path) -> None:
    grey = np.linspace(0, 255, 384).astype(np.uint8).reshape(16, 24)
    truths = folder(tmp_path / "t", {"a": TRUE["a"] * np.uint8(255)})
    got = evaluate_folders(folder(tmp_path / "p", {"a": grey}), truths, labels="threshold")
    assert got.cases[0].metrics == image_metrics((grey > 127).astype(int), TRUE["a"], FOREGROUND)
    with pytest.raises(S2MNetError, match=r"q/a\.png"):
        evaluate_folders(folder(tmp_path / "q", {"a": CLASSES}), truths, labels="threshold")


def test_instances_read_as_one_foreground(tmp_path: Path) -> None:
    instances = np.arange(384).reshape(16, 24).astype(np.uint8) // 5 * TRUE["a"]
    got = evaluate_folders(
        folder(tmp_path / "p", {"a": PREDICTED["a"] * np.uint8(7)}), folder(tmp_path / "t", {"a": instances}), "binary"
    )
    assert got.cases[0].metrics == image_metrics(PREDICTED["a"], (instances > 0).astype(int), FOREGROUND)


def test_refuses_a_truth_without_prediction(tmp_path: Path) -> None:
    many = {f"case{i}": TRUE["a"] for i in range(8)}
    predictions = folder(tmp_path / "p", {"case3": TRUE["a"]})
    with pytest.raises(S2MNetError, match=r"7 of 8 .*case0\.png, .*case5\.png and 2 more"):
        evaluate_folders(predictions, folder(tmp_path / "t", many))


def test_names_predictions_without_truth(tmp_path: Path) -> None:
    truths = folder(tmp_path / "t", {"a": TRUE["a"]})
    got = evaluate_folders(folder(tmp_path / "p", PREDICTED), truths)
    assert got.context["predictions_without_truth"] == ["b.png"]
    assert len(got.cases) == 1


def test_refuses_different_sizes(tmp_path: Path) -> None:
    predictions = folder(tmp_path / "p", {"a": TRUE["a"], "b": TRUE["b"].T})
    with pytest.raises(S2MNetError, match=r"p/b\.png is 16 × 24 px, but its truth .*t/b\.png is 24 × 16 px"):
        evaluate_folders(predictions, folder(tmp_path / "t", TRUE))


def test_two_single_files_need_no_common_name(tmp_path: Path) -> None:
    predicted = folder(tmp_path / "p", {"21_result": PREDICTED["a"]}) / "21_result.png"
    got = evaluate_folders(predicted, folder(tmp_path / "t", {"21_manual": TRUE["a"]}) / "21_manual.png")
    assert got.cases[0].metrics == image_metrics(PREDICTED["a"], TRUE["a"], FOREGROUND)


def test_jpeg_masks_of_kvasir(tmp_path: Path, shared_data: Path) -> None:
    """Noisy JPEG masks as truth, their thresholded selves as predictions in 0/1: agreement, exactly."""
    files = sorted((shared_data / "Kvasir-SEG" / "masks").iterdir())[:4]
    (tmp_path / "t").mkdir()
    for file in files:
        (tmp_path / "t" / file.name).symlink_to(file)
    masks = {file.stem: (np.asarray(Image.open(file).convert("L")) > 127).astype(np.uint8) for file in files}
    got = evaluate_folders(folder(tmp_path / "p", masks), tmp_path / "t")
    assert len(got.cases) == 4
    for case in got.cases:
        assert case.metrics["foreground"]["dice"] == 1
        assert case.empty["foreground"] == "neither"
