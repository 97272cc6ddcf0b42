"""Masks as DICOM Segmentation objects, read back by highdicom and, element by element, by pydicom."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicoms import along_z, item, stack_of, write, write_series
from PIL import Image
from scipy.spatial.transform import Rotation
from tiny import Cli, refused

from s2mnet import Predictor, S2MNetError, __version__
from s2mnet.data import LabelMap
from s2mnet.volumes import predict_volume, read_volume, write_dicom_seg

pydicom = pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom-seg]'")
highdicom = pytest.importorskip("highdicom", reason="needs highdicom: pip install 's2mnet[dicom-seg]'")

LABELS = LabelMap(kind="classes", values=[0, 10, 300], names=["background", "left ventricle", "Größe 日本"])
STUDY = {"StudyInstanceUID": "1.2.3.4", "FrameOfReferenceUID": "1.2.3.5", "SliceThickness": 3.0}
SINGLE = {  # classes of images without a place in space; the last two may hold films
    "US": "1.2.840.10008.5.1.4.1.1.6.1", "CR": "1.2.840.10008.5.1.4.1.1.1", "OT": "1.2.840.10008.5.1.4.1.1.7",
    "NM": "1.2.840.10008.5.1.4.1.1.20", "films of US": "1.2.840.10008.5.1.4.1.1.3.1",
}  # fmt: skip
ENHANCED_MR, ULTRASOUND = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.6.1"


def classes_of(pixels: np.ndarray) -> np.ndarray:
    """A mask that is a function of the image, so that a slice in another's place shows."""
    return (pixels % 3).astype(np.uint8)


def write_enhanced(path: Path, places: list[float], shared: bool, **elements: object) -> Path:
    common = {
        "PlaneOrientationSequence": [item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        "PixelMeasuresSequence": [item(PixelSpacing=[0.5, 0.25], SliceThickness=3)],
    }
    groups = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, place])], **({} if shared else common))
        for place in places
    ]
    elements = {"SOPClassUID": ENHANCED_MR, "Modality": "MR", **STUDY, **elements}
    if shared:
        elements["SharedFunctionalGroupsSequence"] = [item(**common)]
    return write(path, stack_of(len(places)), len(places), PerFrameFunctionalGroupsSequence=groups, **elements)


@pytest.mark.parametrize("reverse", [False, True], ids=["rising", "falling"])
def test_every_file_gets_its_own_mask_back(tmp_path: Path, reverse: bool) -> None:
    row, column, normal = Rotation.from_euler("xyz", [0.4, -0.9, 2.0]).as_matrix().T
    positions = [np.array([12.0, -40, 100]) + k * normal * (-3 if reverse else 3) for k in (4, 0, 2, 5, 1, 3)]
    write_series(tmp_path / "in", stack_of(6), positions, [*row, *column], (0.8, 0.5), **STUDY)
    volume = read_volume(tmp_path / "in")
    path = tmp_path / "new" / "out.seg.dcm"
    write_dicom_seg(classes_of(volume.array), volume, LABELS, path)

    images = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, (tmp_path / "in").iterdir())}
    found = highdicom.seg.segread(path).get_pixels_by_source_instance(list(images), combine_segments=True)
    assert np.array_equal(found, [classes_of(image.pixel_array) for image in images.values()])

    stored = pydicom.dcmread(path)
    assert stored.SegmentationType == "BINARY" and stored.FrameOfReferenceUID == "1.2.3.5"
    shared = stored.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    np.testing.assert_allclose(orientation, [*row, *column], atol=1e-6)
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.8, 0.5]
    assert stored.pixel_array.shape == (12, 5, 7)
    for groups, pixels in zip(stored.PerFrameFunctionalGroupsSequence, stored.pixel_array, strict=True):
        image = images[groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert groups.PlanePositionSequence[0].ImagePositionPatient == image.ImagePositionPatient
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert np.array_equal(pixels, classes_of(image.pixel_array) == number)


def test_segments_are_the_classes_of_a_new_series_of_the_same_patient(tmp_path: Path) -> None:
    patient = {"PatientName": "Müller^Jürgen", "PatientID": "7", "SpecificCharacterSet": "ISO_IR 100", "StudyID": "s"}
    write_series(tmp_path / "in", stack_of(3), along_z(3), SeriesNumber=4, **STUDY, **patient)
    volume = read_volume(tmp_path / "in")
    labels = LABELS.model_copy(update={"names": ["background", "a\\b" + "x" * 80, "Größe 日本"]})
    for name in ("one", "two"):
        write_dicom_seg(classes_of(volume.array), volume, labels, tmp_path / name)
    one, two = (pydicom.dcmread(tmp_path / name) for name in ("one", "two"))
    assert one.Modality == "SEG" and one.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    assert (one.PatientName, one.PatientID, one.StudyInstanceUID) == ("Müller^Jürgen", "7", "1.2.3.4")
    assert one.StudyID == "s" and one.AccessionNumber == "" and one.SeriesNumber == 1004
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert len({one.SeriesInstanceUID, two.SeriesInstanceUID, "1.2.3"}) == 3
    assert [segment.SegmentNumber for segment in one.SegmentSequence] == [1, 2]
    assert [segment.SegmentLabel for segment in one.SegmentSequence] == ["a/b" + "x" * 61, "Größe 日本"]
    for segment in one.SegmentSequence:
        assert segment.SegmentAlgorithmType == "AUTOMATIC" and segment.SegmentAlgorithmName == "s2mnet"
        assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == __version__
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning) == ("85756007", "SCT", "Tissue")
    referenced = one.ReferencedSeriesSequence[0]
    uids = [pydicom.dcmread(file).SOPInstanceUID for file, _ in volume.sources]
    assert referenced.SeriesInstanceUID == "1.2.3"
    assert [image.ReferencedSOPInstanceUID for image in referenced.ReferencedInstanceSequence] == uids


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "per frame"])
def test_frames_of_an_enhanced_file_get_their_own_masks_back(tmp_path: Path, shared: bool) -> None:
    file = write_enhanced(tmp_path / "in.dcm", [30, 10, 40, 20], shared)
    volume = read_volume(file)
    assert [index for _, index in volume.sources] == [1, 3, 0, 2]
    write_dicom_seg(classes_of(volume.array), volume, LABELS, tmp_path / "out.dcm")
    image = pydicom.dcmread(file)
    found = highdicom.seg.segread(tmp_path / "out.dcm").get_pixels_by_source_frame(
        image.SOPInstanceUID, [1, 2, 3, 4], combine_segments=True
    )
    assert np.array_equal(found, classes_of(image.pixel_array))


def test_an_empty_mask_is_a_segmentation_of_empty_frames(tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path / "in", stack_of(3), along_z(3), **STUDY))
    write_dicom_seg(np.zeros(volume.array.shape, bool), volume, LABELS, tmp_path / "empty")
    stored = pydicom.dcmread(tmp_path / "empty")
    assert stored.pixel_array.shape == (6, 5, 7) and not stored.pixel_array.any() and len(stored.SegmentSequence) == 2
    one = np.zeros(volume.array.shape, np.int64)
    one[1, 2, 3] = 2
    write_dicom_seg(one, volume, LABELS, tmp_path / "one")
    stored = pydicom.dcmread(tmp_path / "one")
    assert stored.NumberOfFrames == 1 and np.array_equal(np.squeeze(stored.pixel_array), one[1] == 2)


def test_headers_with_gaps_and_roundings_do(tmp_path: Path) -> None:
    """Without a thickness, patient and study; orientations that differ in a digit; a lone image without a place."""
    study = {name: value for name, value in STUDY.items() if name != "SliceThickness"}
    for k, (pixels, position) in enumerate(zip(stack_of(3), along_z(3), strict=True)):
        plane = {"ImageOrientationPatient": [1, 0, k * 1e-5, 0, 1, 0], "ImagePositionPatient": position}
        write(tmp_path / "in" / f"{k}", pixels, PixelSpacing=[1, 1], **plane, **study)
    ultrasound = {"SOPClassUID": ULTRASOUND, "Modality": "US", "StudyInstanceUID": "1", "PixelSpacing": [0.2, 0.2]}
    write(tmp_path / "us.dcm", stack_of(1)[0].astype(np.uint8), **ultrasound)
    for source in (tmp_path / "in", tmp_path / "us.dcm"):
        volume = read_volume(source)
        write_dicom_seg(classes_of(volume.array), volume, LABELS, tmp_path / "out")
        uids = [pydicom.dcmread(file).SOPInstanceUID for file, _ in volume.sources]
        segmentation = highdicom.seg.segread(tmp_path / "out")
        found = segmentation.get_pixels_by_source_instance(uids, combine_segments=True)
        assert np.array_equal(found, classes_of(volume.array))
        if volume.affine is not None:
            assert segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness == 2.5


@pytest.mark.parametrize("modality", ["US", "CR", "OT", "NM", "films of US"])
@pytest.mark.parametrize("stated", [["L", "F"], None])
def test_without_a_place_in_space_the_patient_orientation_is_that_of_the_image(
    tmp_path: Path, modality: str, stated: list[str] | None
) -> None:
    """Type 2C of the General Image module: required, perhaps empty, where there is no ImageOrientationPatient."""
    elements = {"StudyInstanceUID": "1", "Modality": modality[-2:], "SOPClassUID": SINGLE[modality]}
    elements |= {"FrameOfReferenceUID": None} if modality == "OT" else {}  # empty, as some converters write it
    elements |= {"PatientOrientation": stated} if stated else {}
    volume = read_volume(write(tmp_path / "a.dcm", stack_of(1)[0].astype(np.uint8), **elements))
    write_dicom_seg(classes_of(volume.array), volume, LABELS, tmp_path / "out.dcm")
    stored = pydicom.dcmread(tmp_path / "out.dcm")
    assert "FrameOfReferenceUID" not in stored
    assert "PatientOrientation" in stored and list(stored.PatientOrientation or []) == (stated or [])
    assert "PlaneOrientationSequence" not in stored.SharedFunctionalGroupsSequence[0]
    volume = read_volume(write_series(tmp_path / "in", stack_of(3), along_z(3), **STUDY))
    write_dicom_seg(classes_of(volume.array), volume, LABELS, tmp_path / "out.dcm")
    assert "PatientOrientation" not in pydicom.dcmread(tmp_path / "out.dcm")


@pytest.mark.parametrize("tilt", [0.0, 1.0])
def test_a_tilted_gantry_is_warned_of_and_each_slice_keeps_its_place(
    tmp_path: Path, predictor: Predictor, tilt: float
) -> None:
    positions = [[0, tilt * k, 3 * k] for k in range(3)]
    scan = write_series(tmp_path / "in", stack_of(3, 40, 50), positions, **STUDY)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predict_volume(predictor, scan, tmp_path / "out.nii", tta=1, dicom_seg=tmp_path / "out.dcm")
    assert [str(each.message) for each in caught if "tilted gantry" in str(each.message)] == (
        [f"{scan} was taken with a tilted gantry. Not every viewer shows a segmentation of it in its place: "
         "compare it with the images."] if tilt else []
    )  # fmt: skip
    groups = pydicom.dcmread(tmp_path / "out.dcm").PerFrameFunctionalGroupsSequence
    held = {tuple(map(float, group.PlanePositionSequence[0].ImagePositionPatient)) for group in groups}
    assert held <= {tuple(map(float, position)) for position in positions}


def test_only_an_earlier_segmentation_of_the_series_is_replaced(tmp_path: Path, predictor: Predictor) -> None:
    for place, uid in (("A", "1.1"), ("B", "1.2")):
        write_series(tmp_path / place, stack_of(3, 40, 50), along_z(3), SeriesInstanceUID=uid, **STUDY)
    for _ in range(2):
        predict_volume(predictor, tmp_path / "A", tmp_path / "A.nii", tta=1, dicom_seg=tmp_path / "seg.dcm")
    (tmp_path / "page.dcm").write_text("not DICOM")
    for taken in (tmp_path / "seg.dcm", tmp_path / "page.dcm"):
        before = taken.read_bytes()
        with pytest.raises(S2MNetError, match="already exists, and is not an earlier segmentation"):
            predict_volume(predictor, tmp_path / "B", tmp_path / "B.nii", tta=1, dicom_seg=taken)
        assert taken.read_bytes() == before and not (tmp_path / "B.nii").exists()


@pytest.mark.parametrize("order", ["SPL", "RIP", "IAR"])
def test_slices_of_another_plane_go_back_to_their_images(tmp_path: Path, order: str) -> None:
    write_series(tmp_path / "in", stack_of(6), along_z(6), **STUDY)
    volume = read_volume(tmp_path / "in", order)
    write_dicom_seg(classes_of(volume.array), volume, LABELS, tmp_path / "out.dcm")
    images = {image.SOPInstanceUID: image for image in map(pydicom.dcmread, (tmp_path / "in").iterdir())}
    held = highdicom.seg.segread(tmp_path / "out.dcm").get_pixels_by_source_instance(
        list(images), combine_segments=True
    )
    assert np.array_equal(held, [classes_of(image.pixel_array) for image in images.values()])


def test_masks_that_are_not_of_the_volume_are_refused(tmp_path: Path) -> None:
    volume = read_volume(write_series(tmp_path / "in", stack_of(3), along_z(3), **STUDY))
    mask, out = classes_of(volume.array), tmp_path / "out.dcm"
    for wrong, word in [
        (mask[1:], "shape"), (mask * 0.5, "float64"), (mask.astype(np.uint16) * 150, "0 to 300"),
        (mask.astype(np.int8) - 1, "-1 to 1"),
    ]:  # fmt: skip
        with pytest.raises(S2MNetError, match=word):
            write_dicom_seg(wrong, volume, LABELS, out)
    image = volume.sources[0][0]
    before = image.read_bytes()
    with pytest.raises(S2MNetError, match="an image of the input"):
        write_dicom_seg(mask, volume, LABELS, image)
    assert image.read_bytes() == before and not out.exists()


def nifti(folder: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(stack_of(3), np.eye(4)), folder / "in.nii")
    return folder / "in.nii"


def ultrasound_film(folder: Path) -> Path:
    return write(folder / "us.dcm", stack_of(3).astype(np.uint8), 3, Modality="US", StudyInstanceUID="1")


def without(*names: str) -> dict[str, object]:
    return {name: value for name, value in STUDY.items() if name not in names}


REFUSALS = {
    "nifti": (nifti, "not DICOM"),
    "ultrasound film": (ultrasound_film, "ImagePositionPatient, .*FrameOfReferenceUID"),
    "no frame of reference": (
        lambda folder: write_series(folder / "in", stack_of(3), along_z(3), **without("FrameOfReferenceUID")),
        "without FrameOfReferenceUID",
    ),
    "no study": (
        lambda folder: write_series(folder / "in", stack_of(3), along_z(3), **without("StudyInstanceUID")),
        "without StudyInstanceUID",
    ),
    "a film at one place": (
        lambda folder: write_series(folder / "in", stack_of(3), [[1, 2, 3]] * 3, **STUDY),
        "all lie at one place",
    ),
    "a private class": (
        lambda folder: write_series(folder / "in", stack_of(3), along_z(3), SOPClassUID="1.2.3.4.5", **STUDY),
        r"highdicom refuses \(KeyError",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_referred_to_is_refused_before_the_prediction(
    tmp_path: Path, predictor: Predictor, case: str
) -> None:
    make, word = REFUSALS[case]
    source, steps = make(tmp_path), []
    with pytest.raises(S2MNetError, match=word) as caught:
        predict_volume(
            predictor, source, tmp_path / "out.nii", tta=1, dicom_seg=tmp_path / "out.dcm",
            progress=lambda *step: steps.append(step),
        )  # fmt: skip
    assert "the NIfTI mask is written without it" in str(caught.value) and source.name in caught.value.where
    assert not steps and not list(tmp_path.glob("out*"))
    assert predict_volume(predictor, source, tmp_path / "out.nii", tta=1).is_file()


def test_without_highdicom_the_extra_is_named(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "in", stack_of(3), along_z(3), **STUDY)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(S2MNetError, match=r"pip install 's2mnet\[dicom-seg\]'"):
        predict_volume(predictor, tmp_path / "in", tmp_path / "out.nii", dicom_seg=tmp_path / "out.dcm")
    assert not list(tmp_path.glob("out*"))


def test_a_full_disk_leaves_the_nifti_and_no_half_segmentation(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "in", stack_of(3), along_z(3), **STUDY)
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "out.dcm":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(S2MNetError, match=r"No space left.*The NIfTI mask is written: .*out\.nii"):
        predict_volume(predictor, tmp_path / "in", tmp_path / "out.nii", dicom_seg=tmp_path / "out.dcm")
    assert (tmp_path / "out.nii").is_file() and not (tmp_path / "out.dcm").exists()


def test_the_command_line_writes_both_and_can_write_them_again(tmp_path: Path, model: Path, s2mnet: Cli) -> None:
    """Into the folder of the series itself, where the segmentation is not taken for an image of it."""
    scan = write_series(tmp_path / "scan", stack_of(3, 40, 50), along_z(3), **STUDY)
    for _ in range(2):
        status, out, err = s2mnet("predict", model, scan, "-o", scan, "--dicom-seg", "--tta", 1)
        assert status == 0 and "scan.seg.dcm" in out.replace("\n", ""), err
    volume = read_volume(scan)
    uids = [pydicom.dcmread(file).SOPInstanceUID for file, _ in volume.sources]
    segmentation = highdicom.seg.segread(scan / "scan.seg.dcm")
    found = segmentation.get_pixels_by_source_instance(uids, combine_segments=True)
    expected = np.asarray(nibabel.load(scan / "scan.nii.gz").dataobj).transpose(2, 1, 0)
    assert np.array_equal(np.array([0, 10, 300])[found], expected) and len(np.unique(expected)) > 1


def test_the_command_line_refuses_images_that_are_not_dicom(tmp_path: Path, model: Path, s2mnet: Cli) -> None:
    (tmp_path / "images").mkdir()
    Image.new("L", (40, 50)).save(tmp_path / "images" / "a.png")
    result = s2mnet("predict", model, tmp_path / "images", "-o", tmp_path / "out", "--dicom-seg")
    refused(result, "images", "not a DICOM file or series", "Omit --dicom-seg")
    refused(s2mnet("predict", model, nifti(tmp_path), "-o", tmp_path / "out", "--dicom-seg"), "in.nii", "not DICOM")
    assert not (tmp_path / "out").exists()
