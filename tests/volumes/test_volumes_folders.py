"""Which folders are volumes: what lies beside a series does not decide, and mixtures are refused by their parts."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicoms import write_series
from PIL import Image

from s2mnet import Predictor, S2MNetError
from s2mnet.volumes import is_volume, predict_volume, read_volume

pydicom = pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom]'")

STACK = np.random.default_rng(0).integers(0, 1000, (3, 40, 50)).astype(np.int16)
ALONG_Z = [[-10, 20, 30 + 2.5 * k] for k in range(3)]


def png(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (50, 40)).save(path)


def nifti(path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(STACK, np.eye(4)), path)


@pytest.mark.parametrize(
    "foreign",
    [".DS_Store", "AAA_README.txt", "LICENSE", "DICOMDIR", ".hidden/a.png", "__MACOSX/a.png", "a/b/notes.pdf"],
)
@pytest.mark.parametrize("deeper", ["", "study/series"])
def test_files_of_other_kinds_change_nothing(tmp_path: Path, foreign: str, deeper: str) -> None:
    write_series(tmp_path / deeper, STACK, ALONG_Z)
    file = tmp_path / foreign
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"\0\0\0\1Bud1" * 40)
    assert is_volume(tmp_path)
    assert np.array_equal(read_volume(tmp_path).array, STACK)


@pytest.mark.parametrize("screenshot", ["a.png", "zz.PNG", "shots/a.png"])
def test_a_series_beside_a_picture_is_refused_by_both(tmp_path: Path, screenshot: str) -> None:
    write_series(tmp_path / "scan", STACK, ALONG_Z)
    png(tmp_path / "scan" / screenshot)
    with pytest.raises(
        S2MNetError, match=rf"scan mixes 3 DICOM files \(first 001\.dcm\) and 1 image files .*{screenshot}"
    ):
        is_volume(tmp_path / "scan")


def test_a_series_beside_a_nifti_is_refused_unless_it_is_its_mask(tmp_path: Path, predictor: Predictor) -> None:
    scan = write_series(tmp_path / "scan", STACK, ALONG_Z)
    predict_volume(predictor, scan, scan / "mask.nii.gz", tta=1)
    assert is_volume(scan)
    nifti(scan / "other.nii")
    with pytest.raises(S2MNetError, match=r"3 DICOM files .* and 1 volume files \(first other\.nii\)"):
        is_volume(scan)


def test_folders_of_images_and_of_nifti(tmp_path: Path) -> None:
    png(tmp_path / "images/a.png")
    png(tmp_path / "images/deeper/b.png")
    (tmp_path / "images/a.txt").write_text("x" * 200)
    assert not is_volume(tmp_path / "images") and not is_volume(tmp_path / "nowhere")
    (tmp_path / "volumes").mkdir()
    nifti(tmp_path / "volumes/a.nii.gz")
    with pytest.raises(
        S2MNetError,
        match=r"volumes holds 1 volume files \(first a\.nii\.gz\), .*Give one file after the other",
    ):
        is_volume(tmp_path / "volumes")
    nifti(tmp_path / "images/c.nii")
    with pytest.raises(S2MNetError, match=r"mixes 1 image files .* and 1 volume files"):
        is_volume(tmp_path / "images")


@pytest.mark.parametrize(
    ("implicit", "little"), [(True, True), (False, True), (False, False)], ids=["implicit", "explicit", "big endian"]
)
@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_files_without_a_preamble_are_read(tmp_path: Path, implicit: bool, little: bool, suffix: str) -> None:
    write_series(tmp_path, STACK, ALONG_Z)
    for file in tmp_path.iterdir():
        dataset = pydicom.dcmread(file)
        if not little:
            dataset["PixelData"].value = dataset.pixel_array.astype(">i2").tobytes()
        file.unlink()
        pydicom.Dataset(dataset).save_as(file.with_suffix(suffix), implicit_vr=implicit, little_endian=little)
        assert file.with_suffix(suffix).read_bytes()[128:132] != b"DICM"
    assert is_volume(tmp_path) and is_volume(next(tmp_path.iterdir()))
    assert np.array_equal(read_volume(tmp_path).array, STACK)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mgz", ".HDR", ".img", ".mgh", ".mnc"])
def test_volumes_of_other_formats_are_named_with_the_way_to_nifti(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"scan{suffix}").write_bytes(b"whatever" * 100)
    assert is_volume(tmp_path / f"scan{suffix}")
    with pytest.raises(S2MNetError, match=rf"not read \({suffix}\). Convert it to NIfTI, .*'scan\.nii\.gz'"):
        read_volume(tmp_path / f"scan{suffix}")
    with pytest.raises(S2MNetError, match="1 volume files"):
        is_volume(tmp_path)


@pytest.mark.parametrize("suffix", [".mgz", ".hdr", ".img"])
def test_the_way_to_nifti_works(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = nibabel.MGHImage if suffix == ".mgz" else nibabel.Nifti1Pair
    nibabel.save(kind(STACK.astype(np.int32), np.diag([1, 1, 4.0, 1])), tmp_path / f"scan{suffix}")
    with pytest.raises(S2MNetError) as caught:
        read_volume(tmp_path / f"scan{suffix}")
    monkeypatch.chdir(tmp_path)
    exec(caught.value.fix.partition("with ")[2].removesuffix("."), {"nibabel": nibabel})
    volume = read_volume(tmp_path / "scan.nii.gz")
    assert np.array_equal(volume.in_file_order(volume.array), STACK)


def test_surfaces_in_cifti_are_no_volumes(tmp_path: Path) -> None:
    from nibabel.cifti2 import BrainModelAxis, ScalarAxis

    axes = ScalarAxis(["a"]), BrainModelAxis.from_mask(np.ones(6), name="cortex_left")
    nibabel.Cifti2Image(np.zeros((1, 6), np.float32), axes).to_filename(tmp_path / "a.dscalar.nii")
    with pytest.raises(S2MNetError, match=r"a\.dscalar\.nii is CIFTI, values on a surface, and not a volume"):
        read_volume(tmp_path / "a.dscalar.nii")
