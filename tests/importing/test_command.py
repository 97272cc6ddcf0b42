"""The command line, and real images rewritten into the layouts of other tools."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from sources import blobs, imported, noise, pixels, save, save_nifti, write_json
from tiny import Cli, refused

from s2mnet.data import read_mask
from s2mnet.errors import S2MNetError
from s2mnet.importing import import_data


def test_the_command_says_what_it_read_and_wrote(s2mnet: Cli, tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"src/train/img/{number}.png", noise(number))
        save(tmp_path / f"src/train/gt/{number}.png", blobs(number, 1))
        save(tmp_path / f"src/test/img/{number}.png", noise(number + 9))
        if number:
            save(tmp_path / f"src/test/gt/{number}.png", blobs(number + 9, 1))
    status, out, err = s2mnet("import", tmp_path / "src", tmp_path / "data")
    assert status == 0, err
    assert "images and masks in folders of equal structure (--as folders)" in out
    assert "1 image has no mask and is left out: test/img/0.png" in out
    assert "two labels: 0 background, 1 foreground" in out and "5 train, 4 test in" in out
    status, _, err = s2mnet("inspect", tmp_path / "data")
    assert status == 0, err


def test_refusals_of_a_folder_of_another_layout_name_the_command(s2mnet: Cli, tmp_path: Path) -> None:
    save(tmp_path / "src/a.png", noise(0))
    _, out, _ = s2mnet("inspect", tmp_path / "src")
    assert "`s2mnet import SOURCE DATA`" in out
    refused(s2mnet("plan", tmp_path / "src"), "`s2mnet import SOURCE DATA`")
    save_nifti(tmp_path / "volumes/images/a.nii.gz", noise(0, 9, 9, 9))
    save_nifti(tmp_path / "volumes/masks/a.nii.gz", noise(0, 9, 9, 9))
    refused(s2mnet("plan", tmp_path / "volumes"), "`s2mnet import SOURCE DATA`")


def test_a_table_and_a_layout_by_name(s2mnet: Cli, tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"src/{number}.png", noise(number))
        save(tmp_path / f"src/{number}_mask.png", blobs(number, 1))
    (tmp_path / "pairs.csv").write_text("image,mask\n0.png,0_mask.png\n2.png,2_mask.png\n")
    status, out, err = s2mnet("import", tmp_path / "src", tmp_path / "one", "--pairs", tmp_path / "pairs.csv")
    assert status == 0 and "2 images, without a split" in out, err
    status, out, err = s2mnet("import", tmp_path / "src", tmp_path / "two", "--as", "suffix")
    assert status == 0 and "3 images, without a split" in out, err
    refused(s2mnet("import", tmp_path / "src", tmp_path / "three", "--as", "x"), "is not a layout")


def test_a_source_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    for name, message in (("a.zip", "Unpack it"), ("b", "does not exist")):
        with pytest.raises(S2MNetError, match=message):
            import_data(tmp_path / name, tmp_path / "data")
    (tmp_path / "empty").mkdir()
    with pytest.raises(S2MNetError, match="is an empty folder"):
        import_data(tmp_path / "empty", tmp_path / "data")


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    for number in range(9):
        save(tmp_path / f"src/images/{number}.png", noise(number))
        save(tmp_path / f"src/masks/{number}.png", blobs(number, 1))
    content = (tmp_path / "src/masks/7.png").read_bytes()
    (tmp_path / "src/masks/7.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(S2MNetError, match=r"7\.png is damaged"):
        import_data(tmp_path / "src", tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["src"]


def test_real_volumes_of_acdc_in_the_layout_of_nnunet(shared_data: Path, tmp_path: Path) -> None:
    truths = sorted(shared_data.rglob("patient*_frame*_gt.nii*"))[:3]
    if not truths:
        pytest.skip("needs ACDC")
    stacks = {}
    for truth in truths:
        case = truth.name.partition("_gt.nii")[0]
        image, mask = nibabel.load(truth.with_name(truth.name.replace("_gt", ""))), nibabel.load(truth)
        save_nifti(tmp_path / f"src/imagesTr/{case}_0000.nii.gz", np.asarray(image.dataobj), image.affine)
        save_nifti(tmp_path / f"src/labelsTr/{case}.nii.gz", np.asarray(mask.dataobj), image.affine)
        codes = "".join(nibabel.aff2axcodes(image.affine))
        turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(np.asarray(mask.dataobj), image.affine))
        assert codes and turned.shape[2] == mask.shape[2]
        # axial slices as radiologists see them: left at the right, front at the top, from foot to head
        stacks[case] = np.asarray(turned.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    labels = {"background": 0, "RV": 1, "MYO": 2, "LV": 3}
    stated = {"channel_names": {"0": "cineMRI"}, "labels": labels, "file_ending": ".nii.gz"}
    write_json(tmp_path / "src/dataset.json", stated)
    import_data(tmp_path / "src", tmp_path / "data")
    held = imported(tmp_path / "data")
    assert len(held) > 9
    for name, (_, mask) in held.items():
        case, _, number = name.rpartition("_slice")
        np.testing.assert_array_equal(mask, stacks[case][int(number)])


def test_real_polyps_side_by_side(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "Kvasir-SEG"
    images = sorted((folder / "images").glob("*.jpg"))[:6]
    if not images:
        pytest.skip("needs Kvasir-SEG")
    (tmp_path / "src").mkdir()
    for image in images:
        shutil.copy(image, tmp_path / f"src/{image.stem}.jpg")
        shutil.copy(folder / "masks" / image.name, tmp_path / f"src/{image.stem}-label.jpg")
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "suffix" and "127" in done.labels
    for image in images:
        np.testing.assert_array_equal(pixels(tmp_path / f"data/images/{image.name}"), pixels(image))
        np.testing.assert_array_equal(
            read_mask(tmp_path / f"data/masks/{image.name}"), read_mask(folder / "masks" / image.name)
        )
