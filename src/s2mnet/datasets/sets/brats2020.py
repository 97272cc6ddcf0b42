"""BraTS 2020: gliomas in four MRI sequences, as slices with four channels."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data.splits import in_order
from s2mnet.datasets.reading import COMPLETE, check_shapes, natural
from s2mnet.datasets.record import Download, PublicSet, Record
from s2mnet.datasets.volumes import Slices, read_labels, read_slices
from s2mnet.errors import S2MNetError

_LABELS = [0, 1, 2, 4]


def _one(patient: Path, *patterns: str) -> Path:
    for pattern in patterns:
        files = sorted(patient.glob(pattern))
        if files:
            return files[0]
    raise S2MNetError(patient, f"has no file {patterns[0]}; four sequences and the labels are needed", COMPLETE)


def _channels(files: list[Path]) -> Slices:
    volumes = {file: read_slices(file) for file in files}
    pixels = {file: volume.pixels for file, volume in volumes.items()}
    check_shapes(pixels)
    return Slices(np.stack(list(pixels.values()), axis=-1), volumes[files[0]].spacing, volumes[files[0]].orientation)


def find(public: PublicSet, root: Path) -> Download:
    """List the patients of the training part."""
    patients = sorted((p for p in root.glob("BraTS20_Training_*") if p.is_dir()), key=lambda p: natural(p.name))
    split = in_order(patient.name for patient in patients)
    records = []
    for patient in patients:
        files = [_one(patient, f"*_{sequence}.nii*") for sequence in public.channels]
        labels = _one(patient, "*_seg.nii*", "*_Segm.nii*")  # patient 355 has the second name
        name = patient.name
        mask = partial(read_labels, labels, _LABELS)
        records.append(Record(name, split[name], name, partial(_channels, files), mask))
    return Download(records)
