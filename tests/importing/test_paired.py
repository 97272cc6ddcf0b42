"""Images and masks with matching names: side by side, in folders, in a table, one file for each object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sources import blobs, described, imported, noise, pixels, save, save_nifti

from s2mnet.data import find_cases
from s2mnet.data.casetable import read_case_table
from s2mnet.errors import S2MNetError
from s2mnet.importing import import_data

Truth = dict[str, tuple[np.ndarray, np.ndarray]]


def equal(held: Truth, truth: Truth) -> None:
    assert held.keys() == truth.keys()
    for stem, (image, mask) in truth.items():
        np.testing.assert_array_equal(held[stem][0], image)
        np.testing.assert_array_equal(held[stem][1], mask)


def pairs(count: int, values: int = 1, factor: int = 255) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(noise(number), blobs(number, values) * np.uint8(factor)) for number in range(count)]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}", "{}_mask"), ("{}", "{}_seg"), ("{}", "{}_anno"), ("{}", "{}-label"), ("{}_image", "{}_gt"),
        ("img_{}", "mask_{}"), ("{}.img", "{}.segmentation"), ("case {}", "case {} mask"),
        ("{}_HE", "{}_P"), ("x_{}_1", "y_{}_1"),  # no word: the content decides
    ],
)  # fmt: skip
def test_any_pair_of_affixes(tmp_path: Path, image: str, mask: str) -> None:
    truth = {}
    for number, (picture, labels) in enumerate(pairs(5)):
        stem = f"{number:03}"
        save(tmp_path / f"src/{image.format(stem)}.png", picture)
        save(tmp_path / f"src/{mask.format(stem)}.png", labels)
        truth[image.format(stem)] = (picture, labels)
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "suffix" and "255 foreground" in done.labels
    equal(imported(tmp_path / "data"), truth)


@pytest.mark.parametrize(
    ("image", "mask", "counts"),
    [
        ("images/{}", "masks/{}", {"all": 6}),
        ("Training_Input/{}", "Training_GroundTruth/{}_segmentation", {"all": 6}),
        ("pictures/{}", "annotations/{}", {"all": 6}),
        ("a/{}", "b/{}", {"all": 6}),  # no word: the content decides
        ("JPEGImages/{}_x", "Labels/{}_y", {"all": 6}),
        ("{}/images/{}", "{}/masks/{}", {"train": 4, "val": 1, "test": 1}),
        ("images/{}/{}", "labels/{}/{}_label", {"train": 4, "val": 1, "test": 1}),
        ("{}_images/{}", "{}_masks/{}", {"train": 4, "val": 1, "test": 1}),
    ],
)
def test_folders_of_equal_structure(tmp_path: Path, image: str, mask: str, counts: dict[str, int]) -> None:
    names = ["training", "training", "training", "training", "valid", "testing"]
    parts = {"training": "train", "valid": "val", "testing": "test"}
    truth: dict[str, Truth] = {part: {} for part in counts}
    for number, (picture, labels) in enumerate(pairs(6)):
        stem, split = f"s{number}", names[number]
        fields = (split, stem) if image.count("{}") == 2 else (stem,)
        save(tmp_path / f"src/{image.format(*fields)}.png", picture)
        save(tmp_path / f"src/{mask.format(*fields)}.png", labels)
        name = Path(image.format(*fields)).name
        truth["all" if "all" in counts else parts[split]][name] = (picture, labels)
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "folders" and done.counts == counts
    for part, held in truth.items():
        equal(imported(tmp_path / "data", "" if part == "all" else part), held)


def test_images_of_one_name_in_several_folders(tmp_path: Path) -> None:
    truth = {}
    for number, (picture, labels) in enumerate(pairs(4)):
        folder, stem = f"patient{number // 2}", f"{number % 2}"
        save(tmp_path / f"src/{folder}/{stem}.png", picture)
        save(tmp_path / f"src/{folder}/{stem}_mask.png", labels)
        truth[f"{folder}_{stem}"] = (picture, labels)
    import_data(tmp_path / "src", tmp_path / "data")
    equal(imported(tmp_path / "data"), truth)


def test_images_without_a_mask_are_listed_and_left_out(tmp_path: Path) -> None:
    for number, (picture, labels) in enumerate(pairs(5)):
        save(tmp_path / f"src/images/{number}.png", picture)
        if number != 3:
            save(tmp_path / f"src/masks/{number}.png", labels)
    save(tmp_path / "src/masks/9.png", labels)
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert set(imported(tmp_path / "data")) == {"0", "1", "2", "4"}
    assert any("1 image has no mask" in note and "images/3.png" in note for note in done.notes)
    assert any("without an image" in note and "9.png" in note for note in done.notes)


def test_several_numbered_masks_of_an_image_are_one(tmp_path: Path) -> None:
    """As in BUSI."""
    truth = {}
    for number, (picture, labels) in enumerate(pairs(4)):
        save(tmp_path / f"src/benign ({number}).png", picture)
        save(tmp_path / f"src/benign ({number})_mask.png", labels)
        if number == 2:
            other = blobs(99, 1) * np.uint8(255)
            save(tmp_path / f"src/benign ({number})_mask_1.png", other)
            labels = labels | other
        truth[f"benign ({number})"] = (picture, np.uint8(labels > 0))
    done = import_data(tmp_path / "src", tmp_path / "data")
    equal(imported(tmp_path / "data"), truth)
    assert "1 image with several masks: all objects are foreground." in done.notes


def test_one_file_for_each_object(tmp_path: Path) -> None:
    """As in the Data Science Bowl 2018."""
    from scipy.ndimage import label

    truth = {}
    for number, (picture, labels) in enumerate(pairs(4)):
        stem = f"id{number}"
        save(tmp_path / f"src/stage1_train/{stem}/images/{stem}.png", picture)
        objects, count = label(labels)
        assert count > 1
        for each in range(1, count + 1):
            save(tmp_path / f"src/stage1_train/{stem}/masks/h{number}{each}.png", np.uint8(objects == each) * 255)
        truth[stem] = (picture, np.uint8(labels > 0))
    save(tmp_path / "src/stage1_test/id9/images/id9.png", picture)
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "objects"
    equal(imported(tmp_path / "data"), truth)
    assert any("id9.png" in note for note in done.notes)


def test_patients_in_the_names_of_files_are_kept_together(tmp_path: Path) -> None:
    for number, (picture, labels) in enumerate(pairs(6)):
        save(tmp_path / f"src/patient{number // 2:03}/patient{number // 2:03}_frame{number}.png", picture)
        save(tmp_path / f"src/patient{number // 2:03}/patient{number // 2:03}_frame{number}_gt.png", labels)
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert any("3 patients" in note for note in done.notes)
    groups = {case.group for case in find_cases(tmp_path / "data").cases_of("all")}
    assert groups == {"patient000", "patient001", "patient002"}


@pytest.mark.parametrize(("image", "mask"), [("images/{}", "masks/{}"), ("{}_ct", "{}_seg"), ("{}/ct", "{}/label")])
def test_pairs_of_volumes(tmp_path: Path, image: str, mask: str) -> None:
    """Thin coronal-looking voxels: the slices run along the second axis of the file, whose voxels are thick."""
    affine = np.array([[-1.0, 0, 0, 0], [0, -4.0, 0, 0], [0, 0, -1.0, 0], [0, 0, 0, 1]])
    truth = {}
    for number in range(3):
        labels = np.stack([blobs(10 * number + k, 2, 24, 30) for k in range(4)], axis=1)
        save_nifti(tmp_path / f"src/{image.format(f'p{number}')}.nii.gz", noise(number, 24, 4, 30), affine)
        save_nifti(tmp_path / f"src/{mask.format(f'p{number}')}.nii.gz", labels, affine)
        truth[number] = labels
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.counts == {"all": 12}
    held, table = imported(tmp_path / "data"), read_case_table(tmp_path / "data")
    assert table and {facts.slice_mm for facts in table.values()} == {4.0}
    assert described(tmp_path / "data")["orientation"] == "PIL"
    volumes = sorted({facts.volume for facts in table.values() if facts.volume})
    assert len(volumes) == 3
    for name, facts in table.items():
        expected = truth[volumes.index(str(facts.volume))]
        np.testing.assert_array_equal(held[name][1], expected[:, facts.slice, :].T)


def test_a_mask_in_another_grid_than_its_volume_is_refused(tmp_path: Path) -> None:
    for number in range(2):
        labels = np.stack([blobs(number + k) for k in range(3)], axis=-1)
        save_nifti(tmp_path / f"src/images/{number}.nii.gz", noise(number, 40, 56, 3))
        save_nifti(tmp_path / f"src/masks/{number}.nii.gz", labels, np.diag([1.0, 1.0, 4.0, 1.0]) + np.eye(4, k=3) * 9)
    with pytest.raises(S2MNetError, match="Resample the mask"):
        import_data(tmp_path / "src", tmp_path / "data")


def test_palettes_stay(tmp_path: Path) -> None:
    for number, (picture, labels) in enumerate(pairs(3, 2, 1)):
        save(tmp_path / f"src/images/{number}.png", picture)
        palette = Image.fromarray(labels).convert("P")
        palette.putdata(labels.ravel().tolist())
        palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        (tmp_path / "src/masks").mkdir(exist_ok=True)
        palette.save(tmp_path / f"src/masks/{number}.png")
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.labels.startswith("3 labels: 0 background, 1 class 1, 2 class 2")
    np.testing.assert_array_equal(pixels(tmp_path / "data/masks/1.png"), blobs(1, 2))


def test_a_table(tmp_path: Path) -> None:
    truth: dict[str, Truth] = {"train": {}, "test": {}}
    rows = ["image,mask,split,patient"]
    for number, (picture, labels) in enumerate(pairs(5)):
        save(tmp_path / f"src/a/{number}x.png", picture)
        save(tmp_path / f"src/b/y{number}.png", labels)
        split = "train" if number < 3 else "test"
        rows.append(f"a/{number}x.png,b/y{number}.png,{split},p{number // 3}")
        truth[split][f"{number}x"] = (picture, labels)
    rows.append("a/0y.png,,train,p0")
    save(tmp_path / "src/a/0y.png", picture)
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    done = import_data(tmp_path / "src", tmp_path / "data", pairs=tmp_path / "pairs.csv")
    assert done.counts == {"train": 3, "test": 2} and any("a/0y.png" in note for note in done.notes)
    for part, held in truth.items():
        equal(imported(tmp_path / "data", part), held)
    assert {case.group for case in find_cases(tmp_path / "data").splits["test"]} == {"p1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,mask\na.png,a.png\n", "has the columns picture, mask"),
        ("image,mask\nb.png,a.png\n", "row 2 names 'b.png', which does not exist"),
        ("image,mask\na.png\n", "row 2 has 1 cells for 2 columns"),
        ("image,mask,split\na.png,a.png,fold1\n", "row 2 has the split 'fold1'"),
        ("image,mask\na.png,a.png\na.png,a.png\n", r"row 3 has a\.png a second time"),
        ("image,mask\na.png,\n", "has no row with an image and its mask"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    save(tmp_path / "src/a.png", noise(0))
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(S2MNetError, match=message):
        import_data(tmp_path / "src", tmp_path / "data", pairs=tmp_path / "pairs.csv")
    assert not (tmp_path / "data").exists()


def test_two_masks_of_an_image_are_ambiguous(tmp_path: Path) -> None:
    for number, (picture, labels) in enumerate(pairs(3)):
        save(tmp_path / f"src/{number}.png", picture)
        save(tmp_path / f"src/{number}_mask.png", labels)
        save(tmp_path / f"src/{number}_gt.png", labels)
    with pytest.raises(S2MNetError, match=r"several pairs: .*Use|several pairs: .*--pairs"):
        import_data(tmp_path / "src", tmp_path / "data")
    for number in range(3):
        (tmp_path / f"src/{number}_gt.png").unlink()
        save(tmp_path / f"src2/images/{number}.png", picture)
        save(tmp_path / f"src2/masks/{number}.png", labels)
        save(tmp_path / f"src2/labels/{number}.png", labels)
    with pytest.raises(S2MNetError, match="--pairs"):
        import_data(tmp_path / "src2", tmp_path / "data")


def test_images_alone_are_no_layout(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path / f"src/{number // 2}_{number % 2}.png", noise(number))
    with pytest.raises(S2MNetError, match=r"none of the known layouts.*--pairs"):
        import_data(tmp_path / "src", tmp_path / "data")


def test_a_data_folder_is_not_imported(tmp_path: Path) -> None:
    for number, (picture, labels) in enumerate(pairs(3)):
        save(tmp_path / f"src/images/{number}.png", picture)
        save(tmp_path / f"src/masks/{number}.png", labels)
    (tmp_path / "src/dataset.yaml").write_text("name: own\n")
    with pytest.raises(S2MNetError, match="is a data folder already"):
        import_data(tmp_path / "src", tmp_path / "data")
