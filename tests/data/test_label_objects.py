"""Masks whose values number objects, and masks whose palettes differ: told from classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2mnet.data import find_cases, read_mask
from s2mnet.data.images import check_palettes
from s2mnet.data.label_rules import histogram
from s2mnet.data.labels import infer_labels
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.folders import evaluate_folders
from s2mnet.fingerprint import read_folder

Y, X = np.mgrid[:96, :96]


def disc(y: float, x: float, radius: float) -> np.ndarray:
    return np.hypot(Y - y, X - x) < radius


def cells(rng: np.random.Generator) -> np.ndarray:
    """One to eight discs, numbered from 1; a later one hides part of an earlier one."""
    mask = np.zeros(Y.shape, np.uint8)
    for number in range(1, rng.integers(2, 10)):
        mask[disc(*rng.uniform(10, 86, 2), rng.uniform(6, 11))] = number
    used = np.unique(mask)
    return np.searchsorted(used, mask).astype(np.uint8)


def an_organ_with_a_tumour(rng: np.random.Generator) -> np.ndarray:
    y, x = rng.uniform(40, 56, 2)
    mask = disc(y, x, 30).astype(np.uint8)
    if rng.random() < 0.5:
        mask[disc(*(np.array([y, x]) + rng.uniform(-12, 12, 2)), rng.uniform(4, 8))] = 2
    return mask


def scattered_lesions_of_three_kinds(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(Y.shape, np.uint8)
    for kind in range(1, rng.integers(2, 5)):
        for _ in range(rng.integers(1, 5)):
            mask[disc(*rng.uniform(10, 86, 2), rng.uniform(3, 6))] = kind
    return mask


def two_lungs(rng: np.random.Generator) -> np.ndarray:
    shift = rng.uniform(-6, 6)
    return (disc(48 + shift, 24, 18) + 2 * disc(48 + shift, 72, 18)).astype(np.uint8)


def a_disc_and_its_cup(rng: np.random.Generator) -> np.ndarray:
    mask = disc(48, 48, 20).astype(np.uint8)
    mask[disc(48 + rng.uniform(-3, 3), 48, 8)] = 2
    return mask


def infer(masks: list[np.ndarray], step: int = 1) -> object:
    held = {Path(f"m/{number:02}.png"): mask * np.uint8(step) for number, mask in enumerate(masks)}
    return infer_labels({file: histogram(mask) for file, mask in held.items()}, read=held.__getitem__)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("step", [1, 25])
def test_numbered_objects_are_no_classes(seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [cells(rng) for _ in range(16)]
    assert 2 < max(mask.max() for mask in masks) <= 8
    with pytest.raises(S2MNetError, match=r"m/.*instance labels.*--labels binary.*dataset\.yaml.*--labels classes"):
        infer(masks, step)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "kind", [an_organ_with_a_tumour, scattered_lesions_of_three_kinds, two_lungs, a_disc_and_its_cup]
)
def test_classes_are_no_numbered_objects(kind: Callable[[np.random.Generator], np.ndarray], seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [kind(rng) for _ in range(16)]
    assert infer(masks).values == list(range(max(mask.max() for mask in masks) + 1))


def test_real_glands_are_numbered_and_real_instruments_are_not(shared_data: Path) -> None:
    def counts(pattern: str, most: int) -> dict[Path, dict[int, int]]:
        held = {file: histogram(read_mask(file)) for file in sorted(shared_data.glob(pattern))}
        return {file: values for file, values in held.items() if max(values) <= most}

    glands = counts("GlaS/*/*_anno.*", 8)
    assert len(glands) > 50
    with pytest.raises(S2MNetError, match="instance labels"):
        infer_labels(glands, read=read_mask)
    assert infer_labels(counts("EndoVis2017/*/ground_truth/*.png", 255), read=read_mask).values == [0, 10, 20, 30]


def write(root: Path, masks: list[np.ndarray], palettes: list[list[int]] | None = None) -> Path:
    rng = np.random.default_rng(0)
    for number, mask in enumerate(masks):
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, mask.shape, dtype=np.uint8)).save(root / "images" / f"{number:02}.png")
        image = Image.fromarray(mask)
        if palettes:
            image.putpalette(palettes[number % len(palettes)])
        image.save(root / "masks" / f"{number:02}.png")
    return root


def test_a_folder_says_whether_numbers_are_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    folder = write(tmp_path, [cells(rng) for _ in range(8)])
    with pytest.raises(S2MNetError, match="instance labels"):
        read_folder(find_cases(folder))
    with pytest.raises(S2MNetError, match="instance labels"):
        evaluate_folders(folder / "masks", folder / "masks")
    assert read_folder(find_cases(folder), "binary").label_map.values == [0, 255]
    assert read_folder(find_cases(folder), "classes").label_map.kind == "classes"
    names = "".join(f"  {number}: part {number}\n" for number in range(9))
    (folder / "dataset.yaml").write_text("classes:\n" + names)
    assert read_folder(find_cases(folder)).label_map.num_classes == 9


# --- palettes

BLACK, WHITE, RED, BLUE = [0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]


def of_two(number: int) -> np.ndarray:
    """A mask of the classes 0 and 1, and in every third 2, which lies in 1."""
    mask = disc(48, 48, 30).astype(np.uint8)
    if number % 3 == 0:
        mask[disc(48, 48, 9)] = 2
    return mask


@pytest.mark.parametrize("declared", [False, True])
@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("first", [BLACK, WHITE])
def test_a_palette_is_read_alike_in_all_masks(tmp_path: Path, declared: bool, trimmed: bool, first: list[int]) -> None:
    """Masks that use only the black and white of a palette beside masks that use its red, too."""
    second = WHITE if first is BLACK else BLACK
    short = first + second if trimmed else first + second + RED
    masks = [of_two(number) for number in range(9)]
    write(tmp_path, masks, [first + second + RED, short, short])
    if declared:
        (tmp_path / "dataset.yaml").write_text("classes: {0: background, 1: organ, 2: tool}\n")
    elif trimmed or first is WHITE:  # 0/255 or 0/1, which cannot be told: loud, and the names decide
        with pytest.raises(S2MNetError, match=r"the other masks have only|no background|neither 0/1"):
            read_folder(find_cases(tmp_path))
        return
    fingerprint = read_folder(find_cases(tmp_path))
    assert fingerprint.label_map.values == [0, 1, 2]
    case = find_cases(tmp_path).cases_of("all")[1]
    raw = read_mask(case.mask, fingerprint.label_map.raw_values)
    np.testing.assert_array_equal(raw, masks[int(case.name)])


def test_declared_values_choose_between_index_and_grey(tmp_path: Path) -> None:
    index = np.array([[0, 1], [1, 1]], np.uint8)
    for palette, known, expected in (
        (BLACK + WHITE, {0, 255}, 255 * index),
        (BLACK + WHITE, {0, 1}, index),
        (BLACK + WHITE, {0, 1, 255}, index),
        (WHITE + BLACK, {0, 255}, 255 - 255 * index),
        (WHITE + BLACK + RED, {0, 255}, 255 - 255 * index),
        (WHITE + BLACK + RED, {0, 1, 2}, index),
        (BLACK + [128] * 3 + WHITE, {0, 128, 255}, 128 * index),
        (BLACK + [128] * 3 + WHITE, {0, 1, 2}, index),
        (BLACK + RED, {0, 1}, index),
    ):
        image = Image.fromarray(index)
        image.putpalette(palette)
        image.save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png", known), expected, str((palette, known)))


def test_palettes_that_give_one_index_two_colours_are_refused(tmp_path: Path) -> None:
    """As an editor writes them that numbers the colours of each picture anew."""
    masks = [disc(48, 48, 30).astype(np.uint8) for _ in range(6)]
    folder = write(tmp_path / "a", masks, [BLACK + RED, BLACK + BLUE])
    message = r"masks/01\.png has the colour \(0, 0, 255\) for the palette index 1, where 00\.png has \(255, 0, 0\)"
    with pytest.raises(S2MNetError, match=message):
        read_folder(find_cases(folder))
    with pytest.raises(S2MNetError, match=message):
        evaluate_folders(folder / "masks", folder / "masks")
    assert read_folder(find_cases(folder), "classes").label_map.values == [0, 1]
    same = write(tmp_path / "b", masks, [BLACK + RED + BLUE, BLACK + RED])  # the rest is not used
    check_palettes({file: histogram(read_mask(file)) for file in (same / "masks").iterdir()})
