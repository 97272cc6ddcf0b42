"""The objects of DICOM Segmentations and RT Structure Sets, as masks in the grid of their series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.importing.shapes import polygon
from s2mnet.volumes import Volume
from s2mnet.volumes.dicom.files import load_dataset
from s2mnet.volumes.dicom.frames import read_frames
from s2mnet.volumes.dicom.geometry import LPS_TO_RAS
from s2mnet.volumes.dicom.reader import read_dicom_grid

_NEAR = 0.1  # mm between the places of a slice and of its segmentation
_FLAT = 0.5  # slices between the points of a contour and its slice
_CLOSED = "CLOSED_PLANAR"
_RESAMPLE = "Save the segmentation in the grid of its series, e.g. in 3D Slicer, or as NIfTI."


def labels_of(header: Any) -> dict[int, str]:
    """The names of the segments of a Segmentation, or of the closed structures of a Structure Set, by number."""
    if header.Modality == "SEG":
        return {int(one.SegmentNumber): str(one.SegmentLabel) for one in header.SegmentSequence if one.SegmentNumber}
    contours = {int(one.ReferencedROINumber): one for one in header.ROIContourSequence}
    names = {int(one.ROINumber): str(one.ROIName) for one in header.StructureSetROISequence}
    return {number: name for number, name in names.items() if number in contours and _closed(contours[number])}


def _closed(structure: Any) -> list[Any]:
    contours = structure.get("ContourSequence") or []
    return [contour for contour in contours if str(contour.ContourGeometricType) == _CLOSED]


def read_objects(series: Path, files: Sequence[Path], values: Mapping[str, int], plane: str) -> np.ndarray:
    """The label values (slices, H, W) of the objects of a series; where they overlap, the smaller one counts.

    Args:
        series: a DICOM file, or the folder of a series.
        files: its Segmentations and Structure Sets.
        values: the label value of each class.
        plane: the directions of slices, rows and columns.

    Raises:
        S2MNetError: a file cannot be read, or does not lie in the grid of the series.
    """
    volume = read_dicom_grid(series, plane)
    objects: list[tuple[int, int, np.ndarray]] = []
    for file in files:
        header = load_dataset(file, pixels=False)
        with guarded(file, "cannot be read as labels of its series", "Export it again."):
            read = _segments if header.Modality == "SEG" else _structures
            objects += [(int(held.sum()), values[name], held) for name, held in read(file, volume)]
    shape = tuple(volume.array.shape[place] for place in np.argsort(volume.axes))
    grid = np.zeros(shape, np.uint8)
    for _, value, held in sorted(objects, key=lambda each: -each[0]):
        grid[held] = value
    return np.ascontiguousarray(np.flip(grid.transpose(volume.axes), volume.flipped))


def _segments(file: Path, volume: Volume) -> Iterator[tuple[str, np.ndarray]]:
    """Each segment with its voxels, bool in the order of the file's axes (column, row, slice)."""
    try:
        import highdicom
    except ImportError:
        problem = "is a DICOM Segmentation, and highdicom, which reads them, is not installed"
        raise S2MNetError(file, problem, "Install it: pip install 's2mnet[dicom-seg]'.") from None
    segmentation = highdicom.seg.segread(file)
    _check_places(file, segmentation, volume)
    files = [source for source, _ in volume.sources]
    uids = {source: str(load_dataset(source, pixels=False).SOPInstanceUID) for source in dict.fromkeys(files)}
    options: dict[str, Any] = {"assert_missing_frames_are_empty": True, "ignore_spatial_locations": True}
    for number, name in labels_of(segmentation).items():
        if len(uids) == len(files):
            uid_list = [uids[source] for source in files]
            pixels = segmentation.get_pixels_by_source_instance(uid_list, segment_numbers=[number], **options)
        else:
            frames = [index + 1 for _, index in volume.sources]
            pixels = segmentation.get_pixels_by_source_frame(
                uids[files[0]], frames, segment_numbers=[number], **options
            )
        yield name, (pixels[..., 0] >= 0.5).transpose(2, 1, 0)


def _check_places(file: Path, segmentation: Any, volume: Volume) -> None:
    """Raise unless the frames are slices of the volume."""
    columns, rows, _ = volume.shape
    size = int(segmentation.Rows), int(segmentation.Columns)
    if size != (rows, columns):
        problem = f"has {size[0]} × {size[1]} px (rows × columns); the slices of {volume.path.name} have"
        raise S2MNetError(file, f"{problem} {rows} × {columns}", _RESAMPLE)
    if volume.affine is None:
        return
    to_index = np.linalg.inv(LPS_TO_RAS @ volume.affine)
    steps = np.linalg.norm(volume.affine[:3, :3], axis=0)
    for frame in read_frames(file, segmentation):
        if frame.position is None:
            continue
        index = (to_index @ np.append(frame.position, 1))[:3]
        off = np.abs((index - [0, 0, np.rint(index[2])]) * steps).max()
        if off > max(_NEAR, 0.05 * steps[2]) or not -0.5 < index[2] < volume.shape[2] - 0.5:
            where = " ".join(f"{value:.1f}" for value in frame.position)
            problem = f"has a frame at ({where}) mm, where {volume.path.name} has no slice"
            raise S2MNetError(file, problem, _RESAMPLE)


def _structures(file: Path, volume: Volume) -> Iterator[tuple[str, np.ndarray]]:
    """Each structure with its voxels: those whose centre lies in an odd number of contours of their slice."""
    if volume.affine is None:
        problem = f"has contours in millimetres; the position of {volume.path.name} in space is unknown"
        raise S2MNetError(file, problem, "Export the series with its positions.")
    header = load_dataset(file, pixels=False)
    names = labels_of(header)
    to_index = np.linalg.inv(LPS_TO_RAS @ volume.affine)
    for structure in header.ROIContourSequence:
        number = int(structure.ReferencedROINumber)
        if number not in names:
            continue
        held = np.zeros(volume.shape, bool)
        for contour in _closed(structure):
            points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
            index = np.column_stack([points, np.ones(len(points))]) @ to_index.T
            place = int(np.rint(index[:, 2].mean()))
            if np.abs(index[:, 2] - place).max() > _FLAT or not 0 <= place < volume.shape[2]:
                problem = f"has a contour of {names[number]} that lies in no slice of {volume.path.name}"
                raise S2MNetError(file, problem, "Export the contours on the slices of the series.")
            held[:, :, place] ^= polygon(index[:, :2] + 0.5, (volume.shape[1], volume.shape[0])).T
        yield names[number], held
