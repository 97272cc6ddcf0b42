"""Structures that overlap, in images of several channels: from the folder to the masks (SPEC 2.5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.special import expit
from tiny import NARROW, Cli, quiet

from s2mnet.data import Dataset, LabelMap, find_cases
from s2mnet.fingerprint import read_folder
from s2mnet.inference import to_labels
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet.plan import make_plan
from s2mnet.prediction import Predictor
from s2mnet.training.module import mean_dice, region_maps
from s2mnet.workflow import run_training

TUMOUR = LabelMap(
    kind="classes",
    values=[0, 1, 2, 4],
    names=["background", "core", "oedema", "enhancing"],
    regions={"whole": [1, 2, 4], "tumour core": [1, 4], "enhancing tumour": [4]},
)


@given(st.integers(0, 2**31))
def test_the_class_is_the_one_whose_regions_are_most_probable(seed: int) -> None:
    p = np.random.default_rng(seed).uniform(0.01, 0.99, (3, 5, 7)).astype(np.float32)
    inside = [set(), {0, 1}, {0}, {0, 1, 2}]  # the regions that each class lies in
    products = [
        np.prod([p[region] if region in own else 1 - p[region] for region in range(3)], axis=0) for own in inside
    ]
    found = to_labels(p, TUMOUR)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(
        np.take_along_axis(np.stack(products), found[None].astype(int), 0)[0], np.max(products, 0)
    )


def test_certain_regions_are_kept_as_they_are() -> None:
    for index, own in enumerate(([0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 1])):
        assert to_labels(np.array(own, np.float32).reshape(3, 1, 1), TUMOUR).item() == index


def test_targets_and_metrics_are_of_regions() -> None:
    mask = torch.tensor([[[0, 1, 2, 3, 255]]])
    maps = region_maps(mask, TUMOUR)
    assert maps[0, :, 0].tolist() == [[0, 1, 1, 1, 255], [0, 1, 0, 1, 255], [0, 0, 0, 1, 255]]
    truth, found = np.array([[0, 1, 2, 3, 255]]), np.array([[0, 3, 2, 2, 1]])
    # whole: {1, 2, 3} both; tumour core: {1, 3} and {1}; enhancing: {3} and {1}
    expected = np.mean([1.0, 2 / 3, 0.0])
    assert mean_dice(found, truth, TUMOUR.structures.values()) == pytest.approx(expected)


@given(st.integers(0, 2**31))
def test_dice_and_cross_entropy_of_regions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 2, (2, 3, 4, 5))
    p = expit(z)
    dice = (2 * (p * y).sum((2, 3)) + 1e-5) / (p.sum((2, 3)) + y.sum((2, 3)) + 1e-5)
    entropy = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    found = DiceCrossEntropy(3, multilabel=True)(torch.from_numpy(z), torch.from_numpy(y))
    assert float(found) == pytest.approx(float((1 - dice).mean() + entropy), abs=1e-6)


def write_tumours(root: Path) -> Path:
    """Four channels; nested squares, each structure bright in one of them."""
    rng = np.random.default_rng(3)
    for split, count in {"train": 8, "val": 2, "test": 2}.items():
        for number in range(count):
            mask, top, left = np.zeros((48, 64), np.uint8), rng.integers(2, 18), rng.integers(2, 34)
            for value, inset in ((2, 0), (1, 5), (4, 9)):
                mask[top + inset : top + 28 - inset, left + inset : left + 28 - inset] = value
            image = rng.integers(0, 60, (48, 64, 4))
            image += np.stack([mask > 0, mask == 1, mask == 4, np.zeros_like(mask)], -1) * 150
            for kind in ("images", "masks"):
                (root / split / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(root / split / "images" / f"{split}{number}.tif", image.astype(np.uint8),
                             photometric="minisblack", planarconfig="contig")  # fmt: skip
            Image.fromarray(mask).save(root / split / "masks" / f"{split}{number}.png")
    names = dict(zip(TUMOUR.values, TUMOUR.names, strict=True))
    Dataset(name="tumours", classes=names, regions=TUMOUR.regions, channels=["flair", "t1", "t1ce", "t2"]).save(root)
    return root


@pytest.mark.parametrize("loss", ["masl", "dice_ce"])
def test_from_the_folder_to_the_masks(tmp_path: Path, s2mnet: Cli, loss: str) -> None:
    data, run = write_tumours(tmp_path / "data"), tmp_path / "run"
    plan = make_plan(read_folder(find_cases(data)), size=32, extent="whole", epochs=6, batch_size=4,
                     repeats=4, lr=1e-2, precision="float32")  # fmt: skip
    assert plan.preprocessing.channels == ["flair", "t1", "t1ce", "t2"] and plan.labels.num_outputs == 3
    options = {} if loss == "dice_ce" else plan.loss_options
    plan.model_copy(update={"network": NARROW, "tta": 1, "loss": loss, "loss_options": options}).save(
        tmp_path / "p.yaml"
    )
    report = run_training(data, run, tmp_path / "p.yaml", console=quiet()).read_text()
    assert all(name in report for name in [*TUMOUR.regions, *TUMOUR.names[1:]])
    predictor = Predictor(run)
    prediction = predictor.predict(data / "test" / "images" / "test0.tif")
    truth = np.asarray(Image.open(data / "test" / "masks" / "test0.png"))
    assert prediction.probabilities.shape == (3, 48, 64) and set(np.unique(prediction.mask)) <= {0, 1, 2, 4}
    whole = 2 * ((prediction.mask > 0) & (truth > 0)).sum() / ((prediction.mask > 0).sum() + (truth > 0).sum())
    assert whole > 0.7
    status, _, err = s2mnet("predict", run, data / "test" / "images", "-o", tmp_path / "out", "--probabilities")
    assert status == 0, err
    assert {file.name for file in (tmp_path / "out" / "probabilities").iterdir()} == {
        f"test{number}_{name}.png" for number in (0, 1) for name in TUMOUR.regions
    }
    status, out, err = s2mnet("evaluate", run, data)
    assert status == 0 and "tumour core" in out and "oedema" not in out, err


def test_a_folder_of_stacks_is_inspected(tmp_path: Path, s2mnet: Cli) -> None:
    data = write_tumours(tmp_path / "data")
    status, out, err = s2mnet("inspect", data, "-o", tmp_path / "out")
    assert status == 0 and "4 channels" in out and "tumour core = 1 + 4" in out and not err
    assert "Channel 4 of the train images" in (tmp_path / "out" / "inspection.html").read_text()


def test_an_image_of_other_channels_is_refused(tmp_path: Path, s2mnet: Cli) -> None:
    from test_predict import write_model

    write_model(tmp_path / "model", [0, 255], 3)
    stack = np.zeros((40, 40, 4), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", planarconfig="contig")
    status, _, err = s2mnet("predict", tmp_path / "model", tmp_path / "a.tif", "-o", tmp_path / "out")
    assert status == 2 and "4 channels" in err and "Traceback" not in err
