"""Pairing and splitting of data folders."""

from __future__ import annotations

import hashlib
import random
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mnet.data.cases import find_cases, find_images
from s2mnet.data.splits import by_share
from s2mnet.errors import S2MNetError


def touch_pairs(root: Path, names: list[str]) -> Path:
    """Empty files: finding looks at names only."""
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (root / kind).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / kind / f"{name}.{suffix}").touch()
    return root


def names(root: Path) -> dict[str, list[str]]:
    return {split: [case.name for case in cases] for split, cases in find_cases(root).splits.items()}


# --- finding


@pytest.mark.parametrize(
    ("count", "sizes"),
    # SHA-1 below 0.7 and 0.8 of its range, computed by hand; at least one in train and val, and of three in test
    [
        (2, (1, 1, 0)),
        (3, (1, 1, 1)),
        (5, (2, 1, 2)),
        (10, (7, 1, 2)),
        (15, (11, 1, 3)),
        (51, (34, 5, 12)),
        (100, (61, 11, 28)),
    ],
)
def test_split_is_by_sha1_of_the_stem(tmp_path: Path, count: int, sizes: tuple[int, int, int]) -> None:
    stems = [f"scan {index} é" for index in range(count)]
    random.Random(3).shuffle(stems)
    found = names(touch_pairs(tmp_path, stems))
    ordered = [stem for _, stem in sorted((hashlib.sha1(stem.encode("utf-8")).hexdigest(), stem) for stem in stems)]
    first, second = sizes[0], sizes[0] + sizes[1]
    assert found == {
        "train": sorted(ordered[:first]),
        "val": sorted(ordered[first:second]),
        "test": sorted(ordered[second:]),
    }
    assert "SHA-1" in find_cases(tmp_path).split_rule


def test_split_of_the_real_folder(shared_data: Path) -> None:
    found = names(shared_data / "Kvasir-SEG")
    stems = [file.stem for file in (shared_data / "Kvasir-SEG" / "images").iterdir()]
    shares = {stem: int(hashlib.sha1(stem.encode()).hexdigest(), 16) / 2**160 for stem in stems}
    assert set(found["train"]) == {stem for stem in stems if shares[stem] < 0.7}
    assert set(found["val"]) == {stem for stem in stems if 0.7 <= shares[stem] < 0.8}
    assert set(found["test"]) == {stem for stem in stems if shares[stem] >= 0.8}


@given(st.sets(st.integers(0, 10**6), min_size=2, max_size=60), st.sets(st.integers(0, 10**6), max_size=60))
def test_images_that_are_added_move_no_others(numbers: set[int], added: set[int]) -> None:
    before = by_share(map(str, numbers))
    after = by_share(map(str, numbers | added))
    shares = [int(hashlib.sha1(str(number).encode()).hexdigest(), 16) / 2**160 for number in numbers]
    if all(any(low <= share < high for share in shares) for low, high in ((0, 0.7), (0.7, 0.8), (0.8, 1))):
        assert {name: after[name] for name in before} == before
    else:  # one of the splits had been filled from below
        assert not any(before[name] == "train" and after[name] == "test" for name in before) or min(shares) >= 0.7
    assert {"train", "val"} <= set(before.values()) and ("test" in before.values()) == (len(numbers) > 2)


def test_given_splits_stay_as_given(tmp_path: Path) -> None:
    for split, stems in (("train", ["b", "a"]), ("val", ["c"]), ("test", ["d"])):
        touch_pairs(tmp_path / split, stems)
    folder = find_cases(tmp_path)
    assert names(tmp_path) == {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    assert "as given" in folder.split_rule and "SHA-1" not in folder.split_rule
    case = folder.splits["train"][0]
    assert (case.image, case.mask) == (tmp_path / "train/images/a.jpg", tmp_path / "train/masks/a.png")


def test_a_missing_val_is_the_last_eighth_of_train_by_sha1(tmp_path: Path) -> None:
    stems = [f"s{index}" for index in range(20)]
    touch_pairs(tmp_path / "train", stems)
    touch_pairs(tmp_path / "test", ["t"])
    ordered = sorted(stems, key=lambda stem: hashlib.sha1(stem.encode()).hexdigest())
    val = [stem for stem in ordered if int(hashlib.sha1(stem.encode()).hexdigest(), 16) >= 7 * 2**157]
    assert 1 <= len(val) <= 5
    assert names(tmp_path) == {"train": sorted(set(stems) - set(val)), "val": sorted(val), "test": ["t"]}
    assert "last eighth of train" in find_cases(tmp_path).split_rule


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    touch_pairs(tmp_path, ["a", "b"])
    for name in ("Thumbs.db", "notes.txt", ".DS_Store", "._a.png", ".c.jpg"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "masks" / "folder.png").mkdir()
    assert sorted(chain.from_iterable(names(tmp_path).values())) == ["a", "b"]


def break_folder(root: Path, how: str) -> None:
    touch_pairs(root, ["a", "b", "c"])
    images, masks = root / "images", root / "masks"
    if how == "no masks folder":
        for file in masks.iterdir():
            file.unlink()
        masks.rmdir()
    elif how == "empty masks":
        for file in masks.iterdir():
            file.unlink()
    elif how == "no pair":
        for file in masks.iterdir():
            file.rename(masks / f"{file.stem}_mask.png")
    elif how == "image alone":
        (images / "d.jpg").touch()
        (images / "e.jpg").touch()
    elif how == "mask alone":
        (masks / "z.png").touch()
    elif how == "twin":
        (images / "b.PNG").touch()
    elif how == "both layouts":
        touch_pairs(root / "train", ["q"])
    elif how == "one pair":
        for name in "bc":
            (images / f"{name}.jpg").unlink()
            (masks / f"{name}.png").unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no masks folder", r"has no folder masks/"),
        ("empty masks", r"masks contains no png, jpg, tif, bmp or gif file"),
        ("no pair", r"has no image and mask with the same name \(a\.jpg and a_mask\.png"),
        ("image alone", r"images has 2 images without mask: d\.jpg, e\.jpg"),
        ("mask alone", r"masks has 1 mask without image: z\.png"),
        ("twin", r"two files with one stem: b\.(PNG and b\.jpg|jpg and b\.PNG)"),
        ("both layouts", r"both images/ and train/"),
        ("one pair", r"has only 1 pair; training needs at least 2"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, how: str, message: str) -> None:
    break_folder(tmp_path, how)
    with pytest.raises(S2MNetError, match=message):
        find_cases(tmp_path)


def test_no_folder_an_empty_one_a_foreign_one_and_a_stem_in_two_splits(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match=r"gone does not exist"):
        find_cases(tmp_path / "gone")
    with pytest.raises(S2MNetError, match="is an empty folder"):
        find_cases(tmp_path)
    (tmp_path / "scans").mkdir()
    with pytest.raises(S2MNetError, match=r"only scans\. Arrange the files as DATA/images and DATA/masks"):
        find_cases(tmp_path)
    touch_pairs(tmp_path / "train", ["a", "b"])
    touch_pairs(tmp_path / "test", ["c", "b"])
    with pytest.raises(S2MNetError, match=r"has b in both train/ and test/"):
        find_cases(tmp_path)


def test_find_images(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", ".c.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.png").touch()
    assert [file.name for file in find_images(tmp_path)] == ["a.JPG", "b.png"]
    assert find_images(tmp_path / "b.png") == [tmp_path / "b.png"]
    with pytest.raises(S2MNetError, match=r"notes\.txt"):
        find_images(tmp_path / "notes.txt")
    with pytest.raises(S2MNetError, match="gone does not exist"):
        find_images(tmp_path / "gone")
    (tmp_path / "none").mkdir()
    with pytest.raises(S2MNetError, match="contains no png, jpg, tif, bmp or gif image"):
        find_images(tmp_path / "none")
    (tmp_path / "a.png").touch()
    with pytest.raises(S2MNetError, match="one stem"):
        find_images(tmp_path)


# --- files that would be passed over


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_images_in_subfolders_are_refused(tmp_path: Path, kind: str) -> None:
    touch_pairs(tmp_path, ["a", "b", "c"])
    for harmless in (".thumbnails/a.png", "notes/read me.txt"):
        (tmp_path / kind / harmless).parent.mkdir()
        (tmp_path / kind / harmless).touch()
    assert len(find_cases(tmp_path).cases_of("all")) == 3
    (tmp_path / kind / "patient 7" / "left").mkdir(parents=True)
    (tmp_path / kind / "patient 7" / "left" / "d.png").touch()
    with pytest.raises(S2MNetError, match=rf"{kind} has images in subfolders.*such as patient 7/left/d\.png"):
        find_cases(tmp_path)


def test_a_folder_of_subfolders_names_them(tmp_path: Path) -> None:
    touch_pairs(tmp_path, ["a"])
    with pytest.raises(S2MNetError, match=r"has images in subfolders.*such as images/a\.jpg.*choose the subfolder"):
        find_images(tmp_path)


@pytest.mark.parametrize("name", ["valid", "Val", "validation", "testing"])
def test_a_split_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    touch_pairs(tmp_path / "train", ["a", "b", "c"])
    (tmp_path / "notes").mkdir()
    assert len(find_cases(tmp_path).cases_of("all")) == 3
    touch_pairs(tmp_path / name, ["d"])
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell case apart")
    with pytest.raises(S2MNetError, match=rf"has {name}/images besides train/.*val/"):
        find_cases(tmp_path)


def test_the_other_names_of_the_tables_are_read_and_two_are_refused(tmp_path: Path) -> None:
    touch_pairs(tmp_path, ["a", "b"])
    for name in ("dataset.yml", "Dataset.yaml", "DATASET.YML"):
        (tmp_path / name).write_text("name: knees\nclasses: {0: background, 7: knee}\n")
        assert find_cases(tmp_path).name == "knees" and find_cases(tmp_path).dataset.classes[7] == "knee"
        (tmp_path / name).unlink()
    (tmp_path / "Cases.csv").write_text("name,patient\na,p1\nb,p2\n")
    assert {case.facts.patient for case in find_cases(tmp_path).cases_of("all")} == {"p1", "p2"}
    for name in ("dataset.yml", "dataset.yaml"):
        (tmp_path / name).write_text("name: knees\n")
    with pytest.raises(S2MNetError, match=r"has both dataset\.yaml and dataset\.yml\. Keep one"):
        find_cases(tmp_path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.NII", "a.dcm"])
def test_volumes_where_images_should_be_are_named(tmp_path: Path, name: str) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"any")
    with pytest.raises(S2MNetError, match=rf"images contains volumes \({name}\).* not NIfTI or DICOM"):
        find_cases(tmp_path)
