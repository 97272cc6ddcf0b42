"""DICOM series with Segmentations by highdicom, with Structure Sets, and with NIfTI labels."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from outlines import outline
from scipy import ndimage
from sources import blobs, described, imported

from s2mnet.data.casetable import read_case_table
from s2mnet.errors import S2MNetError
from s2mnet.importing import import_data

pydicom = pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom-seg]'")
highdicom = pytest.importorskip("highdicom", reason="needs highdicom: pip install 's2mnet[dicom-seg]'")

ROWS, COLUMNS, SLICES = 24, 30, 4
STEP, SPACING, ORIGIN = 3.0, (0.5, 0.8), (-20.0, 11.0, 40.0)


def series(folder: Path, number: int, patient: str) -> list[pydicom.Dataset]:
    """A CT of noise; the files are named in another order than they lie."""
    headers = []
    uid = f"1.2.826.0.1.{number + 1}"
    for k in range(SLICES):
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
        data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = uid, f"{uid}.90", f"{uid}.91"
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = patient, "Doe^Jane", "", ""
        data.AccessionNumber = data.StudyID = data.StudyDate = data.StudyTime = ""
        data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 1, k + 1
        data.Rows, data.Columns, data.SamplesPerPixel = ROWS, COLUMNS, 1
        data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 1
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit = 15
        data.PixelSpacing, data.SliceThickness = list(SPACING), STEP
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + STEP * k]
        data.PixelData = np.random.default_rng(number * 10 + k).integers(0, 900, (ROWS, COLUMNS), np.int16).tobytes()
        folder.mkdir(parents=True, exist_ok=True)
        data.save_as(folder / f"{(7 * k) % 11}.dcm", enforce_file_format=True)
        headers.append(data)
    return headers


def truth_of(number: int, values: int = 2) -> np.ndarray:
    """Labels (slice, row, column); the first slice has none."""
    slices = [blobs(10 * number + k, values, ROWS, COLUMNS) for k in range(SLICES)]
    slices[0][:] = 0
    return np.stack(slices)


def segmentation(file: Path, headers: list[pydicom.Dataset], mask: np.ndarray, names: list[str]) -> None:
    from pydicom.sr.codedict import codes

    described_by = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.Tissue, codes.SCT.Tissue, "MANUAL")
        for number, name in enumerate(names, start=1)
    ]
    made = highdicom.seg.Segmentation(
        headers, mask, "BINARY", described_by, highdicom.UID(), 9, highdicom.UID(), 1, "maker", "model", "1", "0"
    )
    made.save_as(file)


def structures(file: Path, headers: list[pydicom.Dataset], mask: np.ndarray, names: list[str]) -> None:
    """Contours along the edges of pixels; an object with a hole has a second contour within the first."""
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.RTStructureSetStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = highdicom.UID()
    data.Modality, data.PatientID = "RTSTRUCT", headers[0].PatientID
    item = pydicom.Dataset
    of_series, study, frame = item(), item(), item()
    of_series.SeriesInstanceUID = headers[0].SeriesInstanceUID
    study.RTReferencedSeriesSequence = [of_series]
    frame.RTReferencedStudySequence, frame.FrameOfReferenceUID = [study], headers[0].FrameOfReferenceUID
    data.ReferencedFrameOfReferenceSequence = [frame]
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, name in enumerate([*names, "isocentre"], start=1):
        roi, drawn = item(), item()
        roi.ROINumber, roi.ROIName, drawn.ReferencedROINumber, drawn.ContourSequence = number, name, number, []
        for k in range(SLICES):
            where = mask[k] == number
            filled = ndimage.binary_fill_holes(where)
            for region in (filled, filled & ~where):
                parts, count = ndimage.label(region)
                for part in range(1, count + 1):
                    contour = item()
                    corners = [
                        (ORIGIN[0] + (x - 0.5) * SPACING[1], ORIGIN[1] + (y - 0.5) * SPACING[0], ORIGIN[2] + STEP * k)
                        for x, y in outline(parts == part)
                    ]
                    contour.ContourGeometricType = "CLOSED_PLANAR"
                    contour.NumberOfContourPoints = len(corners)
                    contour.ContourData = [f"{value:.4f}" for corner in corners for value in corner]
                    drawn.ContourSequence.append(contour)
        if name == "isocentre":
            point = item()
            point.ContourGeometricType, point.NumberOfContourPoints = "POINT", 1
            point.ContourData = list(ORIGIN)
            drawn.ContourSequence = [point]
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    data.save_as(file, enforce_file_format=True)


def check(folder: Path, truth: dict[str, np.ndarray]) -> None:
    held = imported(folder)
    assert len(held) == SLICES * len(truth)
    for case, mask in truth.items():
        for k in range(SLICES):
            np.testing.assert_array_equal(held[f"{case}_slice{k:03d}"][1], mask[k])


@pytest.mark.parametrize("write", [segmentation, structures])
def test_objects_of_dicom(tmp_path: Path, write: object) -> None:
    """Two patients; the second has one of the two structures, under another number."""
    truth = {}
    for number in range(2):
        mask = truth_of(number, 2 - number)
        headers = series(tmp_path / f"src/study{number}/ct{number}", number, f"MRN-00{7 - number}")
        names = ["liver", "tumour"] if number == 0 else ["tumour"]
        assert callable(write)
        write(tmp_path / f"src/study{number}/labels.dcm", headers, mask, names)
        truth[f"ct{number}"] = mask * 2 if number else mask
    series(tmp_path / "src/study9/ct9", 9, "MRN-009")
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "dicom" and any("1 image has no mask" in note and "ct9" in note for note in done.notes)
    check(tmp_path / "data", truth)
    facts = described(tmp_path / "data")
    assert facts["classes"] == {0: "background", 1: "liver", 2: "tumour"} and facts["orientation"] == "SPL"
    table = read_case_table(tmp_path / "data")
    assert table and table["ct0_slice002"].row_mm == 0.5 and table["ct0_slice002"].column_mm == 0.8
    assert table["ct0_slice002"].patient == "patient002" and table["ct1_slice002"].patient == "patient001"
    assert "MRN" not in (tmp_path / "data/cases.csv").read_text()


@pytest.mark.parametrize("place", ["{}/seg.nii.gz", "seg_{}.nii.gz", "{}.nii.gz"])
def test_labels_in_nifti(tmp_path: Path, place: str) -> None:
    truth = {}
    for number in range(2):
        mask = truth_of(number)
        folder = f"p{number}" if place == "seg_{}.nii.gz" else ""
        series(tmp_path / "src" / folder / f"ct{number}", number, f"a{number}")
        affine = np.diag([-SPACING[1], -SPACING[0], STEP, 1.0])
        affine[:3, 3] = -ORIGIN[0], -ORIGIN[1], ORIGIN[2]
        file = tmp_path / "src" / folder / place.format(f"ct{number}")
        nibabel.save(nibabel.Nifti1Image(mask.transpose(2, 1, 0), affine), file)
        truth[f"ct{number}"] = mask
    import_data(tmp_path / "src", tmp_path / "data")
    check(tmp_path / "data", truth)


def test_a_segmentation_in_another_place_is_refused(tmp_path: Path) -> None:
    headers = series(tmp_path / "src/ct", 0, "a")
    for header in headers:
        header.ImagePositionPatient = [0.0, 0.0, float(header.ImagePositionPatient[2])]
    segmentation(tmp_path / "src/labels.dcm", headers, truth_of(0), ["liver", "tumour"])
    with pytest.raises(S2MNetError, match=r"has a frame at .* where ct has no slice"):
        import_data(tmp_path / "src", tmp_path / "data")


def test_two_readers_of_one_series_are_refused(tmp_path: Path) -> None:
    headers = series(tmp_path / "src/ct", 0, "a")
    for reader in "ab":
        segmentation(tmp_path / f"src/{reader}.dcm", headers, truth_of(0), ["liver", "tumour"])
    with pytest.raises(S2MNetError, match=r"liver occurs twice: a\.dcm, b\.dcm"):
        import_data(tmp_path / "src", tmp_path / "data")


def test_labels_of_no_series_are_refused(tmp_path: Path) -> None:
    headers = series(tmp_path / "elsewhere/ct", 0, "a")
    series(tmp_path / "src/ct", 1, "a")
    segmentation(tmp_path / "src/labels.dcm", headers, truth_of(0), ["liver", "tumour"])
    with pytest.raises(S2MNetError, match=r"labels\.dcm labels no series of the folder"):
        import_data(tmp_path / "src", tmp_path / "data")
