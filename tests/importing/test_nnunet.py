"""Raw data sets of nnU-Net and the Decathlon."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sources import blobs, described, imported, noise, save, save_nifti, write_json

from s2mnet.data import find_cases
from s2mnet.data.casetable import read_case_table
from s2mnet.errors import S2MNetError
from s2mnet.importing import import_data

LPS, RAS = np.diag([-1.0, -1.0, 4.0, 1.0]), np.diag([1.0, 1.0, 4.0, 1.0])


def volume(number: int, values: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and labels (x, y, z) with 4 slices."""
    labels = np.stack([blobs(10 * number + k, values, 30, 24) for k in range(4)], axis=-1)
    return noise(number, 30, 24, 4).astype(np.int16) * 5, labels


def test_a_decathlon_task_with_channels_in_a_fourth_axis(tmp_path: Path) -> None:
    truth = {}
    for number in range(3):
        first, labels = volume(number)
        second, _ = volume(number + 50)
        save_nifti(tmp_path / f"src/imagesTr/prostate_{number:02}.nii.gz", np.stack([first, second], axis=-1), LPS)
        save_nifti(tmp_path / f"src/labelsTr/prostate_{number:02}.nii.gz", labels, LPS)
        truth[f"prostate_{number:02}"] = labels
    save_nifti(tmp_path / "src/imagesTs/prostate_09.nii.gz", np.stack([first, second], axis=-1), LPS)
    described_by = {
        "name": "PROSTATE", "modality": {"0": "T2", "1": "ADC"}, "licence": "CC-BY-SA 4.0",
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in truth],
        "test": ["./imagesTs/prostate_09.nii.gz"],
    }  # fmt: skip
    write_json(tmp_path / "src/dataset.json", described_by)
    done = import_data(tmp_path / "src", tmp_path / "data")

    assert done.layout.name == "nnunet" and done.counts == {"all": 12}
    assert any("prostate_09" in note for note in done.notes)
    held = imported(tmp_path / "data")
    for case, labels in truth.items():
        for number in range(4):
            image, mask = held[f"{case}_slice{number:03d}"]
            np.testing.assert_array_equal(mask, labels[:, :, number].T)  # LPS is the display order of axial slices
            assert image.shape == (24, 30, 2)
    facts = described(tmp_path / "data")
    assert facts["classes"] == {0: "background", 1: "PZ", 2: "TZ"} and facts["channels"] == ["T2", "ADC"]
    assert facts["orientation"] == "SPL" and facts["licence"] == "CC-BY-SA 4.0" and facts["name"] == "PROSTATE"
    known = read_case_table(tmp_path / "data")
    assert known and known["prostate_00_slice002"].volume == "prostate_00" and known["prostate_00_slice002"].slice == 2
    assert known["prostate_00_slice002"].slice_mm == 4


def test_regions_an_ignored_value_and_files_for_channels(tmp_path: Path) -> None:
    truth = {}
    for part, numbers in (("Tr", (0, 1)), ("Ts", (2,))):
        for number in numbers:
            first, labels = volume(number, 4)
            second, _ = volume(number + 50)
            save_nifti(tmp_path / f"src/images{part}/case_{number}_0000.nii.gz", first, LPS)
            save_nifti(tmp_path / f"src/images{part}/case_{number}_0001.nii.gz", second, LPS)
            save_nifti(tmp_path / f"src/labels{part}/case_{number}.nii.gz", labels, LPS)
            truth[f"case_{number}"] = labels
    stated = {
        "channel_names": {"0": "FLAIR", "1": "T1"},
        "labels": {"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4},
        "regions_class_order": [1, 2, 3], "numTraining": 2, "file_ending": ".nii.gz",
    }  # fmt: skip
    write_json(tmp_path / "src/dataset.json", stated)
    done = import_data(tmp_path / "src", tmp_path / "data")

    assert done.counts == {"train": 8, "test": 4}
    held = imported(tmp_path / "data", "train") | imported(tmp_path / "data", "test")
    for case, labels in truth.items():
        np.testing.assert_array_equal(held[f"{case}_slice001"][1], labels[:, :, 1].T)
    folder = find_cases(tmp_path / "data")
    labels = folder.dataset.label_map()
    assert labels and labels.ignore_value == 4
    assert labels.structures == {"whole tumour": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}


@pytest.mark.parametrize("channels", [1, 2])
def test_pictures(tmp_path: Path, channels: int) -> None:
    truth = {}
    for number in range(4):
        pictures = [noise(number + 100 * c, 40, 56, *(3,) * (channels == 1)) for c in range(channels)]
        for channel, picture in enumerate(pictures):
            save(tmp_path / f"src/imagesTr/a_b_{number}_{channel:04}.png", picture)
        labels = blobs(number, 1)
        save(tmp_path / f"src/labelsTr/a_b_{number}.png", labels)
        truth[f"a_b_{number}"] = (np.squeeze(np.stack(pictures, axis=-1)), labels)
    names = {str(number): f"c{number}" for number in range(channels)}
    stated = {"channel_names": names, "labels": {"background": 0, "road": 1}, "file_ending": ".png"}
    write_json(tmp_path / "src/dataset.json", stated)
    import_data(tmp_path / "src", tmp_path / "data")
    held = imported(tmp_path / "data")
    assert held.keys() == truth.keys()
    for stem, (image, mask) in held.items():
        np.testing.assert_array_equal(image, truth[stem][0])
        np.testing.assert_array_equal(mask, truth[stem][1])


def test_one_plane_for_volumes_stored_in_several_orders(tmp_path: Path) -> None:
    """The same anatomy as RAS and as LPS gives the same slices."""
    for number in range(2):
        intensities, labels = volume(number)
        for name, step, affine in (("lps", 1, LPS), ("ras", -1, RAS)):
            save_nifti(tmp_path / f"src/imagesTr/{name}{number}_0000.nii.gz", intensities[::step, ::step], affine)
            save_nifti(tmp_path / f"src/labelsTr/{name}{number}.nii.gz", labels[::step, ::step], affine)
    stated = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz"}
    write_json(tmp_path / "src/dataset.json", stated)
    import_data(tmp_path / "src", tmp_path / "data")
    held = imported(tmp_path / "data")
    for number in range(8):
        one, other = (held[f"{name}{number // 4}_slice{number % 4:03d}"] for name in ("lps", "ras"))
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def nnunet(root: Path, **changes: object) -> Path:
    for number in range(2):
        save(root / f"imagesTr/c{number}_0000.png", noise(number))
        save(root / f"labelsTr/c{number}.png", blobs(number, 1))
    stated = {"channel_names": {"0": "R"}, "labels": {"background": 0, "road": 1}, "file_ending": ".png"}
    write_json(root / "dataset.json", stated | changes)
    return root


def test_a_value_that_is_no_label_is_refused(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "src")
    save(root / "labelsTr/c1.png", blobs(1, 3))
    with pytest.raises(S2MNetError, match=r"c1\.png has the value 2 on \d+ px"):
        import_data(root, tmp_path / "data")
    assert not list(tmp_path.glob("data*")) and not list(tmp_path.glob(".s2mnet*"))


def test_labels_without_an_image_and_a_missing_channel_are_refused(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "src")
    save(root / "labelsTr/c7.png", blobs(7, 1))
    with pytest.raises(S2MNetError, match=r"c7\.png has no image in imagesTr/"):
        import_data(root, tmp_path / "data")
    (root / "labelsTr/c7.png").unlink()
    save(root / "imagesTr/c0_0002.png", noise(9))
    with pytest.raises(S2MNetError, match="has no channel c0_0001"):
        import_data(root, tmp_path / "data")


def test_wrong_labels_are_refused(tmp_path: Path) -> None:
    for labels in ({"background": 0, "road": "one"}, {"background": 0, "all": [1, 2], "whole": [1, 2]}, [1, 2]):
        root = nnunet(tmp_path / "src", labels=labels)
        with pytest.raises(S2MNetError, match=r"dataset\.json .*labels|dataset\.json does not describe"):
            import_data(root, tmp_path / "data")


def test_an_existing_folder_is_never_written_over(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "src")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/precious.txt").write_text("mine")
    with pytest.raises(S2MNetError, match="already exists"):
        import_data(root, tmp_path / "data")
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["precious.txt"]


def test_a_folder_around_the_data_set_does_not_matter(tmp_path: Path) -> None:
    nnunet(tmp_path / "src/Dataset001_Road")
    assert import_data(tmp_path / "src", tmp_path / "data").counts == {"all": 2}


def test_cases_that_dataset_json_lists(tmp_path: Path) -> None:
    """Version 2 allows files anywhere, under any name."""
    truth, listed = {}, {}
    for number in range(3):
        save(tmp_path / f"src/scans/{number}.png", noise(number))
        truth[f"case{number}"] = blobs(number, 1)
        save(tmp_path / f"src/truth/t{number}.png", truth[f"case{number}"])
        listed[f"case{number}"] = {"images": [f"scans/{number}.png"], "label": f"truth/t{number}.png"}
    stated = {"channel_names": {"0": "R"}, "labels": {"background": 0, "road": 1}, "file_ending": ".png"}
    write_json(tmp_path / "src/dataset.json", stated | {"dataset": listed})
    import_data(tmp_path / "src", tmp_path / "data")
    held = imported(tmp_path / "data")
    assert held.keys() == truth.keys()
    for name, mask in truth.items():
        np.testing.assert_array_equal(held[name][1], mask)
