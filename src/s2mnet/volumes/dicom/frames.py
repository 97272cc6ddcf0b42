"""The header of each frame: classic (one for the file) or enhanced (functional groups per frame)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.guard import guarded

_LONGEST_TEXT = 64  # letters
_GROUPS = {  # of the elements of a frame in an enhanced file, PS3.3 C.7.6.16.2
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
_CENTIMETRES = 3  # PhysicalUnitsXDirection of an ultrasound region, DICOM PS3.3 C.8.5.5.1.15


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice before its pixels are read.

    Attributes:
        file: the file with the frame.
        index: of the frame in the file, from 0.
        number: InstanceNumber; in a file with many frames, the index.
        position: (3,) mm, LPS+, of the centre of the first pixel; None if unknown.
        orientation: (6,) unit vectors along a row and along a column, LPS+; None if unknown.
        pixel_spacing: mm between rows and between columns; None if unknown.
        thickness: mm to the next slice: SpacingBetweenSlices, else SliceThickness; None if unknown.
        slope, intercept: from stored values to the units of the modality.
        window: (centre, width), with centre ± width/2 as the exact limits; None if there is none.
    """

    file: Path
    index: int
    number: int | None
    position: np.ndarray | None
    orientation: np.ndarray | None
    pixel_spacing: tuple[float, float] | None
    thickness: float | None
    slope: float
    intercept: float
    window: tuple[float, float] | None


def read_frames(file: Path, header: Any) -> list[Frame]:
    """List the frames of a file in stored order.

    Raises:
        S2MNetError: an element of the header is malformed.
    """
    with guarded(file, "has a malformed header", "Export it again."):  # pydicom parses an element on first access
        count = whole(header, "NumberOfFrames") or 1
        return [_frame(file, header, index, count) for index in range(count)]


def _frame(file: Path, header: Any, index: int, count: int) -> Frame:
    def numbers(name: str, count: int) -> list[float] | None:
        return _floats(_macro(header, index, _GROUPS[name]), name, count)

    def number(name: str) -> float:
        return (numbers(name, 1) or [0.0])[0]

    position, orientation = numbers("ImagePositionPatient", 3), _orientation(numbers("ImageOrientationPatient", 6))
    offset = _offset(header, index) if count > 1 else 0.0
    if position and offset and orientation is not None:
        position = list(position + offset * np.cross(orientation[:3], orientation[3:]))
    spacing = numbers("PixelSpacing", 2) or _ultrasound_spacing(header)
    return Frame(
        file=file,
        index=index,
        number=index if count > 1 else whole(header, "InstanceNumber"),
        position=None if position is None else np.array(position),
        orientation=orientation,
        pixel_spacing=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        thickness=abs(number("SpacingBetweenSlices") or number("SliceThickness")) or None,
        slope=number("RescaleSlope") or 1.0,
        intercept=number("RescaleIntercept"),
        window=_window(_macro(header, index, "FrameVOILUTSequence")),
    )


def whole(header: Any, name: str) -> int | None:
    """An element as an integer; None if it is missing or is none, which is no reason to refuse the image."""
    try:
        return int(header.get(name))
    except (TypeError, ValueError, OverflowError):
        return None


def text(header: Any, name: str) -> str:
    """An element for a message: printable, and of bounded length."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(header.get(name) or "")[:_LONGEST_TEXT])


def _offset(header: Any, index: int) -> float:
    """Millimetres along the normal from the position of a classic file of many frames to one of them.

    Radiotherapy doses list them; slices reconstructed in nuclear medicine are evenly spaced (PS3.3 C.8.8.3, C.8.4.15).
    """
    offsets = _floats(header, "GridFrameOffsetVector", index + 1)
    if offsets:
        return offsets[index] - offsets[0]
    kind = [*(header.get("ImageType") or ()), "", "", ""][2]
    step = _floats(header, "SpacingBetweenSlices", 1) if kind.startswith("RECON") else None
    return index * step[0] if step else 0.0


def _macro(header: Any, index: int, name: str) -> Any:
    """The functional group of a frame: its own, else the shared one, else the header (a classic file)."""
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    groups = [own[index]] if own and index < len(own) else []
    groups += [shared[0]] if shared else []
    detector = header.get("DetectorInformationSequence")  # holds position and orientation in nuclear medicine
    fallback = detector[0] if detector and name.startswith("Plane") else header
    return next((group.get(name)[0] for group in groups if group.get(name)), fallback)


def _floats(item: Any, name: str, count: int) -> list[float] | None:
    """The first ``count`` numbers of an element; None if it is missing, empty, too short or not finite."""
    value = item.get(name)
    if value is None or value == "":
        return None
    numbers = [float(number) for number in ([value] if isinstance(value, (str, int, float)) else value)][:count]
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _orientation(numbers: list[float] | None) -> np.ndarray | None:
    if numbers is None:
        return None
    row, column = np.array(numbers[:3]), np.array(numbers[3:])
    norms = np.linalg.norm(row), np.linalg.norm(column), np.linalg.norm(np.cross(row, column))
    return np.array(numbers) if np.allclose(norms, 1, atol=0.01) else None


def _window(item: Any) -> tuple[float, float] | None:
    """The first window. LINEAR, the default, spans centre − width/2 to centre + width/2 − 1 (PS3.3 C.11.2.1.2)."""
    centre, width = _floats(item, "WindowCenter", 1), _floats(item, "WindowWidth", 1)
    if not centre or not width:
        return None
    if (item.get("VOILUTFunction") or "LINEAR") == "LINEAR":
        centre, width = [centre[0] - 0.5], [width[0] - 1]
    return (centre[0], width[0]) if width[0] > 0 else None


def _ultrasound_spacing(header: Any) -> list[float] | None:
    """The spacing if all regions share one calibration in centimetres (2-D tissue, not a Doppler trace)."""
    sizes = set()
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        if {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")} != {_CENTIMETRES}:
            return None
        steps = _floats(region, "PhysicalDeltaY", 1), _floats(region, "PhysicalDeltaX", 1)
        if not steps[0] or not steps[1]:
            return None
        sizes.add((abs(steps[0][0]) * 10, abs(steps[1][0]) * 10))
    return list(sizes.pop()) if len(sizes) == 1 else None
