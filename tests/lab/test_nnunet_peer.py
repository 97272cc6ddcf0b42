"""nnU-Net as a peer: it gets the images, masks and split of our own cells, and its result is like any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import io
from tiny import Cli, discs, quiet, refused, write_data

from s2mnet.data import ImageFolder, LabelMap, find_cases
from s2mnet_lab.nnunet.raw import identified, split_file, write_images, write_raw
from s2mnet_lab.nnunet.run import Work, record_of, run_nnunet
from s2mnet_lab.study.collected import collect
from s2mnet_lab.study.result import load_result, result_path, save_result
from s2mnet_lab.study.run import Places, run_study
from s2mnet_lab.study.study import Cell, Study

CELL = Cell("discs", "peer", 1)
LABELS = LabelMap(kind="classes", values=[0, 255])


def study(**changes: Any) -> Study:
    content: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny",
        "data": {"discs": {"folder": "discs"}},
        "plan": {"minutes": 0.05},
        "variants": {"peer": {"title": "nnU-Net", "architecture": "nnunetv2"}},
        "seeds": [1],
    }
    return Study.model_validate({**content, **changes})


def read(file: Path) -> np.ndarray:
    """As NaturalImage2DIO reads it."""
    return np.asarray(io.imread(file))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_data(tmp_path / "data" / "discs")
    return tmp_path / "data"


def test_the_raw_folder_holds_the_same_images_masks_and_splits(data: Path, tmp_path: Path) -> None:
    """Pixel for pixel, and without opening a test image."""
    for file in (data / "discs" / "test").rglob("*.png"):
        file.write_bytes(b"no image")
    folder, raw = find_cases(data / "discs"), tmp_path / "raw"
    write_raw(folder, LABELS, raw)
    (fold,) = json.loads(split_file(folder))
    for split, count in (("train", 8), ("val", 2)):
        assert len(fold[split]) == count
        for name, number in zip(fold[split], range(count), strict=True):
            ours = data / "discs" / split
            image, mask = (read(ours / kind / f"{split}_{number}.png") for kind in ("images", "masks"))
            np.testing.assert_array_equal(read(raw / "imagesTr" / f"{name}_0000.png"), image)
            np.testing.assert_array_equal(read(raw / "labelsTr" / f"{name}.png"), mask // 255)
    written = {file.name for file in raw.rglob("*.png")}
    assert written == {f"{name}{end}.png" for names in fold.values() for name in names for end in ("", "_0000")}
    content = json.loads((raw / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "foreground": 1} and content["numTraining"] == 10
    assert content["channel_names"] == {"0": "R", "1": "G", "2": "B"} and content["file_ending"] == ".png"


def test_classes_are_consecutive_and_pixels_without_truth_are_the_ignore_label(tmp_path: Path) -> None:
    root = write_data(tmp_path / "data", values=(0, 10, 200))
    file = root / "val" / "masks" / "val_1.png"
    mask = read(file).copy()
    mask[:5] = 255
    Image.fromarray(mask).save(file)
    labels = LabelMap(kind="classes", values=[0, 10, 200], ignore_value=255, names=["tissue", "gland", "vessel"])
    write_raw(find_cases(root), labels, tmp_path / "raw")
    written = read(tmp_path / "raw" / "labelsTr" / "val_00001.png")
    np.testing.assert_array_equal(written, np.select([mask == 255, mask == 200, mask == 10], [3, 2, 1]))
    labels_of = json.loads((tmp_path / "raw" / "dataset.json").read_text())["labels"]
    assert labels_of == {"background": 0, "gland": 1, "vessel": 2, "ignore": 3}


def test_each_channel_is_a_file_unless_they_are_colours(tmp_path: Path) -> None:
    """A channel of a stack, or a grey image, is written as it is."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(tmp_path / split / "images" / f"{split}.png")
        Image.fromarray(discs((0, 255), rng)[1][:40, :50]).save(tmp_path / split / "masks" / f"{split}.png")
    folder = find_cases(tmp_path)
    write_raw(folder, LABELS, tmp_path / "raw")
    write_images(identified(folder, "test"), LABELS, tmp_path / "predict")
    (test,) = (tmp_path / "predict").iterdir()
    assert test.name == "test_00000_0000.png"
    np.testing.assert_array_equal(read(test), read(tmp_path / "test" / "images" / "test.png"))
    names = json.loads((tmp_path / "raw" / "dataset.json").read_text())["channel_names"]
    assert names == {"0": "channel 0"}


def written_work(folder: ImageFolder, root: Path) -> tuple[Work, dict[str, float]]:
    """Files as nnU-Net leaves them, with masks that miss the truth by some pixels; and the Dice of the test masks."""
    work, dice, rng = Work(root / "data", root / "run", "Dataset001_discs"), {}, np.random.default_rng(0)
    for split, masks in (("val", work.trained / "validation"), ("test", work.masks)):
        masks.mkdir(parents=True)
        for name, case in identified(folder, split).items():  # type: ignore[arg-type]
            assert case.mask is not None
            truth = read(case.mask) == 255
            predicted = truth ^ (rng.random(truth.shape) < 0.1)
            Image.fromarray(predicted.astype(np.uint8)).save(masks / f"{name}.png")
            dice[case.name] = 2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
    done = {"epoch": 1, "steps": 9, "seconds": 3.5, "parameters": 7, "environment": {"nnunetv2": "2.8.1"}}
    (work.trained / "minutes.json").write_text(json.dumps(done))
    plans = {"plans_name": "nnUNetPlans", "configurations": {"2d": {"batch_size": 2}}}
    (work.trained.parent / "plans.json").write_text(json.dumps(plans))
    (work.trained / "checkpoint_final.pth").write_bytes(b"weights")
    return work, dice


def test_the_record_is_that_of_a_cell(data: Path, tmp_path: Path) -> None:
    """Dice by our own count, and the tables take it."""
    folder = find_cases(data / "discs")
    work, dice = written_work(folder, tmp_path)
    result = record_of(study(), CELL, work, folder, LABELS, 5.0, "as tested")
    save_result(result, result_path(tmp_path / "results", study(), CELL))
    loaded = load_result(tmp_path / "results", study(), CELL)
    assert loaded is not None
    assert loaded.dice() == pytest.approx({name: dice[name] for name in ("test_0", "test_1")}, abs=1e-6)
    assert loaded.best_dice == pytest.approx((dice["val_0"] + dice["val_1"]) / 2, abs=1e-6)
    assert loaded.seconds == {"training": 3.5, "testing": 1.5} and loaded.history[-1]["steps"] == 9
    assert loaded.plan["batch_size"] == 2 and loaded.environment["nnunetv2"] == "2.8.1" and loaded.parameters == 7
    assert loaded.split.counts == {"train": 8, "val": 2, "test": 2}
    score = collect(study(), tmp_path / "results").score("discs", "peer")
    assert score is not None and score.mean == pytest.approx(50 * (dice["test_0"] + dice["test_1"]), abs=1e-4)
    assert run_nnunet(study(), "discs", 1, Places(data, tmp_path / "results", tmp_path), Path("none"), console=quiet())


def test_a_result_of_other_minutes_is_none_of_the_study(data: Path, tmp_path: Path) -> None:
    folder = find_cases(data / "discs")
    result = record_of(study(plan={"minutes": 1}), CELL, *(written_work(folder, tmp_path)[0], folder, LABELS, 5.0, ""))
    save_result(result, result_path(tmp_path / "results", study(), CELL))
    assert collect(study(), tmp_path / "results").faults


def test_a_study_leaves_its_cells_to_the_command(data: Path, tmp_path: Path) -> None:
    places = Places(data, tmp_path / "results", tmp_path / "work")
    assert run_study(study(), places, console=quiet()) == []
    assert not places.results.exists()


def test_what_cannot_be_run_is_refused(data: Path, tmp_path: Path, s2mnet_lab: Cli) -> None:
    def call(set_name: str = "discs", python: object = sys.executable, **changes: Any) -> tuple[int, str, str]:
        file = tmp_path / "tiny.yaml"
        file.write_text(json.dumps(study(**changes).model_dump(mode="json", exclude={"name"})))
        places = ("--data", data, "--results", tmp_path / "results", "--work", tmp_path / "work")
        return s2mnet_lab("nnunet", set_name, "--study", file, "--seed", 1, "--python", python, *places)

    refused(call("rings"), "tiny.yaml", "no cell of rings with seed 1", "data sets discs")
    refused(call(seeds=[2]), "no cell of discs with seed 1", "seeds 2")
    refused(call(plan={}), "declares no minutes", "--minutes")
    refused(call(variants={"ours": {"title": "ours"}}), "no variant of the architecture nnunetv2", "--study")
    refused(call(python=tmp_path / "python"), "no Python interpreter that can import nnunetv2", "pip install nnunetv2")


def python_with_nnunet() -> str:
    """The interpreter that ``NNUNET_PYTHON`` names, or this one; the test skips if nnunetv2 is not there."""
    python = os.environ.get("NNUNET_PYTHON", sys.executable)
    if subprocess.run([python, "-c", "import nnunetv2"], capture_output=True).returncode:
        pytest.skip(f"needs nnunetv2, which {python} cannot import; NNUNET_PYTHON may name another interpreter")
    return python


def test_nnunet_trains_and_predicts(data: Path, tmp_path: Path) -> None:
    python = python_with_nnunet()
    places = Places(data, tmp_path / "results", tmp_path / "work")
    run_nnunet(study(), "discs", 1, places, Path(python), console=quiet(), command="as tested")
    result = load_result(places.results, study(), CELL)
    assert result is not None and result.command == "as tested"
    assert 3 <= result.seconds["training"] < 30 and result.history[-1]["steps"] > 0 and result.parameters > 1e5
    work = Work(tmp_path, places.work / "tiny" / "discs" / "peer-1", "Dataset001_discs")
    for number in range(2):
        truth = read(data / "discs" / "test" / "masks" / f"test_{number}.png") == 255
        predicted = read(work.masks / f"test_{number:05d}.png") == 1
        dice = 2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
        assert result.dice()[f"test_{number}"] == pytest.approx(dice, abs=1e-6)
    (log,) = work.trained.glob("training_log*.txt")
    assert "8 training and 2 validation cases" in log.read_text()
    # Stopped in the prediction, it goes on there.
    result_path(places.results, study(), CELL).unlink()
    (work.masks / "test_00001.png").unlink()
    run_nnunet(study(), "discs", 1, places, Path(python), console=quiet())
    again = load_result(places.results, study(), CELL)
    assert again is not None and (again.model_sha256, again.test) == (result.model_sha256, result.test)
    assert list(work.trained.glob("training_log*.txt")) == [log]
