"""ACDC: the heart in short-axis cine MRI, two volumes of each patient, as slices."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from s2mnet.data.splits import Split, in_order
from s2mnet.datasets.reading import COMPLETE, natural
from s2mnet.datasets.record import Download, PublicSet, Record
from s2mnet.datasets.volumes import read_labels, read_slices
from s2mnet.errors import S2MNetError

_IN_ORDER = "by patient, in order of number: 70 % train, 10 % validation, 20 % test"
_OFFICIAL = "official: training and testing by patient; of training, in order of number, the last eighth is validation"


def _truths(folder: Path) -> dict[Path, str]:
    """The mask of each volume, with its patient."""
    files = sorted(folder.glob("patient*/patient*_frame*_gt.nii*"), key=lambda file: natural(file.name))
    return {file: file.parent.name for file in files}


def _record(public: PublicSet, truth: Path, patient: str, split: Split) -> Record:
    name = truth.name.partition("_gt.nii")[0]
    image = truth.with_name(truth.name.replace("_gt.nii", ".nii"))
    if not image.is_file():
        raise S2MNetError(truth, f"is a mask without its volume {image.name}", COMPLETE)
    return Record(name, split, patient, partial(read_slices, image), partial(read_labels, truth, list(public.classes)))


def find(public: PublicSet, root: Path) -> Download:
    """List the volumes of all patients, with the official split where the testing part has masks."""
    training = _truths(root / "training" if (root / "training").is_dir() else root)
    testing = _truths(root / "testing")
    split = in_order(training.values(), (7, 1) if testing else (7, 1, 2))
    records = [_record(public, truth, patient, split[patient]) for truth, patient in training.items()]
    records += [_record(public, truth, patient, "test") for truth, patient in testing.items()]
    hidden = (root / "testing").is_dir() and not testing
    left_out = ["The testing part was left out: it holds no masks."] if hidden else []
    return Download(records, left_out, _OFFICIAL if testing else _IN_ORDER)
