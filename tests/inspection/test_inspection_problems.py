"""One fault planted in a folder without faults: it is found, with its file, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import blob, cases, clean_folder, put, texture

from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import inspect_folder
from s2mnet.fingerprint.problem import Problem
from s2mnet.fingerprint.problems import KINDS, worst_first

EMPTY = np.zeros((64, 64), np.uint8)


def stray(root: Path) -> None:
    mask = blob(3)
    mask[0, :3] = 97
    put(root, "train3", mask=mask)


def contradict(root: Path) -> None:
    (root / "dataset.yaml").write_text("classes: {0: background, 255: polyp}\n")
    stray(root)


def truncate(root: Path) -> None:
    file = root / "train/images/train3.png"
    file.write_bytes(file.read_bytes()[:200])


def three_classes(root: Path) -> None:
    for seed, name in cases():
        mask = blob(seed) // 255
        mask[50:60] = 2 if "test" not in name else 0
        mask[61] = 3
        put(root, name, mask=mask)


def tiny_foreground(root: Path) -> None:
    mask = EMPTY.copy()
    mask[7, 7] = 255
    put(root, "train3", mask=mask)


def jpeg_of_image(root: Path) -> None:
    """All masks noisy, one of them a heat map of its own image."""
    for seed, name in cases():
        noise = np.random.default_rng(seed).integers(0, 5, (64, 64)).astype(np.uint8)
        put(root, name, mask=np.where(blob(seed) > 0, 255 - noise, noise).astype(np.uint8))
    grey = np.array(Image.fromarray(texture(3)).convert("L"))
    put(root, "train3", mask=np.clip(grey.astype(int) + np.arange(64) % 2, 0, 255).astype(np.uint8))


def near_across(root: Path) -> None:
    put(root, "val1", image=np.clip(texture(2).astype(int) + 4, 0, 255).astype(np.uint8))


def masks_empty(*which: str) -> Callable[[Path], None]:
    return lambda root: [put(root, name, mask=EMPTY) for name in which]  # type: ignore[return-value]


def resize(root: Path) -> None:
    large = [np.array(Image.fromarray(a).resize((320, 320), Image.Resampling.NEAREST)) for a in (texture(3), blob(3))]
    put(root, "train3", *large)


def shrink(root: Path) -> None:
    put(root, "train3", texture(3, 24), blob(3, 24))


WAYS: dict[str, tuple[Callable[[Path], object], str, str, int, str]] = {
    # what is done → severity, kind, number of files, first file
    "truncated": (truncate, "error", "unreadable", 1, "train/images/train3.png"),
    "mask of another size": (
        lambda root: put(root, "val1", mask=blob(6)[:50]), "error", "unreadable", 1, "val/masks/val1.png"),
    "colour mask": (lambda root: put(root, "test0", mask=texture(9)), "error", "unreadable", 1, "test/masks/test0.png"),
    "no image": (
        lambda root: (root / "train/images/train3.png").write_text("<html>"), "error", "unreadable", 1,
        "train/images/train3.png"),
    "stray value": (stray, "error", "labels", 1, "train/masks/train3.png"),
    "against dataset.yaml": (contradict, "error", "labels", 1, "train/masks/train3.png"),
    "class absent": (three_classes, "warning", "class absent", 0, ""),
    "one empty mask": (masks_empty("train3"), "note", "empty masks", 1, "train/masks/train3.png"),
    "most masks empty": (
        masks_empty("train0", "train1", "train2", "val0", "test0"), "warning", "many empty masks", 5,
        "train/masks/train0.png"),
    "few pixels": (tiny_foreground, "warning", "few pixels", 1, "train/masks/train3.png"),
    "constant image": (
        lambda root: put(root, "train3", np.full((64, 64), 9, np.uint8)), "warning", "constant image", 1,
        "train/images/train3.png"),
    "tiny image": (shrink, "warning", "tiny image", 1, "train/images/train3.png"),
    "size spread": (resize, "warning", "size spread", 2, "train/images/train0.png"),
    "the same image in two splits": (
        lambda root: put(root, "val1", texture(2)), "warning", "exact across", 1, "train/images/train2.png"),
    "the same image twice": (
        lambda root: put(root, "train1", texture(2)), "note", "exact within", 1, "train/images/train1.png"),
    "look-alikes in two splits": (near_across, "warning", "near across", 1, "train/images/train2.png"),
    "one mask for three": (
        lambda root: [put(root, name, mask=blob(9)) for name in ("train1", "val0", "test1")],
        "warning", "same mask", 3, "test/masks/test1.png"),
}  # fmt: skip


def problems(root: Path) -> list[Problem]:
    return inspect_folder(root).problems


def test_a_folder_without_a_fault_has_no_problem(tmp_path: Path) -> None:
    assert problems(clean_folder(tmp_path)) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_planted_fault_is_found_and_nothing_else(tmp_path: Path, way: str) -> None:
    plant, severity, kind, count, file = WAYS[way]
    plant(clean_folder(tmp_path))
    found = problems(tmp_path)
    assert [(p.severity, p.kind, p.count, p.file) for p in found] == [(severity, kind, count, file)]
    assert found[0].means.endswith(".") and found[0].fix.endswith(".") and not found[0].problem.endswith(".")


@pytest.mark.parametrize(
    ("pixels", "side", "alike", "kinds"),
    [
        (2, 64, 0, ["few pixels"]), (3, 64, 0, []),  # 0.05 % of 64² pixels are 2.05
        (0, 256, 0, []), (0, 264, 0, ["size spread"]),  # 16 and 17 times the area
        (0, 64, 2, []), (0, 64, 3, ["same mask"]),
        (0, 32, 0, []), (0, 31, 0, ["tiny image"]),
    ],
)  # fmt: skip
def test_problems_begin_at_their_limits(tmp_path: Path, pixels: int, side: int, alike: int, kinds: list[str]) -> None:
    clean_folder(tmp_path)
    mask = blob(3, side)
    if pixels:
        mask = EMPTY.copy()
        mask[7, 7 : 7 + pixels] = 255
    put(tmp_path, "train3", texture(3, side), mask)
    for name in ("train1", "val0", "test1")[:alike]:
        put(tmp_path, name, mask=blob(9))
    assert [p.kind for p in problems(tmp_path)] == kinds


def test_no_test_split(tmp_path: Path) -> None:
    assert [p.kind for p in problems(clean_folder(tmp_path, ("train", "val")))] == ["no test split"]


def test_an_unpaired_file_is_the_one_problem(tmp_path: Path) -> None:
    (clean_folder(tmp_path) / "val/masks/val1.png").unlink()
    found = inspect_folder(tmp_path)
    assert [(p.severity, p.kind) for p in found.problems] == [("error", "folder")]
    assert "val1.png" in found.problems[0].problem and found.problems[0].file == "val/images"
    assert found.images == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="nowhere does not exist"):
        inspect_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("declared", [False, True])
def test_masks_that_are_all_empty(tmp_path: Path, declared: bool) -> None:
    clean_folder(tmp_path)
    masks_empty(*(name for _, name in cases()))(tmp_path)
    if declared:
        (tmp_path / "dataset.yaml").write_text("classes: {0: background, 255: polyp}\n")
    found = problems(tmp_path)
    assert [(p.severity, p.kind) for p in found] == [("error", "no foreground" if declared else "labels")]


def test_instance_labels_are_one_error_and_the_rest_is_inspected(tmp_path: Path) -> None:
    clean_folder(tmp_path)
    for seed, name in cases():
        cells = (np.arange(64) // 4 + seed)[:, None] * np.ones((1, 64), int)
        put(tmp_path, name, mask=np.where(blob(seed) > 0, cells, 0).astype(np.uint8))
    found = inspect_folder(tmp_path)
    assert [(p.severity, p.kind) for p in found.problems] == [("error", "labels")]
    assert "instance labels" in found.problems[0].problem
    assert found.label_map is None and len(found.images) == 9 and len(found.spectrum) == 4


def test_one_stray_mask_leaves_the_labels_understood(tmp_path: Path) -> None:
    stray(clean_folder(tmp_path))
    found = inspect_folder(tmp_path)
    assert found.label_map is not None and found.label_map.values == [0, 255]
    assert sum(found.classes[1].masks.values()) == found.morphology_masks == 8
    assert [image.name for image in found.images if image.foreground is None] == ["train3"]


def test_many_declared_classes_are_no_grey_image(tmp_path: Path) -> None:
    values = np.arange(0, 200, 10, dtype=np.uint8)
    for seed, name in cases():
        put(tmp_path, name, texture(seed), np.roll(values, seed)[np.arange(64) % 20][:, None].repeat(64, 1))
    (tmp_path / "dataset.yaml").write_text("classes: {" + ", ".join(f"{v}: c{v}" for v in values) + "}\n")
    assert problems(tmp_path) == []
    (tmp_path / "dataset.yaml").unlink()
    assert "grey mask" in {p.kind for p in problems(tmp_path)}


def test_a_mask_that_is_a_heat_map_of_its_image(tmp_path: Path) -> None:
    jpeg_of_image(clean_folder(tmp_path))
    found = problems(tmp_path)
    assert [p.kind for p in found] == ["labels", "grey mask"]
    assert {p.file for p in found} == {"train/masks/train3.png"}
    assert "looks like a grey image, its own" in found[1].problem


def test_masks_that_are_their_images(tmp_path: Path) -> None:
    clean_folder(tmp_path)
    for seed, name in cases():
        put(tmp_path, name, blob(seed), blob(seed))
    found = [p for p in problems(tmp_path) if p.kind == "mask is its image"]
    assert [(p.severity, p.count) for p in found] == [("warning", 9)]


def test_one_damaged_file_does_not_hide_the_others(tmp_path: Path) -> None:
    truncate(clean_folder(tmp_path))
    found = inspect_folder(tmp_path)
    assert len(found.images) == sum(found.counts.values()) - 1 == 8


def test_the_worst_comes_first() -> None:
    def of(severity: str, kind: str, file: str = "") -> Problem:
        fields = dict(files=[file], count=1, where=file, problem="x", means="y.", fix=f"{file}.")
        return Problem(severity=severity, kind=kind, **fields)  # type: ignore[arg-type]

    order = [of("error", "unreadable", "a"), of("error", "unreadable", "b"), of("error", "labels"),
             of("warning", "exact across"), of("warning", "size spread"), of("note", "empty masks")]  # fmt: skip
    assert worst_first(reversed(order)) == order
    assert len(set(KINDS)) == len(KINDS)


def test_many_files_with_one_fault_are_told_together(tmp_path: Path) -> None:
    for seed in range(14):
        put(tmp_path, f"train{seed}", texture(seed), texture(99 + seed) if seed > 1 else blob(seed))
    for seed in (20, 21):
        put(tmp_path, f"test{seed}", texture(seed), blob(seed - 15))
    errors = [p for p in problems(tmp_path) if p.severity == "error"]
    assert [(p.kind, p.count) for p in errors] == [("unreadable", 12)]
    assert "11 more files" in errors[0].sentence
