"""CHASE_DB1: vessels of the retina, both eyes of 14 children, first observer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from s2mnet.data.splits import Split
from s2mnet.datasets.reading import Place, find_pairs, foreground
from s2mnet.datasets.record import PublicSet
from s2mnet.errors import S2MNetError

_PLACE = Place("Image_*[!O].*", "Image_*_1stHO.*", "{}_1stHO")  # masks end in O
_LAST_TRAIN, _LAST_VALIDATION = 8, 10  # numbers of children; the first ten give the usual 20 training images


def _child(stem: str) -> str:
    match = re.fullmatch(r"Image_(\d+)[LR]", stem)
    if match is None:
        problem = "is not named Image_, the number of the child, and L or R"
        raise S2MNetError(f"The image {stem}", problem, "Check the download.")
    return f"child {int(match[1])}"


def _split(children: Iterable[str]) -> dict[str, Split]:
    numbers = {child: int(child.split()[1]) for child in children}
    return {
        child: "train" if number <= _LAST_TRAIN else "val" if number <= _LAST_VALIDATION else "test"
        for child, number in numbers.items()
    }


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
    find=partial(find_pairs, (_PLACE,), foreground, _split, group=_child),
    field_of_view="no mask of it is supplied; the dark surround counts as background",
)
