"""A mask as a DICOM Segmentation object (PS3.3 A.51). highdicom, an extra, is imported when one is made."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet import __version__
from s2mnet.data.labels import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.volumes.dicom.files import load_dataset
from s2mnet.volumes.volume import Volume

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
# Elements that the standard lets be empty (type 2); highdicom insists that they are there.
_OF_PATIENT_AND_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip
_UTF_8 = "ISO_IR 192"  # names of classes may need more letters than the images have
_LONGEST_LABEL = 64  # characters of a LO element
_NUMBERED_FROM = 1000  # SeriesNumber: far from those of the scanner, and yet in their order
_EXPECTED = "a DICOM series that a segmentation object can refer to"
_WITHOUT = "Leave the segmentation object (--dicom-seg) out: the NIfTI mask is written without it."


def check_dicom_seg(volume: Volume, labels: LabelMap, path: str | Path) -> None:
    """Raise what :func:`write_dicom_seg` would raise for any mask: to be called before a long prediction.

    Args:
        volume: as :func:`s2mnet.volumes.read_volume` gives it.
        labels: what the mask will hold.
        path: the file that will be written.

    Raises:
        S2MNetError: see :func:`write_dicom_seg`; all but a wrong mask and a full disk.
    """
    trial = np.zeros(volume.array.shape[:3], np.uint8)
    trial[0, 0, 0] = 1  # one frame is enough to see whether highdicom takes the headers
    _encode(trial, volume, labels, Path(path))


def write_dicom_seg(mask: np.ndarray, volume: Volume, labels: LabelMap, path: str | Path) -> None:
    """Write a mask as a DICOM Segmentation object that refers to the images. The file appears whole or not at all.

    One binary segment per class but the background: its number is the class index, its label the name of the class,
    its algorithm AUTOMATIC. Property category and type are "Tissue" (SCT 85756007) for every class: what a class is a
    program cannot know. Patient, study and frame of reference are those of the images, the series is a new one. Frames
    without a pixel of their segment are left out; if the whole mask is empty all are there, and empty. A slice
    thickness that the images do not state is that of the NIfTI: the distance of the slices, of a single one 1 mm.

    Args:
        mask: class indices (n, H, W), integers or booleans.
        volume: the images, as :func:`s2mnet.volumes.read_volume` gives them: a series of files of one frame, one file
            of many frames of an enhanced class, or a single image (which needs no position in space).
        labels: the classes.
        path: the file to write; one that exists is replaced.

    Raises:
        S2MNetError: highdicom is not installed; the volume is no DICOM, lacks UIDs, or has many frames without places
            of their own in a frame of reference, or of a class that has one; the path is one of the images, or
            cannot be written; the mask has another shape, or an index that is no class.

    Example:
        volume = read_volume("scans/ct")
        write_dicom_seg(indices, volume, predictor.config.labels, "ct.seg.dcm")
    """
    path, mask = Path(path), np.asarray(mask)
    if mask.shape != volume.array.shape[:3] or mask.dtype.kind not in "bui":
        found = f"an array of shape {mask.shape} and type {mask.dtype}"
        expected = f"integers of shape {volume.array.shape[:3]}, as {volume.path.name} has"
        raise S2MNetError(path, found, expected, "Pass one class index per voxel.")
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high >= labels.num_classes:
        expected = f"class indices 0 to {labels.num_classes - 1}"
        raise S2MNetError(path, f"values {low} to {high}", expected, "Pass indices, not label values.")
    buffer = io.BytesIO()
    _encode(mask.astype(np.uint8), volume, labels, path).save_as(buffer, enforce_file_format=True)
    write_atomically(path, buffer.getvalue())


def _encode(mask: np.ndarray, volume: Volume, labels: LabelMap, path: Path) -> Any:
    """The highdicom Segmentation of class indices (n, H, W) in the order of the volume."""
    try:
        import highdicom
    except ImportError:
        expected, mend = "highdicom, which makes DICOM segmentations", "Install it: pip install 's2mnet[dicom-seg]'."
        raise S2MNetError(path, "no package highdicom", expected, mend) from None
    if not volume.sources:
        raise S2MNetError(volume.path, "an image that is not DICOM", _EXPECTED, _WITHOUT)
    if path.exists() and any(file.exists() and path.samefile(file) for file, _ in volume.sources):
        raise S2MNetError(path, "an image of the input", "another file for the output", "Change the name.")
    headers = [load_dataset(file, pixels=False) for file in dict.fromkeys(file for file, _ in volume.sources)]
    _check_headers(volume, headers)
    if len(headers) == 1:  # highdicom takes the frames of a file in stored order
        mask = mask[np.argsort([index for _, index in volume.sources])]
    try:
        _complete(headers, volume.affine)
        with warnings.catch_warnings():  # the name of an anonymous patient has one part
            warnings.filterwarnings("ignore", "The string .* is unlikely to represent the intended person name")
            segmentation = highdicom.seg.Segmentation(
                source_images=headers,
                pixel_array=mask,
                segmentation_type="BINARY",
                segment_descriptions=_segments(labels),
                series_instance_uid=highdicom.UID(),
                series_number=_NUMBERED_FROM + int(headers[0].get("SeriesNumber") or 0),
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer="s2mnet",
                manufacturer_model_name="S2M-Net",
                software_versions=__version__,
                device_serial_number="none",  # required, and a program has none
                content_label="SEGMENTATION",
                content_description="Segmentation by s2mnet",
                series_description="Segmentation by s2mnet",
            )
    except MemoryError:
        raise
    except Exception as error:  # an element that is missing or malformed: highdicom raises nearly anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise S2MNetError(volume.path, f"headers that highdicom refuses ({reason})", _EXPECTED, _WITHOUT) from None
    segmentation.SpecificCharacterSet = _UTF_8  # older versions of highdicom leave it out
    return segmentation


def _check_headers(volume: Volume, headers: list[Any]) -> None:
    """Raise, in our own words, for what is commonly missing."""
    missing = [name for name in _UIDS if not all(header.get(name) for header in headers)]
    if len(volume.sources) > 1:
        if volume.affine is None:
            missing.append("the places of its slices (ImagePositionPatient, ImageOrientationPatient, PixelSpacing)")
        if not all(header.get("FrameOfReferenceUID") for header in headers):
            missing.append("FrameOfReferenceUID")
    if missing:
        raise S2MNetError(volume.path, f"DICOM without {', '.join(missing)}", _EXPECTED, _WITHOUT)
    if len(volume.sources) > 1 and volume.spacing[0] is None:
        found = "slices that all lie at one place (a film)"
        raise S2MNetError(volume.path, found, "slices whose places tell them apart", _WITHOUT)


def _complete(headers: list[Any], affine: np.ndarray | None) -> None:
    """Put in place, in memory, what highdicom insists on and :mod:`s2mnet.volumes` can read a volume without."""
    from pydicom.dataset import Dataset

    first = headers[0]
    first.decode()
    first.SpecificCharacterSet = _UTF_8
    for name in _OF_PATIENT_AND_STUDY:
        if name not in first:
            setattr(first, name, None)
    if "ImageOrientationPatient" in first:  # several that differ by their rounding are one; highdicom wants them equal
        for header in headers[1:]:
            header.ImageOrientationPatient = first.ImageOrientationPatient
    measures, own = first, first.get("PerFrameFunctionalGroupsSequence")
    if own:  # what all frames have in common some scanners repeat for each
        if not first.get("SharedFunctionalGroupsSequence"):
            first.SharedFunctionalGroupsSequence = [Dataset()]
        shared = first.SharedFunctionalGroupsSequence[0]
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            if name not in shared and name in own[0]:
                setattr(shared, name, own[0].get(name))
        measures = shared.PixelMeasuresSequence[0]
    if not measures.get("SliceThickness"):  # without it highdicom does not read what it writes
        if affine is None:
            measures.pop("PixelSpacing", None)
        else:
            measures.SliceThickness = float(f"{np.linalg.norm(affine[:3, 2]):.8g}")  # as in the NIfTI


def _segments(labels: LabelMap) -> list[Any]:
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="s2mnet", family=codes.cid7162.ArtificialIntelligence, version=__version__
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name.replace("\\", "/")[:_LONGEST_LABEL],  # a backslash would part two values
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(labels.names[1:], 1)
    ]
