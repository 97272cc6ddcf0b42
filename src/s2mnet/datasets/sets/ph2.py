"""PH²: melanocytic lesions."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from s2mnet.data.splits import BY_HASH, by_hash
from s2mnet.datasets.reading import by_stem, foreground, pairs
from s2mnet.datasets.record import Found, PublicSet, Record

_DEPTHS = ("*/", "")  # the official folder is called "PH2 Dataset images"; copies spell it in other ways
_IMAGES, _MASKS = "IMD*/*_Dermoscopic_Image/*", "IMD*/*_lesion/*"


def _find(root: Path) -> Found:
    depth = next(depth for depth in _DEPTHS if any(root.glob(depth + _IMAGES)))
    found = pairs(by_stem(root, depth + _IMAGES), by_stem(root, depth + _MASKS), "{}_lesion")
    split = by_hash(found)
    return Found(
        [Record(stem, split[stem], stem, image, partial(foreground, mask)) for stem, (image, mask) in found.items()]
    )


SET = PublicSet(
    name="PH2",
    modality="dermoscopy",
    images=200,
    url="https://www.fc.up.pt/addi/ph2%20database.html",
    terms="Research and education only; no copies to others.",
    citation="Mendonça et al., PH²: a dermoscopic image database for research and benchmarking. EMBC, 2013.",
    split=BY_HASH,
    classes={0: "background", 1: "lesion"},
    colours={1: "#00a0ff"},
    layouts=tuple((depth + _IMAGES, depth + _MASKS) for depth in _DEPTHS),
    find=_find,
)
