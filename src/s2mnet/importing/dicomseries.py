"""DICOM series with their labels: DICOM Segmentations, RT Structure Sets, or NIfTI."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from s2mnet.data import Dataset
from s2mnet.data.images import is_image_file
from s2mnet.datasets.reading import natural
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.importing.affixes import split_of_folder
from s2mnet.importing.content import Content, no_pairs, stem_of, visible
from s2mnet.importing.dicomlabels import labels_of, read_objects
from s2mnet.importing.pictures import Pair, PairSet
from s2mnet.importing.shapes import class_names, class_values
from s2mnet.importing.stacks import Plane, read_stack
from s2mnet.volumes.dicom.files import dicom_files, load_dataset
from s2mnet.volumes.nifti import is_nifti_name

_OBJECTS = ("SEG", "RTSTRUCT")
_NO_IMAGES = (*_OBJECTS, "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG")


@dataclass
class _Series:
    """The files of one series, with its patient and the files of its labels."""

    patient: str
    frame_of_reference: str
    files: list[Path] = field(default_factory=list)
    objects: list[tuple[Path, Any]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The folder of the series; the file, if it is one."""
        return self.files[0] if len(self.files) == 1 else self.files[0].parent


def fits(root: Path) -> bool:
    """Whether there are DICOM files."""
    return bool(_dicom_files(root))


def _dicom_files(root: Path) -> list[Path]:
    others = (".json", ".xml", ".txt", ".csv", ".yaml", ".yml")
    files = [file for file in visible(root) if not is_image_file(file) and not is_nifti_name(file)]
    return dicom_files([file for file in files if file.suffix.lower() not in others])


def read(root: Path) -> Content:
    """List the series with labels: each in a folder of its own, or one file.

    A Segmentation or a Structure Set names its series. A NIfTI file of labels is in the folder of its series, in the
    one around it, or has its name. Patients are numbered, so that no identifier gets into the data folder.

    Raises:
        S2MNetError: a file cannot be read, a series has two kinds of labels, or labels are of no series.
    """
    series = _series(root)
    names = _names(root, [each.path for each in series])
    numbers = {patient: f"patient{place:03d}" for place, patient in enumerate(_patients(series), start=1)}
    with_niftis = _niftis(root, series)
    plane = Plane.of([each.path for each in series if each.objects or each.path in with_niftis])
    classes = [name for each in series for _, header in each.objects for name in labels_of(header).values()]
    with guarded(root, "has too many classes", "Merge some."):
        values = class_values(classes)
    records, pairs, without = [], [], []
    for each in series:
        name, patient = names[each.path], numbers.get(each.patient, "")
        split = split_of_folder(each.path.relative_to(root)) or "train"
        if each.objects and each.path in with_niftis:
            labels = with_niftis[each.path]
            raise S2MNetError(labels, f"and {each.objects[0][0].name} both label one series", "Keep one of the two.")
        if each.objects:
            image = partial(read_stack, (each.path,), None, plane.letters)
            files = [file for file, _ in each.objects]
            mask = partial(read_objects, each.path, files, values, plane.letters)
            records.append(Record(name, split, patient or name, image, mask))
        elif each.path in with_niftis:
            pairs.append(Pair(name, (each.path,), with_niftis[each.path], split, patient))
        else:
            without.append(name)
    if not records and not pairs:
        raise no_pairs(root, "DICOM series with a Segmentation, a Structure Set or a NIfTI file of labels")
    if records and pairs:
        problem = "has series labelled by DICOM objects and series labelled by NIfTI"
        raise S2MNetError(root, problem, "Import them one after the other.")
    stated = {"classes": class_names(values)} if records else {}
    dataset = Dataset(name=root.resolve().name, orientation=plane.recorded, **stated)
    return Content(records + PairSet(pairs).records(), dataset, without, plane.notes)


def _series(root: Path) -> list[_Series]:
    """The series of images, with the DICOM objects that label them."""
    headers = [(file, load_dataset(file, pixels=False)) for file in _dicom_files(root)]
    series: dict[str, _Series] = {}
    for file, header in headers:
        if header.get("Rows") and header.get("Modality") not in _NO_IMAGES:
            uid = str(header.get("SeriesInstanceUID", ""))
            own = _Series(str(header.get("PatientID", "")), str(header.get("FrameOfReferenceUID", "")))
            series.setdefault(uid, own).files.append(file)
    for file, header in headers:
        if header.get("Modality") in _OBJECTS:
            _labelled(file, header, series).objects.append((file, header))
    for each in series.values():
        labels = [name for _, header in each.objects for name in labels_of(header).values()]
        if len(set(labels)) < len(labels):
            twice = next(name for name in labels if labels.count(name) > 1)
            problem = f"has labels in which {twice} occurs twice: {', '.join(file.name for file, _ in each.objects)}"
            raise S2MNetError(each.path, problem, "Keep the labels of one reader.")
    return sorted(series.values(), key=lambda each: natural(each.path.as_posix()))


def _labelled(file: Path, header: Any, series: dict[str, _Series]) -> _Series:
    """The series that a Segmentation or a Structure Set refers to; else the only one in its frame of reference."""
    named = [one for one in series if one in _references(header)]
    frame = header.get("FrameOfReferenceUID") or next(
        (one.get("FrameOfReferenceUID") for one in header.get("ReferencedFrameOfReferenceSequence") or []), ""
    )
    named = named or [uid for uid, each in series.items() if frame and each.frame_of_reference == str(frame)]
    if len(named) != 1:
        problem = f"labels {'several series' if named else 'no series'} of the folder"
        raise S2MNetError(file, problem, "Add the images that it was drawn on, or move it elsewhere.")
    return series[named[0]]


def _references(header: Any) -> set[str]:
    """The UIDs of all series that an object names, at any depth of its first levels."""
    own = [one.get("SeriesInstanceUID") for one in header.get("ReferencedSeriesSequence") or []]
    for frame in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            own += [one.get("SeriesInstanceUID") for one in study.get("RTReferencedSeriesSequence") or []]
    return {str(uid) for uid in own if uid}


def _niftis(root: Path, series: list[_Series]) -> dict[Path, Path]:
    """The NIfTI file of labels of each series, by its path."""
    at: dict[Path, list[_Series]] = defaultdict(list)
    for each in series:
        for folder in (each.path, each.path.parent):
            at[folder].append(each)
    labels: dict[Path, Path] = {}
    for file in (file for file in visible(root) if is_nifti_name(file)):
        named = [each for each in series if each.path != root and each.path.name == stem_of(file)]
        near = named or at.get(file.parent, [])
        if len(near) != 1:
            problem = f"labels {'several series' if near else 'no series'}"
            raise S2MNetError(
                file, problem, "Put it into the folder of its series, or give it the name of that folder."
            )
        if near[0].path in labels:
            problem = f"and {labels[near[0].path].name} both label one series"
            raise S2MNetError(file, problem, "Keep one of the two.")
        labels[near[0].path] = file
    return labels


def _patients(series: list[_Series]) -> list[str]:
    return sorted({each.patient for each in series if each.patient}, key=natural)


def _names(root: Path, paths: list[Path]) -> dict[Path, str]:
    """The name of each series: of its folder, or with those around it where names repeat."""
    short = {path: path.name if path != root else root.resolve().name for path in paths}
    if len({name.casefold() for name in short.values()}) == len(paths):
        return short
    return {path: "_".join(path.relative_to(root).parts) or short[path] for path in paths}
