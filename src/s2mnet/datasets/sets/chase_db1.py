"""CHASE_DB1: vessels of the retina, both eyes of 14 children, first observer."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from s2mnet.data.cases import Split
from s2mnet.datasets.reading import by_stem, foreground, pairs
from s2mnet.datasets.record import Found, PublicSet, Record
from s2mnet.errors import S2MNetError

_LAST_TRAIN, _LAST_VALIDATION = 8, 10  # numbers of children; the first ten give the usual 20 training images


def _child(image: Path) -> int:
    match = re.fullmatch(r"Image_(\d+)[LR]", image.stem)
    if match is None:
        raise S2MNetError(image, "a strange name", "Image_, the child's number, L or R", "Check the download.")
    return int(match[1])


def _split(child: int) -> Split:
    return "train" if child <= _LAST_TRAIN else "val" if child <= _LAST_VALIDATION else "test"


def _find(root: Path) -> Found:
    images = {stem: file for stem, file in by_stem(root, "Image_*").items() if not stem.endswith("HO")}
    found = pairs(images, by_stem(root, "Image_*_1stHO.*"), "{}_1stHO")
    return Found(
        [
            Record(stem, _split(_child(image)), f"child {_child(image)}", image, partial(foreground, mask))
            for stem, (image, mask) in found.items()
        ]
    )


SET = PublicSet(
    name="CHASE_DB1",
    modality="fundus photography",
    images=28,
    url="https://researchdata.kingston.ac.uk/96/",
    terms="CC BY 4.0.",
    citation="Fraz et al., An ensemble classification-based approach applied to retinal blood vessel segmentation. "
    "IEEE Transactions on Biomedical Engineering, 2012.",
    split="by child: of the usual first 20 images, children 01–08 are train, 09 and 10 validation; the last 8 are test",
    classes={0: "background", 1: "vessel"},
    colours={1: "#00ff80"},
    layouts=(("Image_*L.jpg", "Image_*_1stHO.png"),),
    find=_find,
    field_of_view="no mask of it is supplied; the dark surround counts as background",
)
