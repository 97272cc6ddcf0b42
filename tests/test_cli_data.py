"""``datasets``, ``prepare`` and ``inspect`` as a user calls them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from tiny import Cli, refused


def write_kvasir(root: Path, count: int = 10) -> Path:
    """The official layout: JPEG masks, whose 0 and 255 come with noise."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / "Kvasir-SEG" / kind).mkdir(parents=True)
    for index in range(count):
        mask = np.zeros((60, 70), np.uint8)
        mask[10 + index : 40, 10:50] = 255
        image = np.clip(mask[..., None] // 2 + rng.integers(0, 90, (60, 70, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(root / "Kvasir-SEG" / "images" / f"p{index}.jpg")
        Image.fromarray(mask).save(root / "Kvasir-SEG" / "masks" / f"p{index}.jpg")
    return root


def test_every_public_set_is_listed_with_its_terms(s2mnet: Cli) -> None:
    status, out, _ = s2mnet("datasets")
    assert status == 0
    for word in ("Kvasir-SEG", "CHASE_DB1", "BraTS2020", "https://drive.grand-challenge.org/", "terms"):
        assert word in out


def test_a_download_becomes_a_folder_that_can_be_inspected(tmp_path: Path, s2mnet: Cli) -> None:
    archive = shutil.make_archive(str(tmp_path / "kvasir-seg"), "zip", write_kvasir(tmp_path / "download"))
    status, out, err = s2mnet("prepare", "kvasir-seg", archive, tmp_path / "data")
    assert status == 0, err
    assert "10 of the 1000 images" in out and "Kvasir-SEG: 7 train, 1 val, 2 test" in out
    assert np.unique(np.asarray(Image.open(next((tmp_path / "data/train/masks").iterdir())))).tolist() == [0, 1]
    status, out, err = s2mnet("inspect", tmp_path / "data", "-o", tmp_path / "found")
    assert status == 0, err
    assert "Kvasir-SEG: 10 images with masks (7 train, 1 val, 2 test)" in out and "polyp" in out
    assert (tmp_path / "found/fingerprint.json").is_file()
    assert "data:image/" in (tmp_path / "found/inspection.html").read_text(encoding="utf-8")


def test_a_volume_is_predicted_into_its_own_grid(tiny_run: Path, tmp_path: Path, s2mnet: Cli) -> None:
    affine = np.array([[0, 0, -1.5, 10], [0.7, 0, 0, -20], [0, 0.7, 0, 5], [0, 0, 0, 1]])
    voxels = np.random.default_rng(0).integers(0, 200, (64, 48, 3)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "heart.nii.gz")
    status, out, err = s2mnet(
        "predict", tiny_run, tmp_path / "heart.nii.gz", "-o", tmp_path / "out", "--window", 100, 200
    )
    assert status == 0 and "heart.nii.gz" in out, err
    mask = nibabel.load(tmp_path / "out" / "heart.nii.gz")
    assert mask.shape == voxels.shape and set(np.unique(np.asarray(mask.dataobj))) <= {0, 255}
    np.testing.assert_array_equal(mask.affine, nibabel.load(tmp_path / "heart.nii.gz").affine)
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "heart.nii.gz").read_bytes()[:200])
    refused(s2mnet("predict", tiny_run, tmp_path / "cut.nii.gz", "-o", tmp_path / "out"), "cut.nii.gz")


def test_an_error_in_the_data_is_an_exit_status(tiny_data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    shutil.copytree(tiny_data, tmp_path / "data")
    broken = next((tmp_path / "data" / "train" / "images").iterdir())
    broken.write_bytes(broken.read_bytes()[:100])
    status, out, _ = s2mnet("inspect", tmp_path / "data", "-o", tmp_path / "found")
    assert status == 1 and broken.name in out and (tmp_path / "found/inspection.html").is_file()


def test_what_cannot_be_prepared_or_inspected_is_one_message(tmp_path: Path, s2mnet: Cli) -> None:
    refused(s2mnet("prepare", "kvassir", tmp_path, tmp_path / "out"), "Did you mean Kvasir-SEG?")
    refused(s2mnet("prepare", "Kvasir-SEG", tmp_path / "gone", tmp_path / "out"), "gone")
    refused(s2mnet("inspect", tmp_path / "gone"), "gone", "does not exist")
    assert not (tmp_path / "out").exists()
