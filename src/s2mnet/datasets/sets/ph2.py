"""PH²: melanocytic lesions."""

from __future__ import annotations

from functools import partial

from s2mnet.data.splits import BY_HASH, by_hash
from s2mnet.datasets.reading import Place, find_pairs, foreground
from s2mnet.datasets.record import PublicSet

_PLACES = tuple(  # the official folder is named "PH2 Dataset images"; copies spell it differently, or leave it out
    Place(f"{folder}IMD*/*_Dermoscopic_Image/*", f"{folder}IMD*/*_lesion/*", "{}_lesion") for folder in ("*/", "")
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
    layouts=tuple(place[:2] for place in _PLACES),
    find=partial(find_pairs, _PLACES, foreground, by_hash),
)
