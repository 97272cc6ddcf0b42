"""A model on a volume: every slice as it would be predicted alone, in the grid of the input."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicoms import write_series
from tiny import Cli

from s2mnet import Predictor, S2MNetError
from s2mnet.volumes import predict_volume, read_volume


def test_each_slice_is_predicted_as_it_would_be_alone(tmp_path: Path, predictor: Predictor) -> None:
    stored = np.random.default_rng(0).integers(-1000, 2000, (40, 3, 50)).astype(np.int16)
    affine = np.array([[-0.7, 0, 0, 5], [0, 0, 0.8, 6], [0, 9.0, 0, 7], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / "in.nii.gz")
    steps: list[tuple[int, int]] = []
    path = predict_volume(
        predictor, str(tmp_path / "in.nii.gz"), tmp_path / "new" / "out.nii.gz",
        window=(500, 2000), progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert path == tmp_path / "new" / "out.nii.gz" and steps == [(1, 3), (2, 3), (3, 3)]
    result = nibabel.load(path)
    found = np.asarray(result.dataobj)
    assert found.shape == stored.shape and found.dtype == np.uint16
    assert np.array_equal(result.affine, nibabel.load(tmp_path / "in.nii.gz").affine)
    assert {10, 300} & set(np.unique(found).tolist())
    shown = np.rint(np.interp(stored, [-500, 1500], [0, 255])).astype(np.uint8)
    for k in range(3):
        assert np.array_equal(found[:, k, ::-1].T, predictor.predict(shown[:, k, ::-1].T.copy()).mask)


def test_a_dicom_series_becomes_a_nifti_of_its_place(tmp_path: Path, predictor: Predictor) -> None:
    pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom]'")
    stack = np.random.default_rng(0).integers(0, 3000, (3, 40, 50)).astype(np.int16)
    positions = [[-10, 20, 30 + 4 * k] for k in range(3)]
    elements = {"WindowCenter": 500.5, "WindowWidth": 2001, "RescaleSlope": 1, "RescaleIntercept": -1000}
    write_series(tmp_path / "scan", stack, positions, spacing=(0.5, 0.75), **elements)
    result = nibabel.load(predict_volume(predictor, tmp_path / "scan", tmp_path / "out.nii", tta=1))
    assert np.array_equal(result.affine, [[-0.75, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]])
    shown = np.rint(np.interp(stack - 1000.0, [-500, 1500], [0, 255])).astype(np.uint8)
    expected = [predictor.predict(image).mask.T for image in shown]
    assert np.array_equal(np.asarray(result.dataobj), np.stack(expected, axis=-1))


def test_outputs_that_would_be_lost_are_refused_first(tmp_path: Path, predictor: Predictor) -> None:
    source = tmp_path / "in.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 2), np.int16), np.eye(4)), source)
    before = source.read_bytes()
    for output, word in [("out.png", "ends in"), ("in.nii", "the input")]:
        with pytest.raises(S2MNetError, match=word):
            predict_volume(predictor, source, tmp_path / output)
    assert source.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_only_an_earlier_mask_of_the_same_volume_is_replaced(tmp_path: Path, predictor: Predictor) -> None:
    """Not an expert's mask of that name, and not the mask of another volume of that name."""
    for place in ("A", "B"):
        stored = np.random.default_rng(ord(place)).integers(0, 200, (40, 50, 3)).astype(np.uint8)
        (tmp_path / place).mkdir()
        nibabel.save(nibabel.Nifti1Image(stored, np.diag([1, 1, 4.0, 1])), tmp_path / place / "CT.nii.gz")
    expert = nibabel.Nifti1Image((stored > 100).astype(np.uint8), np.diag([1, 1, 4.0, 1]))
    nibabel.save(expert, tmp_path / "expert.nii.gz")
    (tmp_path / "page.nii").write_text("not a volume")
    output = tmp_path / "out/CT.nii.gz"
    first = predict_volume(predictor, tmp_path / "A/CT.nii.gz", output, tta=1).read_bytes()
    assert predict_volume(predictor, tmp_path / "A/CT.nii.gz", output, tta=1).read_bytes() == first
    steps: list[tuple[int, int]] = []
    for taken in (output, tmp_path / "expert.nii.gz", tmp_path / "page.nii"):
        before = taken.read_bytes()
        with pytest.raises(S2MNetError, match=r"already exists, and is not an earlier mask of .*B/CT\.nii\.gz"):
            predict_volume(predictor, tmp_path / "B/CT.nii.gz", taken, tta=1, progress=lambda *step: steps.append(step))
        assert taken.read_bytes() == before and not steps


def test_a_series_in_the_current_folder_has_a_name(
    tmp_path: Path, model: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom]'")
    stack = np.random.default_rng(0).integers(0, 3000, (3, 40, 50)).astype(np.int16)
    write_series(tmp_path / "scan/deeper", stack, [[0, 0, 4 * k] for k in range(3)])
    monkeypatch.chdir(tmp_path / "scan")
    for path in (".", "deeper/.."):
        status, _, err = s2mnet("predict", model, path, "-o", "../out", "--tta", 1)
        assert status == 0, err
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["scan.nii.gz"]


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scan").write_bytes(bytes(128) + b"DICM" + bytes(100))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for path in (tmp_path / "scan", tmp_path):
        with pytest.raises(S2MNetError, match=r"pip install 's2mnet\[dicom\]'"):
            read_volume(path)


def test_a_model_keeps_the_orientation_of_its_training_slices(tmp_path: Path, model: Path) -> None:
    """In any order of the file's axes; here slices whose rows and columns count to the front and to the right."""
    stored = np.random.default_rng(0).integers(0, 200, (40, 50, 3)).astype(np.uint8)
    image = nibabel.Nifti1Image(stored, np.diag([1, 1, 4.0, 1]))
    nibabel.save(image, tmp_path / "ras.nii")
    nibabel.save(nibabel.Nifti1Image(stored[::-1, ::-1], np.diag([-1, -1, 4.0, 1])), tmp_path / "lps.nii")
    config = json.loads((model / "config.json").read_text())
    config["s2mnet"]["preprocessing"]["orientation"] = "SAR"
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    predictor = Predictor(tmp_path / "model", "cpu")
    ras, lps = (
        np.asarray(
            nibabel.load(predict_volume(predictor, tmp_path / f"{name}.nii", tmp_path / f"{name}-m.nii")).dataobj
        )
        for name in ("ras", "lps")
    )
    assert np.array_equal(ras, lps[::-1, ::-1])
    for k in range(3):
        assert np.array_equal(ras[:, :, k].T, predictor.predict(stored[:, :, k].T.copy()).mask)
