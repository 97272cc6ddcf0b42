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

_SEQUENCES = ("flair", "t1", "t1ce", "t2")
_LABELS = [0, 1, 2, 4]
CLASSES = {0: "background", 1: "necrotic and non-enhancing core", 2: "oedema", 3: "enhancing tumour"}
COLOURS = {1: "#ff0000", 2: "#00ff00", 3: "#0000ff"}
REGIONS = {"whole tumour": [1, 2, 3], "tumour core": [1, 3], "enhancing tumour": [3]}
CITATION = (
    "Menze et al., The multimodal brain tumor image segmentation benchmark. IEEE Transactions on Medical Imaging, "
    "2015; Bakas et al., Advancing The Cancer Genome Atlas glioma MRI collections. Scientific Data, 2017; "
    "Bakas et al., arXiv:1811.02629."
)


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


def _find(root: Path) -> Download:
    patients = sorted((p for p in root.glob("BraTS20_Training_*") if p.is_dir()), key=lambda p: natural(p.name))
    split = in_order(patient.name for patient in patients)
    records = []
    for patient in patients:
        files = [_one(patient, f"*_{sequence}.nii*") for sequence in _SEQUENCES]
        labels = _one(patient, "*_seg.nii*", "*_Segm.nii*")  # patient 355 has the second name
        name = patient.name
        mask = partial(read_labels, labels, _LABELS)
        records.append(Record(name, split[name], name, partial(_channels, files), mask))
    return Download(records)


SET = PublicSet(
    name="BraTS2020",
    modality="brain MRI",
    images=369,
    unit="volumes",
    url="https://www.med.upenn.edu/cbica/brats2020/data.html",
    terms="Terms of the challenge: after registration; cite the three papers.",
    citation=CITATION,
    split="by patient, in order of number: 70 % train, 10 % validation, 20 % test of the official training part; the "
    "official validation and test parts have no public masks and are left out, and so are slices without any signal",
    classes=CLASSES,
    colours=COLOURS,
    regions=REGIONS,
    channels=list(_SEQUENCES),
    layouts=(("BraTS20_Training_*/*_flair.nii*",),),
    find=_find,
)
