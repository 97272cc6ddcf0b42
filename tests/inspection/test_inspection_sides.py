"""Classes that differ in their side only: what switches mirroring off, and what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2mnet.data.cases import find_cases
from s2mnet.fingerprint import Fingerprint, read_folder
from s2mnet.fingerprint.sides import find_sides, one_sided, silhouettes
from s2mnet.plan import Preset, make_plan

NAMES = ["background", "right", "left"]
Y, X = np.mgrid[:96, :120]


def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
    return ((Y - row) / height) ** 2 + ((X - column) / width) ** 2 < 1


def lungs(rng: np.random.Generator) -> np.ndarray:
    """Two ellipses with a notch for the heart in the one on the right of the image, of varying size and place."""
    row, middle, size = rng.uniform(40, 56), rng.uniform(50, 70), rng.uniform(0.7, 1.1)
    mask = np.zeros(Y.shape, np.uint8)
    mask[ellipse(row, middle - 24 * size, 30 * size, 16 * size)] = 1
    mask[ellipse(row, middle + 24 * size, 30 * size, 16 * size)] = 2
    mask[ellipse(row + 8, middle + 9 * size, 10 * size, 8 * size)] = 0
    return mask


def crescent_and_disc(rng: np.random.Generator) -> np.ndarray:
    """The ventricles in a short axis of the heart: a crescent always left of a disc."""
    row, column = rng.uniform(40, 56), rng.uniform(60, 80)
    mask = np.zeros(Y.shape, np.uint8)
    mask[ellipse(row, column - 8, 24, 26)] = 1
    mask[ellipse(row, column, 21, 21)] = 0
    mask[ellipse(row, column, 16, 16)] = 2
    return mask


def anywhere(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(Y.shape, np.uint8)
    for value, column in zip(rng.permutation((1, 2)), (30, 85), strict=True):
        mask[ellipse(rng.uniform(30, 60), column, 18, 18)] = value
    return mask


def concentric(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(Y.shape, np.uint8)
    mask[ellipse(48, 60, 30, 30)] = 1
    mask[ellipse(48, 62, 20, 20)] = 2
    return mask


def sizes(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(Y.shape, np.uint8)
    mask[ellipse(48, 30, 22, 22)] = 1
    mask[ellipse(48, 90, 8, 8)] = 2
    return mask


def kidney(rng: np.random.Generator) -> np.ndarray:
    return ellipse(rng.uniform(40, 56), rng.uniform(22, 30), 16, 12).astype(np.uint8)


def outlines(draw, count: int = 12) -> list:  # type: ignore[no-untyped-def, type-arg]
    rng = np.random.default_rng(0)
    return [silhouettes(draw(rng)) for _ in range(count)]


@pytest.mark.parametrize(("turns", "axis"), [(0, "columns"), (1, "rows"), (2, "columns")])
def test_two_lungs_have_sides_whichever_way_up_they_are(turns: int, axis: str) -> None:
    found = find_sides(outlines(lambda rng: np.rot90(lungs(rng), turns)), NAMES)
    assert [(pair.first, pair.second, pair.axis) for pair in found] == [("right", "left", axis)]


def test_one_side_in_each_image() -> None:
    """A left or a right breast: told by the half of the image."""

    def one(rng: np.random.Generator) -> np.ndarray:
        mask = lungs(rng)
        return np.where(mask == rng.integers(1, 3), mask, 0)

    assert [pair.axis for pair in find_sides(outlines(one, 40), NAMES)] == ["columns"]


@pytest.mark.parametrize("draw", [crescent_and_disc, anywhere, concentric, sizes])
def test_other_classes_have_no_sides(draw) -> None:  # type: ignore[no-untyped-def]
    assert find_sides(outlines(draw), NAMES) == []


def test_too_few_masks_or_exceptions_give_no_sides() -> None:
    assert find_sides(outlines(lungs, 5), NAMES) == []
    rng = np.random.default_rng(0)
    mixed = [silhouettes(lungs(rng)[:, :: -1 if place % 8 == 0 else 1]) for place in range(24)]
    assert find_sides(mixed, NAMES) == []


def test_a_class_that_is_always_in_one_half() -> None:
    assert one_sided(outlines(kidney), NAMES) == {"right": "left"}
    assert one_sided(outlines(lambda rng: kidney(rng)[:, ::-1]), NAMES) == {"right": "right"}
    assert one_sided(outlines(kidney, 9), NAMES) == {}
    both = outlines(lungs)
    assert one_sided(both, NAMES, find_sides(both, NAMES)) == {}
    middle = outlines(lambda rng: ellipse(48, rng.uniform(50, 58), 16, 12).astype(np.uint8))
    assert one_sided(middle, NAMES) == {}


def read(folder: Path, draw, colour: int = 0) -> Fingerprint:  # type: ignore[no-untyped-def]
    """Of 24 images: noise, foreground 90 brighter, and mask values above 100 by ``colour`` more."""
    rng = np.random.default_rng(0)
    for number in range(24):
        mask = draw(rng)
        image = rng.integers(0, 60, mask.shape) + 90 * (mask > 0) + colour * (mask > 100)
        for kind, array in (("images", image), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / kind / f"{number}.png")
    return read_folder(find_cases(folder))


def test_lungs_of_two_colours_are_told_apart_by_them(tmp_path: Path) -> None:
    alike, unlike = (read(tmp_path / str(c), lambda rng: lungs(rng) * np.uint8(100), colour=c) for c in (10, 60))
    assert len(alike.classes) == len(unlike.classes) == 3
    assert len(alike.sides) == 1 and unlike.sides == []


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_the_plan_of_lungs_does_not_mirror_and_says_why(tmp_path: Path, preset: Preset) -> None:
    plan = make_plan(read(tmp_path, lungs), preset=preset)
    assert plan.augmentation.flip_axes == ["rows"] and plan.augmentation.rotate_degrees == 30 and plan.tta == 1
    assert "class 1 and class 2" in plan.reasons["mirroring"] and "left to right" in plan.reasons["mirroring"]


def test_the_plan_of_ventricles_mirrors_as_ever(tmp_path: Path) -> None:
    plan = make_plan(read(tmp_path, crescent_and_disc))
    assert plan.augmentation.flip_axes == ["rows", "columns"] and plan.tta == 4
    assert "mirroring" not in plan.reasons


def test_a_class_on_one_side_is_a_warning(tmp_path: Path) -> None:
    fingerprint = read(tmp_path, kidney)
    (warning,) = [text for text in fingerprint.warnings if "half of nearly every image" in text]
    assert warning.startswith("foreground lies in the left half") and "flip_axes: [rows]" in warning
    assert make_plan(fingerprint).tta == 4
