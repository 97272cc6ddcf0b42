"""DRIVE: vessels of the retina, first observer, with a field of view."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data import IGNORE_INDEX
from s2mnet.data.cases import Split
from s2mnet.datasets.reading import by_stem, foreground, pairs
from s2mnet.datasets.record import Found, PublicSet, Record
from s2mnet.errors import S2MNetError

_VALIDATION = {"37_training", "38_training", "39_training", "40_training"}


def _vessels(vessels: Path, field: Path) -> np.ndarray:
    truth, inside = foreground(vessels), foreground(field)
    if truth.shape != inside.shape:
        raise S2MNetError(field, f"{inside.shape} pixels", f"{truth.shape} as in {vessels.name}", "Download it again.")
    return np.where(inside, truth, np.uint8(IGNORE_INDEX))


def _part(folder: Path, split: Split) -> list[Record]:
    images = by_stem(folder / "images")
    truths = {stem[:2]: file for stem, file in by_stem(folder / "1st_manual").items()}
    fields = pairs(images, by_stem(folder / "mask"), "{}_mask")
    records = []
    for stem, image in images.items():
        if stem[:2] not in truths:
            raise S2MNetError(image, "an image without a truth", f"1st_manual/{stem[:2]}_manual1.gif", "Complete it.")
        to = "val" if stem in _VALIDATION else split
        records.append(Record(stem, to, stem, image, partial(_vessels, truths[stem[:2]], fields[stem][1])))
    return records


def _find(root: Path) -> Found:
    records = _part(root / "training", "train")
    if any((root / "test" / "1st_manual").glob("*")):
        return Found(records + _part(root / "test", "test"))
    hidden = len(by_stem(root / "test" / "images"))
    return Found(records, [f"{hidden} test images were left out: they came without 1st_manual."] if hidden else [])


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
