"""Predicted masks against a data folder: its split, class names, field of view and patients, as for a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from direct import image_metrics
from PIL import Image

from s2mnet.data import find_cases
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.folders import evaluate_masks, is_data_folder

RNG = np.random.default_rng(3)
NAMES = {"train": ("a", "b"), "val": ("c",), "test": ("d", "e")}
TRUE = {name: RNG.integers(0, 3, (16, 24)).astype(np.uint8) for name in "abcde"}
PREDICTED = {name: RNG.integers(0, 3, (16, 24)).astype(np.uint8) for name in "abcde"}
STRUCTURES = {"disc": [1], "cup": [2]}
YAML = "name: ORIGA\nclasses: {0: background, 10: disc, 20: cup}\n"


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split, names in NAMES.items():
        for name in names:
            save(tmp_path / "data" / split / "images" / f"{name}.png", RNG.integers(0, 256, (16, 24)))
            save(tmp_path / "data" / split / "masks" / f"{name}.png", 10 * TRUE[name])
    return tmp_path / "data"


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    for name, mask in PREDICTED.items():
        save(tmp_path / "masks" / f"{name}.png", 10 * mask)
    return tmp_path / "masks"


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_a_split_with_its_class_names(data: Path, masks: Path, split: str) -> None:
    (data / "dataset.yaml").write_text(YAML)
    seen: list[tuple[int, int]] = []
    got = evaluate_masks(masks, find_cases(data), split, progress=lambda *done: seen.append(done))
    expected = [name for part, names in NAMES.items() if split in (part, "all") for name in names]
    assert [(case.name, case.split) for case in got.cases] == [(name, split) for name in expected]
    assert got.class_names == ["disc", "cup"] and got.context["split"] == split
    for case in got.cases:
        assert case.metrics == image_metrics(PREDICTED[case.name], TRUE[case.name], STRUCTURES)
    assert got.context["predictions_without_truth"] == []
    assert seen == [(number, len(expected)) for number in range(1, len(expected) + 1)]


def test_values_are_read_as_for_training_from_all_masks(data: Path, masks: Path) -> None:
    """The test masks alone hold 0 and 20: two values, which would be read as background and one foreground."""
    for name in NAMES["test"]:
        save(data / "test" / "masks" / f"{name}.png", 20 * (TRUE[name] == 2))
    got = evaluate_masks(masks, find_cases(data))
    assert got.class_names == ["class 1", "class 2"]
    for case in got.cases:
        truth = 2 * (TRUE[case.name] == 2)
        assert case.metrics == image_metrics(PREDICTED[case.name], truth, {"class 1": [1], "class 2": [2]})


def test_nothing_outside_the_field_of_view_counts(data: Path, masks: Path) -> None:
    (data / "dataset.yaml").write_text(YAML)
    for split, names in NAMES.items():
        for name in names:
            inside = np.zeros((16, 24))
            inside[:, :12] = 255
            save(data / split / "fields" / f"{name}.png", inside)
    got = evaluate_masks(masks, find_cases(data))
    for case in got.cases:
        truth = TRUE[case.name].astype(int)
        truth[:, 12:] = 255
        assert case.metrics == image_metrics(PREDICTED[case.name], truth, STRUCTURES)


def test_patients_and_millimetres_of_the_case_table(data: Path, masks: Path) -> None:
    (data / "dataset.yaml").write_text(YAML)
    rows = [f"{name},p{number},0.5,0.5" for number, name in enumerate("abcde")]
    (data / "cases.csv").write_text("\n".join(["name,patient,row_mm,column_mm", *rows]) + "\n")
    got = evaluate_masks(masks, find_cases(data))
    assert [case.patient for case in got.cases] == ["p3", "p4"] and got.unit == "mm" and got.patients is not None


def test_a_prediction_that_is_missing_or_of_no_image(data: Path, masks: Path) -> None:
    save(masks / "z.png", TRUE["a"])
    assert evaluate_masks(masks, find_cases(data)).context["predictions_without_truth"] == ["z.png"]
    (masks / "a.png").unlink()
    evaluate_masks(masks, find_cases(data), "test")
    with pytest.raises(S2MNetError, match=r"no prediction for 1 of 5 masks in .*data: a\.png"):
        evaluate_masks(masks, find_cases(data), "all")


def test_what_is_a_data_folder(data: Path, masks: Path) -> None:
    assert [is_data_folder(path) for path in (data, data / "test", data / "test" / "masks", masks, data / "no")] == [
        True, True, False, False, False,
    ]  # fmt: skip
