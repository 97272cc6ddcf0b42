"""Pairing, splitting and reading of data folders."""

from __future__ import annotations

import hashlib
import random
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from skimage.draw import disk

from s2mnet.data.folder import FolderError, FolderSummary, find_cases, find_images, read_folder
from s2mnet.data.images import read_image, read_mask
from s2mnet.data.measure import mean_thickness
from s2mnet.data.pairs import load_case
from s2mnet.errors import S2MNetError


def put(path: Path, array: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def put_pair(root: Path, name: str, height: int = 40, width: int = 48, value: int = 255, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    mask[8:13, 4:40] = value
    put(root / "images" / f"{name}.png", generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    put(root / "masks" / f"{name}.png", mask)


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
    # 0.7 n and 0.1 n to the nearest, halves up, at least one in train and val, the rest is test
    [
        (2, (1, 1, 0)),
        (3, (2, 1, 0)),
        (5, (4, 1, 0)),
        (10, (7, 1, 2)),
        (15, (11, 2, 2)),
        (51, (36, 5, 10)),
        (100, (70, 10, 20)),
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
    stems.sort(key=lambda stem: hashlib.sha1(stem.encode()).digest())
    assert set(found["train"]) == set(stems[:700])
    assert set(found["val"]) == set(stems[700:800])
    assert set(found["test"]) == set(stems[800:])


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
    assert names(tmp_path) == {"train": sorted(ordered[:17]), "val": sorted(ordered[17:]), "test": ["t"]}
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
        ("no masks folder", r"found no folder masks/"),
        ("empty masks", r"masks: found no image file"),
        ("no pair", r"found no pair \(a\.jpg and a_mask\.png"),
        ("image alone", r"images: found 2 images without mask: d\.jpg, e\.jpg"),
        ("mask alone", r"masks: found 1 mask without image: z\.png"),
        ("twin", r"two files with one stem: b\.(PNG and b\.jpg|jpg and b\.PNG)"),
        ("both layouts", r"both images/ and train/"),
        ("one pair", r"found 1 pair; expected at least 2"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, how: str, message: str) -> None:
    break_folder(tmp_path, how)
    with pytest.raises(S2MNetError, match=message):
        find_cases(tmp_path)


def test_no_folder_an_empty_one_a_foreign_one_and_a_stem_in_two_splits(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match=r"gone: found no such folder"):
        find_cases(tmp_path / "gone")
    with pytest.raises(S2MNetError, match="found an empty folder"):
        find_cases(tmp_path)
    (tmp_path / "scans").mkdir()
    with pytest.raises(S2MNetError, match=r"found only scans; expected a folder with images/ and masks/"):
        find_cases(tmp_path)
    touch_pairs(tmp_path / "train", ["a", "b"])
    touch_pairs(tmp_path / "test", ["c", "b"])
    with pytest.raises(S2MNetError, match=r"found b in both train/ and test/"):
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
    with pytest.raises(S2MNetError, match="no such file"):
        find_images(tmp_path / "gone")
    (tmp_path / "none").mkdir()
    with pytest.raises(S2MNetError, match="no image in it"):
        find_images(tmp_path / "none")
    (tmp_path / "a.png").touch()
    with pytest.raises(S2MNetError, match="one stem"):
        find_images(tmp_path)


# --- reading


def test_summary_against_numpy(tmp_path: Path) -> None:
    for index in range(10):
        put_pair(tmp_path, f"case{index}", height=40 + index, width=48 + 2 * index, seed=index)
    folder = find_cases(tmp_path)
    summary = read_folder(folder, progress=False)
    every = [case for cases in folder.splits.values() for case in cases]
    train = folder.splits["train"]
    pixels = np.concatenate([np.asarray(Image.open(case.image)).reshape(-1, 3) for case in train]) / 255
    truth = [np.asarray(Image.open(case.mask)) > 0 for case in every]
    trained = [np.asarray(Image.open(case.mask)) > 0 for case in train]
    assert summary.counts == {"train": 7, "val": 1, "test": 2}
    assert summary.height == (40, 44.5, 49) and summary.width == (48, 57.0, 66)
    assert summary.channels == 3
    np.testing.assert_allclose(summary.mean, pixels.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(summary.std, pixels.std(axis=0), rtol=1e-9)
    share = sum(mask.sum() for mask in truth) / sum(mask.size for mask in truth)
    np.testing.assert_allclose(summary.pixel_share, [1 - share, share], rtol=1e-9)
    assert summary.foreground_share == pytest.approx(np.median([mask.mean() for mask in trained]))
    assert summary.thickness_px == pytest.approx(5, abs=0.6)  # a bar of 5 × 36 px
    assert summary.label_map.values == [0, 255] and summary.warnings == []
    assert FolderSummary.model_validate_json(summary.model_dump_json()) == summary


def test_grey_in_any_storage_is_one_channel_and_one_colour_image_makes_three(tmp_path: Path) -> None:
    for index in range(4):
        put_pair(tmp_path, f"c{index}")
        grey = np.random.default_rng(index).integers(0, 256, (40, 48), dtype=np.uint8)
        put(tmp_path / "images" / f"c{index}.png", grey if index % 2 else np.stack([grey] * 3, axis=-1))
    folder = find_cases(tmp_path)
    train = np.concatenate([np.asarray(Image.open(case.image).convert("L")) for case in folder.splits["train"]]) / 255
    summary = read_folder(folder, progress=False)
    assert summary.channels == 1
    np.testing.assert_allclose([*summary.mean, *summary.std], [train.mean(), train.std()], rtol=1e-9)
    put(folder.splits["val"][0].image, np.random.default_rng(9).integers(0, 256, (40, 48, 3), dtype=np.uint8))
    assert read_folder(folder, progress=False).channels == 3


def test_ignored_pixels_count_for_nothing(tmp_path: Path) -> None:
    for index in range(2):
        put_pair(tmp_path, f"c{index}", value=1)
        mask = read_mask(tmp_path / "masks" / f"c{index}.png")
        mask[20:] = 255
        put(tmp_path / "masks" / f"c{index}.png", mask)
    summary = read_folder(find_cases(tmp_path), progress=False)
    assert summary.label_map.ignore_value == 255
    assert summary.foreground_share == pytest.approx(5 * 36 / (20 * 48))
    np.testing.assert_allclose(summary.pixel_share, [1 - 5 * 36 / (20 * 48), 5 * 36 / (20 * 48)])
    assert summary.thickness_px == pytest.approx(5, abs=0.6)


def test_all_files_at_fault_are_reported_at_once(tmp_path: Path) -> None:
    for index in range(14):
        put_pair(tmp_path, f"c{index:02}")
    put(tmp_path / "masks" / "c00.png", np.zeros((48, 40), np.uint8))
    (tmp_path / "images" / "c01.png").write_bytes(b"")
    (tmp_path / "masks" / "c02.png").write_text("<html></html>")
    with pytest.raises(FolderError) as caught:
        read_folder(find_cases(tmp_path), progress=False)
    message = str(caught.value)
    assert "found 3 files at fault" in message
    assert (
        "c00.png: found a mask of 48 × 40 px (height × width); expected the size of its image c00.png, 40 × 48"
        in message
    )
    assert "c01.png: found an empty file" in message
    assert "c02.png: found a file that is no image" in message
    for index in range(14):
        (tmp_path / "images" / f"c{index:02}.png").write_bytes(b"")
    with pytest.raises(FolderError, match=r"found 14 files at fault(.|\n)*… and 4 more") as caught:
        read_folder(find_cases(tmp_path), progress=False)
    assert str(caught.value).count("an empty file") == 10 and len(caught.value.problems) == 14


def test_one_file_at_fault_is_the_error_itself(tmp_path: Path) -> None:
    for name in "abc":
        put_pair(tmp_path, name)
    (tmp_path / "images" / "b.png").write_bytes(b"")
    with pytest.raises(S2MNetError, match=r"b\.png: found an empty file") as caught:
        read_folder(find_cases(tmp_path), progress=False)
    assert not isinstance(caught.value, FolderError)


def test_labels_that_make_no_sense_stop_the_reading(tmp_path: Path) -> None:
    for split, stems in (("train", "abc"), ("val", "d"), ("test", "e")):
        for name in stems:
            put_pair(tmp_path / split, name)
    put_pair(tmp_path / "test", "f", value=7)
    with pytest.raises(S2MNetError, match=r"f\.png: found the value 7 on 180 px"):
        read_folder(find_cases(tmp_path), progress=False)
    assert read_folder(find_cases(tmp_path), labels="binary", progress=False).label_map.kind == "binary"


def test_train_without_foreground_is_refused(tmp_path: Path) -> None:
    put_pair(tmp_path / "train", "a", value=0)
    put_pair(tmp_path / "val", "b")
    with pytest.raises(S2MNetError, match="no foreground in any train mask"):
        read_folder(find_cases(tmp_path), progress=False)


def test_warnings_name_what_may_hurt(tmp_path: Path) -> None:
    put_pair(tmp_path / "train", "a", value=1)
    put_pair(tmp_path / "train", "b", value=0)
    put_pair(tmp_path / "train", "c", value=1, height=20)
    put_pair(tmp_path / "val", "d", value=2)
    text = "\n".join(read_folder(find_cases(tmp_path), progress=False).warnings)
    assert "1 of 4 masks are empty" in text and "b.png" in text
    assert "No mask of train holds class 2 (value 2)" in text
    assert "No mask of val holds class 1 (value 1)" in text
    assert "1 images have a side below 32 px, c for one" in text
    assert "no test images" in text


def test_a_turned_photograph_and_its_upright_mask_fit(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    for index in range(2):
        put_pair(tmp_path, f"c{index}", height=40, width=48)
        (tmp_path / "images" / f"c{index}.png").unlink()
        exif = Image.Exif()
        exif[0x0112] = 6
        stored = generator.integers(0, 256, (48, 40, 3), dtype=np.uint8)
        path = put(tmp_path / "images" / f"c{index}.jpg", stored, exif=exif)
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_image(path), np.asarray(ImageOps.exif_transpose(image)))
    assert read_folder(find_cases(tmp_path), progress=False).height == (40, 40.0, 40)


# --- thickness


@given(width=st.integers(1, 15), length=st.integers(80, 150), turned=st.booleans())
def test_thickness_of_a_line_is_its_width(width: int, length: int, turned: bool) -> None:
    mask = np.zeros((30, 160), bool)
    mask[5 : 5 + width, 3 : 3 + length] = True
    assert mean_thickness(mask.T if turned else mask) == pytest.approx(width, abs=0.6)


@pytest.mark.parametrize("radius", [5, 12, 40])
def test_thickness_of_a_disc_is_near_its_diameter(radius: int) -> None:
    mask = np.zeros((100, 100), bool)
    mask[disk((50, 50), radius)] = True
    assert mean_thickness(mask) == pytest.approx(2 * radius, abs=1)
    assert mean_thickness(np.zeros((9, 9), bool)) == 0


def test_vessels_are_thinner_than_polyps(shared_data: Path) -> None:
    vessels = [read_mask(file) > 127 for file in sorted((shared_data / "DRIVE/training/1st_manual").glob("*.gif"))[:4]]
    polyps = [read_mask(file) > 127 for file in sorted((shared_data / "Kvasir-SEG/masks").glob("*.jpg"))[:4]]
    thin, thick = [mean_thickness(mask) for mask in vessels], [mean_thickness(mask) for mask in polyps]
    assert min(thin) > 2 and max(thin) < 6  # vessels of DRIVE: 1 to 10 px
    assert min(thick) > 30


# --- field of view


def write_fields(folder: Path, **fields: np.ndarray) -> None:
    (folder / "fields").mkdir()
    for name, field in fields.items():
        Image.fromarray(field).save(folder / "fields" / f"{name}.png")


def test_outside_of_the_field_of_view_nothing_is_known(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inside = rng.integers(0, 2, (40, 40)).astype(np.uint8) * 255
    masks = {}
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        masks[split] = rng.integers(0, 2, (40, 40)).astype(np.uint8) * 255
        Image.fromarray(rng.integers(0, 255, (40, 40)).astype(np.uint8)).save(
            tmp_path / split / "images" / f"{split}.png"
        )
        Image.fromarray(masks[split]).save(tmp_path / split / "masks" / f"{split}.png")
    write_fields(tmp_path / "train", train=inside)
    folder = find_cases(tmp_path)
    labels = read_folder(folder, progress=False).label_map
    indices = load_case(folder.splits["train"][0], labels)[1]
    assert np.array_equal(indices, np.where(inside > 0, masks["train"] > 0, 255))
    assert set(np.unique(load_case(folder.splits["val"][0], labels)[1])) == {0, 1}
    Image.fromarray(inside[:39]).save(tmp_path / "train" / "fields" / "train.png")
    with pytest.raises(S2MNetError, match=r"fields.train\.png.*39 × 40"):
        read_folder(folder, progress=False)
    (tmp_path / "train" / "fields" / "train.png").rename(tmp_path / "train" / "fields" / "other.png")
    with pytest.raises(S2MNetError, match=r"1 images without a field of view: train\.png"):
        find_cases(tmp_path)
