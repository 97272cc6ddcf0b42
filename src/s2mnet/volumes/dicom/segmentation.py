"""A mask as a DICOM Segmentation object (PS3.3 A.51). The extra highdicom is imported when one is made."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.data.labels import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.guard import guarded
from s2mnet.version import __version__
from s2mnet.volumes.dicom.files import load_dataset
from s2mnet.volumes.dicom.frames import whole
from s2mnet.volumes.volume import Volume, check_mask, is_same_file, is_sheared

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
# Elements of type 2: the standard allows them to be empty, highdicom requires them to be present.
_OF_PATIENT_AND_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
)  # fmt: skip
_UTF_8 = "ISO_IR 192"  # class names may need letters that the images do not
_MAKER = "s2mnet"
_LONGEST_LABEL = 64  # characters of a LO element
_FIRST_SERIES = 1000  # added to the SeriesNumber of the images: far from the scanner's own, and in their order
_OMIT = "Leave out the segmentation object (--dicom-seg): the NIfTI mask is written without it."


def check_dicom_seg(volume: Volume, labels: LabelMap, path: str | Path) -> None:
    """Check before a long prediction that :func:`write_dicom_seg` will accept the volume.

    Args:
        volume: from :func:`s2mnet.volumes.read_volume`.
        labels: the classes of the mask.
        path: the file to be written.

    Raises:
        S2MNetError: as :func:`write_dicom_seg`, except for a wrong mask or a full disk.
    """
    path = Path(path)
    if path.exists() and not _is_earlier(path, volume):
        problem = f"already exists, and is not an earlier segmentation of {volume.path}"
        raise S2MNetError(path, problem, "Choose another folder with -o, or remove the file.")
    if volume.affine is not None and is_sheared(volume.affine):
        tilted = (
            f"{volume.path} was taken with a tilted gantry. Not every viewer shows a segmentation of it in its place"
        )
        warnings.warn(f"{tilted}: compare it with the images.", stacklevel=3)
    trial = np.zeros(volume.array.shape[:3], np.uint8)
    trial[0, 0, 0] = 1  # one frame is enough for highdicom to check the headers
    _encode(trial, volume, labels, path)


def write_dicom_seg(mask: np.ndarray, volume: Volume, labels: LabelMap, path: str | Path) -> None:
    """Write a mask as a DICOM Segmentation object that refers to the images. The write is atomic.

    Every class except the background becomes a binary segment: its number is the class index, its label the name of
    the class, its algorithm AUTOMATIC. Property category and type are "Tissue" (SCT 85756007) for every class, since a
    program cannot know what a class means. Patient, study and frame of reference are copied from the images; the
    series is new. Frames without a pixel of their segment are left out; an empty mask keeps all of them. Where the
    images state no slice thickness, it is the distance between slices as in the NIfTI, or 1 mm for a single image.

    Args:
        mask: class indices (n, H, W), integers or booleans.
        volume: the images, from :func:`s2mnet.volumes.read_volume`: a series of files with one frame each, one file
            with many frames of an enhanced class, or a single image (which needs no position in space).
        labels: the classes.
        path: the file to write. An existing file is replaced.

    Raises:
        S2MNetError: highdicom is not installed; the volume is not DICOM, lacks UIDs, or has several frames without
            distinct positions in a frame of reference; the path is one of the images, or cannot be written; the mask
            has another shape, or an index that is no class.

    Example:
        volume = read_volume("scans/ct")
        write_dicom_seg(indices, volume, predictor.config.labels, "ct.seg.dcm")
    """
    path, mask = Path(path), np.asarray(mask)
    check_mask(path, mask, volume, highest=labels.num_classes - 1)
    buffer = io.BytesIO()
    _encode(mask.astype(np.uint8), volume, labels, path).save_as(buffer, enforce_file_format=True)
    write_atomically(path, buffer.getvalue())


def _encode(mask: np.ndarray, volume: Volume, labels: LabelMap, path: Path) -> Any:
    """The highdicom Segmentation of class indices (n, H, W) in the order of the volume."""
    try:
        import highdicom
    except ImportError:
        problem = "cannot be written: highdicom, which makes DICOM segmentations, is not installed"
        raise S2MNetError(path, problem, "Install it: pip install 's2mnet[dicom-seg]'.") from None
    if not volume.sources:
        raise S2MNetError(volume.path, "is not DICOM, so a segmentation object cannot refer to it", _OMIT)
    if any(is_same_file(path, file) for file, _ in volume.sources):
        raise S2MNetError(path, "is an image of the input", "Choose another name for the output.")
    headers = [load_dataset(file, pixels=False) for file in dict.fromkeys(file for file, _ in volume.sources)]
    _check_headers(volume, headers)
    mask = volume.in_file_order(mask).transpose(2, 1, 0)
    if len(headers) == 1:  # highdicom takes the frames of a file in stored order
        mask = mask[np.argsort([index for _, index in volume.sources])]
    with guarded(volume.path, "has headers that highdicom refuses", _OMIT), warnings.catch_warnings():
        _fill_gaps(headers, volume.affine, len(volume.sources))
        # The name of an anonymous patient has one part.
        warnings.filterwarnings("ignore", "The string .* is unlikely to represent the intended person name")
        segmentation = highdicom.seg.Segmentation(
            source_images=headers,
            pixel_array=mask,
            segmentation_type="BINARY",
            segment_descriptions=_segments(labels),
            series_instance_uid=highdicom.UID(),
            series_number=_FIRST_SERIES + (whole(headers[0], "SeriesNumber") or 0),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name="S2M-Net",
            software_versions=__version__,
            device_serial_number="none",  # required, and a program has none
            content_label="SEGMENTATION",
            content_description="Segmentation by s2mnet",
            series_description="Segmentation by s2mnet",
        )
    segmentation.SpecificCharacterSet = _UTF_8  # older versions of highdicom leave it out
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    if "PlaneOrientationSequence" not in shared:
        # Required then, if only to be empty (PS3.3 C.7.6.1): ultrasound, radiographs, photographs.
        segmentation.PatientOrientation = headers[0].get("PatientOrientation")
        if not (shared.get("PixelMeasuresSequence") or [None])[0]:
            shared.pop("PixelMeasuresSequence", None)
    return segmentation


def _is_earlier(path: Path, volume: Volume) -> bool:
    """Whether a file is a segmentation that this module made of the same series."""
    try:
        old, image = (load_dataset(file, pixels=False) for file in (path, volume.sources[0][0]))
        series = old.ReferencedSeriesSequence[0].SeriesInstanceUID
        return bool(old.Modality == "SEG" and old.Manufacturer == _MAKER and series == image.SeriesInstanceUID)
    except (S2MNetError, AttributeError, IndexError):
        return False


def _check_headers(volume: Volume, headers: list[Any]) -> None:
    """Name what is commonly missing, before highdicom stumbles over it."""
    missing = [name for name in _UIDS if not all(header.get(name) for header in headers)]
    if len(volume.sources) > 1:
        if volume.affine is None:
            missing.append("the positions of its slices (ImagePositionPatient, ImageOrientationPatient, PixelSpacing)")
        if not all(header.get("FrameOfReferenceUID") for header in headers):
            missing.append("FrameOfReferenceUID")
    if missing:
        problem = f"is DICOM without {', '.join(missing)}, so a segmentation object cannot refer to it"
        raise S2MNetError(volume.path, problem, _OMIT)
    if len(volume.sources) > 1 and volume.spacing[0] is None:
        raise S2MNetError(volume.path, "has slices that all lie at one place (a film)", _OMIT)


def _fill_gaps(headers: list[Any], affine: np.ndarray | None, frames: int) -> None:
    """Add, in memory, what highdicom requires and :mod:`s2mnet.volumes` does without."""
    from pydicom.dataset import Dataset

    first = headers[0]
    first.decode()
    first.SpecificCharacterSet = _UTF_8
    for name in _OF_PATIENT_AND_STUDY:
        if name not in first:
            setattr(first, name, None)
    if "ImageOrientationPatient" in first:  # highdicom rejects differences by rounding
        for header in headers[1:]:
            header.ImageOrientationPatient = first.ImageOrientationPatient
    if not first.get("FrameOfReferenceUID"):
        first.pop("FrameOfReferenceUID", None)  # an empty one would be copied
    measures, own = first, first.get("PerFrameFunctionalGroupsSequence")
    if own:  # some scanners repeat for each frame what all have in common
        if not first.get("SharedFunctionalGroupsSequence"):
            first.SharedFunctionalGroupsSequence = [Dataset()]
        shared = first.SharedFunctionalGroupsSequence[0]
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            if name not in shared and name in own[0]:
                setattr(shared, name, own[0].get(name))
        measures = shared.PixelMeasuresSequence[0]
    if not measures.get("SliceThickness"):  # without it highdicom cannot read its own file
        if affine is None:
            measures.pop("PixelSpacing", None)
        else:
            measures.SliceThickness = float(f"{np.linalg.norm(affine[:3, 2]):.8g}")  # as in the NIfTI
    if frames == 1 and "ImagePositionPatient" not in first and "SharedFunctionalGroupsSequence" not in first:
        # One frame of an old class for films (NM, ultrasound): highdicom asks for the groups of new classes.
        first.NumberOfFrames = 1
        first.SharedFunctionalGroupsSequence, first.PerFrameFunctionalGroupsSequence = [Dataset()], [Dataset()]
        measures = Dataset()
        for name in ("PixelSpacing", "SliceThickness"):
            if first.get(name):
                setattr(measures, name, first.get(name))
        first.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [measures]


def _segments(labels: LabelMap) -> list[Any]:
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="s2mnet", family=codes.cid7162.ArtificialIntelligence, version=__version__
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name.replace("\\", "/")[:_LONGEST_LABEL],  # a backslash separates two values
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(labels.names[1:], 1)
    ]
