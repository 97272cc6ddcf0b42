"""The order of slices and where they lie in space."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.volumes.dicom.frames import Frame

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_PLACE = 0.01  # mm: slices no farther apart share a place
_ROUNDING = 1e-3  # relative difference of pixel spacings that are equal
_UNEVEN = 0.2  # of the step: a slice farther from the even grid is not where the affine puts it

Spacing = tuple[float | None, float | None, float | None]


def arrange(path: Path, frames: list[Frame]) -> tuple[list[Frame], Spacing, np.ndarray | None]:
    """Sort frames, and derive mm between slices, rows and columns, and the affine.

    Slices with a known position are ordered along the normal of their plane (row × column), else by InstanceNumber.
    Slices that share one place (a film of a beating heart) are ordered by InstanceNumber; their spacing is unknown,
    and the affine takes the stated thickness, or 1 mm. A tilted gantry gives a sheared affine.

    Args:
        path: for messages.
        frames: at least one.

    Returns:
        Frames, spacing, and the affine (4, 4) from (column, row, slice) to RAS+ mm, or None where unknown.

    Raises:
        S2MNetError: slices differ in orientation or pixel size; two share a place; they are not evenly spaced, as
            when one is missing; two share an InstanceNumber and have no position.
    """
    pixel_spacing = _pixel_spacing(path, frames)
    rows, columns = pixel_spacing or (None, None)
    orientations = [frame.orientation for frame in frames if frame.orientation is not None]
    positions = [frame.position for frame in frames if frame.position is not None]
    for name, known in (("position", positions), ("orientation", orientations)):
        odd = [frame for frame in frames if getattr(frame, name) is None]
        if known and odd:
            element = f"Image{name.title()}Patient (first {_name(odd[0])})"
            problem = f"has {len(odd)} of {len(frames)} slices without {element}"
            raise S2MNetError(path, problem, "Export the series again, or remove what does not belong to it.")
    if pixel_spacing is None or not orientations or not positions:
        return _by_number(path, frames), (None, rows, columns), None
    orientation = orientations[0]
    if not all(np.allclose(other, orientation, atol=0.01) for other in orientations):
        fix = "Remove the localizers or other views from the folder."
        raise S2MNetError(path, "has slices of several orientations", fix)
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    places = np.array(positions) @ normal
    if np.ptp(places) <= _SAME_PLACE:
        ordered = _by_number(path, frames)
        spacing = frames[0].thickness if len(frames) == 1 else None
        step = normal * (frames[0].thickness or 1.0)
    else:
        order = np.argsort(places, kind="stable")
        ordered = [frames[index] for index in order]
        step = _step(path, ordered, np.array(positions)[order], places[order])
        spacing = float(np.linalg.norm(step))
    origin = positions[frames.index(ordered[0])]
    affine = np.eye(4)
    affine[:3] = np.column_stack([row * pixel_spacing[1], column * pixel_spacing[0], step, origin])
    return ordered, (spacing, rows, columns), LPS_TO_RAS @ affine


def _pixel_spacing(path: Path, frames: list[Frame]) -> tuple[float, float] | None:
    """The one pixel spacing of all; differences by rounding do not count."""
    first = frames[0].pixel_spacing
    for frame in frames:
        own = frame.pixel_spacing
        if (own is None) != (first is None) or (own and first and not np.allclose(own, first, rtol=_ROUNDING)):
            problem = f"has slices of several pixel spacings: {first} in {_name(frames[0])}, {own} in {_name(frame)}"
            raise S2MNetError(path, problem, "Give slices of one spacing: move each group into a folder of its own.")
    return first


def _step(path: Path, frames: list[Frame], positions: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The vector from one slice to the next, LPS mm; ``places`` are the positions along the normal, ascending."""
    gaps = np.diff(places)
    nearest = int(gaps.argmin())
    if gaps[nearest] <= _SAME_PLACE:
        pair = f"{_name(frames[nearest])} and {_name(frames[nearest + 1])}"
        fix = "Keep one time point, echo or reconstruction per folder."
        raise S2MNetError(path, f"has two slices at one place ({pair})", fix)
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    off = np.linalg.norm(positions - positions[0] - np.arange(len(frames))[:, None] * step, axis=1)
    if off.max() > _UNEVEN * np.linalg.norm(step):
        usual, widest = float(np.median(gaps)), int(gaps.argmax())
        problem = (
            f"has slices that are not evenly spaced: {gaps[widest]:.2f} mm between {_name(frames[widest])} and "
            f"{_name(frames[widest + 1])}, {usual:.2f} mm as a rule; a NIfTI holds only even distances"
        )
        raise S2MNetError(path, problem, "Add the missing slices, or keep an evenly spaced part.")
    return step


def _by_number(path: Path, frames: list[Frame]) -> list[Frame]:
    numbered = [frame for frame in frames if frame.number is not None]
    if len(frames) > 1 and len({frame.number for frame in numbered}) < len(frames):
        problem = f"has {len(frames)} slices without distinct positions or InstanceNumbers, so their order is unknown"
        raise S2MNetError(path, problem, "Export the series again.")
    return sorted(frames, key=lambda frame: frame.number or 0)


def _name(frame: Frame) -> str:
    return f"{frame.file.name} frame {frame.index + 1}" if frame.index else frame.file.name
