"""DRIVE: vessels of the retina, first observer, with a field of view."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.data.splits import Split
from s2mnet.datasets.reading import by_stem, check_shapes, foreground, pairs
from s2mnet.datasets.record import Download, PublicSet, Record

_VALIDATION = {"37_training", "38_training", "39_training", "40_training"}


def _vessels(vessels: Path, field: Path) -> np.ndarray:
    truth, inside = foreground(vessels), foreground(field)
    check_shapes({vessels: truth, field: inside})
    return np.where(inside, truth, np.uint8(IGNORE_INDEX))


def _part(folder: Path, split: Split) -> list[Record]:
    images = by_stem(folder / "images")
    truths = pairs(images, by_stem(folder / "1st_manual"), "{:.2}_manual1")
    fields = pairs(images, by_stem(folder / "mask"), "{}_mask")
    return [
        Record(stem, "val" if stem in _VALIDATION else split, stem, image, partial(_vessels, truth, fields[stem][1]))
        for stem, (image, truth) in truths.items()
    ]


def _find(root: Path) -> Download:
    records = _part(root / "training", "train")
    if any((root / "test" / "1st_manual").glob("*")):
        return Download(records + _part(root / "test", "test"))
    hidden = len(by_stem(root / "test" / "images"))
    return Download(records, [f"{hidden} test images were left out: they came without 1st_manual."] if hidden else [])


SET = PublicSet(
    name="DRIVE",
    modality="fundus photography",
    images=40,
    url="https://drive.grand-challenge.org/",
    terms="Research and education only, after registration; no copies to others.",
    citation="Staal et al., Ridge-based vessel segmentation in color images of the retina. IEEE Transactions on "
    "Medical Imaging, 2004.",
    split="official training and test; training images 37–40 are validation",
    classes={0: "background", 1: "vessel"},
    colours={1: "#00ff80"},
    ignore=IGNORE_INDEX,
    field_of_view="supplied; outside of it masks hold 255, which is ignored",
    layouts=(("training/images/*", "training/1st_manual/*", "training/mask/*"),),
    find=_find,
)
