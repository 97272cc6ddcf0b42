"""The command line: the main job from a folder to masks, numbers and a report; and every refusal of bad input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import COUNTS, Cli, refused, tiny_plan, write_data

from s2mnet.plan import Plan


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("training was started")

    monkeypatch.setattr("s2mnet.workflow.train", fail)


# The main job ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | str]:
    """``s2mnet train`` as a user calls it, in a process of its own, on three classes 0, 100 and 200."""
    folder = tmp_path_factory.mktemp("main job")
    data = write_data(folder / "data [ct]", (0, 100, 200))
    plan = tiny_plan(data, epochs=3, repeats=6, tta=4)
    plan.save(folder / "plan.yaml")
    script = Path(sys.executable).with_name("s2mnet")
    command = [script, "train", data, "-o", folder / "run", "--plan", folder / "plan.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {"data": data, "run": folder / "run", "output": done.stdout, "errors": done.stderr}


def test_training_says_what_it_found_and_leaves_a_run(main_job: dict) -> None:
    printed = " ".join(main_job["output"].split())
    assert "data [ct]: 8 train, 2 val, 2 test" in printed
    assert "3 labels: 0 background, 100 class 1, 200 class 2" in printed
    assert printed.endswith(f"report: {main_job['run'] / 'report.html'}")
    assert [f"epoch {number}" in re.sub(" +", " ", printed) for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert "Traceback" not in main_job["errors"]
    files = {str(path.relative_to(main_job["run"])) for path in main_job["run"].rglob("*") if path.is_file()}
    assert files == {
        "config.json", "model.safetensors", "plan.yaml", "history.json", "report.html",
        "training/last.ckpt", "evaluation/test/metrics.json", "evaluation/test/metrics.csv",
    }  # fmt: skip


def test_the_report_is_one_file_for_a_reader(main_job: dict) -> None:
    page = (main_job["run"] / "report.html").read_text()
    words = re.sub(r"<[^>]*>", " ", page)
    assert "test" in words and "data [ct]" in words and "class 2" in words
    assert "0 background, 100 class 1, 200 class 2" in words
    assert page.count("data:image/") >= COUNTS["test"]  # overlays of the two test images at least
    assert not re.search(r"<(link|script|iframe)|src=\"(?!data:)", page)
    for name in ("test_0", "test_1"):
        assert name in words


def test_prediction_and_both_evaluations_agree(main_job: dict, tmp_path: Path, s2mnet: Cli) -> None:
    data, run = main_job["data"], main_job["run"]
    test = data / "test"
    status, out, err = s2mnet("predict", run, test / "images", "-o", tmp_path / "out", "--probabilities")
    assert status == 0 and "2 masks" in out, err
    for name in ("test_0", "test_1"):
        truth = np.asarray(Image.open(test / "masks" / f"{name}.png"))
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{name}.png"))
        assert mask.shape == truth.shape and mask.dtype == truth.dtype
        assert set(np.unique(mask)) <= {0, 100, 200} and (mask == truth).mean() > 0.6
        assert Image.open(tmp_path / "out" / "overlays" / f"{name}.jpg").size == (64, 48)
        planes = [Image.open(tmp_path / "out" / "probabilities" / f"{name}_class {index}.png") for index in (1, 2)]
        assert all(plane.mode == "I;16" for plane in planes)
        most = np.argmax([1 - sum(np.asarray(p) / 65535 for p in planes), *(np.asarray(p) for p in planes)], axis=0)
        assert most.shape == truth.shape

    assert s2mnet("evaluate", run, data, "-o", tmp_path / "of run")[0] == 0
    status, out, err = s2mnet("evaluate", tmp_path / "out" / "masks", test / "masks", "-o", tmp_path / "of masks")
    assert status == 0 and "Dice" in out, err
    of_run, of_masks, of_training = (
        json.loads((folder / "metrics.json").read_text())
        for folder in (tmp_path / "of run", tmp_path / "of masks", run / "evaluation" / "test")
    )
    metrics = [
        {case["name"]: case["metrics"] for case in result["cases"]} for result in (of_run, of_masks, of_training)
    ]
    assert set(metrics[0]) == {"test_0", "test_1"}
    assert metrics[0] == metrics[1] == metrics[2]
    assert of_run["summary"] == of_masks["summary"] == of_training["summary"]
    assert of_training["context"]["split"] == "test" and of_training["context"]["tta"] == 4


def test_other_splits_can_be_evaluated(main_job: dict, tmp_path: Path, s2mnet: Cli) -> None:
    counts = {**COUNTS, "all": sum(COUNTS.values())}
    for split in ("val", "all"):
        assert s2mnet("evaluate", main_job["run"], main_job["data"], "--split", split, "-o", tmp_path / split)[0] == 0
        assert len(json.loads((tmp_path / split / "metrics.json").read_text())["cases"]) == counts[split]
    shutil.copytree(main_job["data"] / "train", tmp_path / "no test" / "train")
    refused(s2mnet("evaluate", main_job["run"], tmp_path / "no test"), "no test split", "--split")


def test_a_run_is_neither_trained_over_nor_lost(main_job: dict, s2mnet: Cli, no_training: None) -> None:
    before = {path: path.stat().st_mtime_ns for path in main_job["run"].rglob("*")}
    refused(s2mnet("train", main_job["data"], "-o", main_job["run"], "--epochs", 1), "--resume", str(main_job["run"]))
    assert {path: path.stat().st_mtime_ns for path in main_job["run"].rglob("*")} == before


def test_resuming_needs_a_run_and_its_own_data(
    main_job: dict, tiny_data: Path, tmp_path: Path, s2mnet: Cli, no_training: None
) -> None:
    refused(s2mnet("train", tiny_data, "-o", tmp_path / "run", "--resume"), "no finished epoch")
    assert not (tmp_path / "run").exists()
    refused(s2mnet("train", tiny_data, "-o", main_job["run"], "--resume"), ".png", "the value 255", "only 0, 100, 200")


def test_an_interrupt_says_how_to_go_on(
    tiny_data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("s2mnet.workflow.train", interrupt)
    status, _, err = s2mnet("train", tiny_data, "-o", tmp_path / "run", "--epochs", 1)
    assert status == 130 and "--resume" in err and "Traceback" not in err


# Refusals -------------------------------------------------------------------------------------------------------------


def overwrite(path: Path, array: np.ndarray) -> None:
    Image.fromarray(array.astype(np.uint8)).save(path)


def no_pair(data: Path) -> str:
    for file in (data / "train" / "masks").iterdir():
        file.rename(file.with_name(f"label_{file.name}"))
    return "no image and mask with the same name"


def a_mask_missing(data: Path) -> str:
    (data / "train" / "masks" / "train_3.png").unlink()
    return "train_3.png"


def different_sizes(data: Path) -> str:
    overwrite(data / "val" / "masks" / "val_1.png", np.zeros((64, 48)))
    return "val_1.png"


def unreadable_image(data: Path) -> str:
    (data / "train" / "images" / "train_2.png").write_bytes(b"not an image")
    return "train_2.png"


def truncated_mask(data: Path) -> str:
    file = data / "test" / "masks" / "test_0.png"
    file.write_bytes(file.read_bytes()[:60])
    return "test_0.png"


def unexpected_label(data: Path) -> str:
    file = data / "train" / "masks" / "train_5.png"
    mask = np.asarray(Image.open(file)).copy()
    mask[:2, :3] = 77
    overwrite(file, mask)
    return "train_5.png"


def empty_folder(data: Path) -> str:
    shutil.rmtree(data)
    data.mkdir()
    return data.name


def no_images(data: Path) -> str:
    for kind in ("images", "masks"):
        shutil.rmtree(data / "train" / kind)
        (data / "train" / kind).mkdir()
    return "train"


def all_masks_empty(data: Path) -> str:
    for file in data.glob("*/masks/*"):
        overwrite(file, np.zeros((48, 64)))
    return "only empty masks"


def no_such_folder(data: Path) -> str:
    shutil.rmtree(data)
    return str(data)


@pytest.mark.parametrize(
    "spoil",
    [
        no_pair, a_mask_missing, different_sizes, unreadable_image, truncated_mask, unexpected_label, empty_folder,
        no_images, all_masks_empty, no_such_folder,
    ],
    ids=lambda spoil: spoil.__name__,
)  # fmt: skip
def test_bad_data_stops_before_training(
    tmp_path: Path, s2mnet: Cli, no_training: None, spoil: Callable[[Path], str]
) -> None:
    data = write_data(tmp_path / "data")
    named = spoil(data)
    refused(s2mnet("train", data, "-o", tmp_path / "run", "--epochs", 1), named)
    assert not (tmp_path / "run").exists()


def test_the_second_try_is_not_blocked(tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_data(tmp_path / "data")
    unexpected_label(data)
    refused(s2mnet("train", data, "-o", tmp_path / "run", "--epochs", 1), "train_5.png")
    started = []

    def start(*arguments: object, **_: object) -> None:
        started.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("s2mnet.workflow.train", start)
    (data / "train" / "images" / "train_5.png").unlink()
    (data / "train" / "masks" / "train_5.png").unlink()
    s2mnet("train", data, "-o", tmp_path / "run", "--epochs", 1)
    assert len(started) == 1


def test_several_bad_files_are_one_message(tmp_path: Path, s2mnet: Cli, no_training: None) -> None:
    data = write_data(tmp_path / "data")
    names = [different_sizes(data), unreadable_image(data), truncated_mask(data)]
    refused(s2mnet("train", data, "-o", tmp_path / "run", "--epochs", 1), "has 3 files with errors", *names)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--size", 16), "--size"), (("--epochs", 0), "--epochs"), (("--minutes", 0), "--minutes"),
        (("--batch-size", 0), "--batch-size"), (("--lr", -1), "--lr"), (("--plan", "nowhere.yaml"), "nowhere.yaml"),
        (("--labels", "classes"), "masks"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_options_stop_before_training(
    tiny_data: Path, tmp_path: Path, s2mnet: Cli, no_training: None, options: tuple[object, ...], named: str
) -> None:
    refused(s2mnet("train", tiny_data, "-o", tmp_path / "run", *options), named)
    assert not (tmp_path / "run").exists()


def test_a_plan_for_other_labels_is_refused(tiny_data: Path, tmp_path: Path, s2mnet: Cli, no_training: None) -> None:
    other = write_data(tmp_path / "other", (0, 10, 20))
    tiny_plan(other, epochs=1).save(tmp_path / "plan.yaml")
    command = ("train", tiny_data, "-o", tmp_path / "run", "--plan", tmp_path / "plan.yaml")
    refused(s2mnet(*command), ".png", "the value 255", "only 0, 10, 20")
    refused(s2mnet(*command, "--labels", "binary"), "[0, 255]", "[0, 10, 20]")


def test_a_plan_is_written_to_be_edited_and_followed(
    tiny_data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, used = tmp_path / "plan.yaml", []
    status, out, err = s2mnet("plan", tiny_data, "-o", file, "--epochs", 3)
    assert status == 0 and "which is enough" in re.sub(r"\s+", " ", out), err
    refused(s2mnet("plan", tiny_data, "-o", file), str(file))

    def start(folder: object, plan: Plan, *_: object, **__: object) -> None:
        used.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr("s2mnet.workflow.train", start)
    edited = re.sub(r"rotate_p: [0-9.]+", "rotate_p: 0.9", file.read_text())
    file.write_text(edited)
    s2mnet("train", tiny_data, "-o", tmp_path / "run", "--plan", file)
    assert used == [Plan.load(file)] and used[0].augmentation.rotate_p == 0.9 and used[0].training.epochs == 3


def test_options_override_a_given_plan_and_only_where_given(
    tiny_data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tiny_plan(tiny_data, epochs=7)
    plan.save(tmp_path / "plan.yaml")
    used = []

    def start(folder: object, plan: object, *_: object, **__: object) -> None:
        used.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr("s2mnet.workflow.train", start)
    for options in ((), ("--epochs", 2, "--lr", 0.5, "--batch-size", 3, "--seed", 5, "--workers", 1)):
        s2mnet("train", tiny_data, "-o", tmp_path / "run", "--plan", tmp_path / "plan.yaml", *options)
    assert used == [plan, plan.with_training(epochs=2, lr=0.5, batch_size=3, seed=5, workers=1)]


@pytest.mark.parametrize("option", [("--size", 64), ("--extent", "whole"), ("--preset", "paper")])
def test_an_option_that_a_plan_decides_is_refused_rather_than_ignored(
    tiny_data: Path, tmp_path: Path, s2mnet: Cli, no_training: None, option: tuple[str, object]
) -> None:
    plan = tmp_path / "plan.yaml"
    tiny_plan(tiny_data, epochs=7).save(plan)
    refused(s2mnet("train", tiny_data, "-o", tmp_path / "run", "--plan", plan, *option), option[0], str(plan))


def test_resuming_with_another_seed_is_refused(main_job: dict, s2mnet: Cli, no_training: None) -> None:
    result = s2mnet("train", main_job["data"], "-o", main_job["run"], "--resume", "--seed", 1)
    refused(result, "--seed", "Start a new run")


def test_a_damaged_image_does_not_stop_the_others(tiny_run: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    shutil.copytree(tiny_data / "test" / "images", tmp_path / "in")
    (tmp_path / "in" / "broken.png").write_bytes((tmp_path / "in" / "test_0.png").read_bytes()[:500])
    refused(s2mnet("predict", tiny_run, tmp_path / "in", "-o", tmp_path / "out"), "broken.png")
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["test_0.png", "test_1.png"]


def test_prediction_refuses_what_it_cannot_do(tiny_run: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    images, out = tiny_data / "test" / "images", tmp_path / "out"
    refused(s2mnet("predict", tmp_path / "nowhere", images, "-o", out), "nowhere")
    refused(s2mnet("predict", tiny_data, images, "-o", out), "config.json")
    (tmp_path / "empty").mkdir()
    refused(s2mnet("predict", tiny_run, tmp_path / "empty", "-o", out), "empty")
    refused(s2mnet("predict", tiny_run, images, "-o", out, "--tta", 3), "--tta")
    assert not out.exists()


def test_evaluation_refuses_what_it_cannot_compare(tiny_run: Path, tmp_path: Path, s2mnet: Cli) -> None:
    data = write_data(tmp_path / "data")
    masks = data / "test" / "masks"
    shutil.copytree(masks, tmp_path / "predicted")
    (tmp_path / "predicted" / "test_1.png").unlink()
    refused(s2mnet("evaluate", tmp_path / "predicted", masks), "test_1.png")
    overwrite(tmp_path / "predicted" / "test_1.png", np.zeros((64, 48)))
    refused(s2mnet("evaluate", tmp_path / "predicted", masks), "test_1.png")
    mask = np.asarray(Image.open(masks / "test_0.png")).copy()
    mask[0, 0] = 9
    overwrite(masks / "test_0.png", mask)
    refused(s2mnet("evaluate", tiny_run, data), "test_0.png", "9")


def test_evaluation_of_a_run_refuses_masks_of_another_size(tiny_run: Path, tmp_path: Path, s2mnet: Cli) -> None:
    data = write_data(tmp_path / "data")
    overwrite(data / "test" / "masks" / "test_0.png", np.zeros((64, 48)))
    refused(s2mnet("evaluate", tiny_run, data), "test_0.png")


# The command itself ---------------------------------------------------------------------------------------------------


def test_help_is_there(s2mnet: Cli) -> None:
    status, out, _ = s2mnet("--help")
    assert status == 0 and all(command in out for command in ("train", "predict", "evaluate", "demo"))
    for command in ("train", "predict", "evaluate", "demo"):
        status, out, _ = s2mnet(command, "--help")
        assert status == 0 and "--output" in out
    assert s2mnet("segment")[0] == 2
    assert s2mnet("train")[0] == 2


def test_importing_and_help_load_nothing_heavy() -> None:
    code = (
        "import sys, s2mnet, s2mnet.cli; heavy = {'torch', 'monai', 'lightning', 'matplotlib', 'skimage', 'scipy'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "from s2mnet import Predictor; assert 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
