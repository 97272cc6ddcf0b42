"""Kvasir-SEG: polyps, masks stored as JPEG."""

from __future__ import annotations

from functools import partial

from s2mnet.data.splits import BY_HASH, by_hash
from s2mnet.datasets.reading import Place, above_half, find_pairs
from s2mnet.datasets.record import PublicSet

SET = PublicSet(
    name="Kvasir-SEG",
    modality="colonoscopy",
    images=1000,
    url="https://datasets.simula.no/kvasir-seg/",
    terms="Research and education only; no commercial use without written permission.",
    citation="Jha et al., Kvasir-SEG: a segmented polyp dataset. MultiMedia Modeling, 2020.",
    split=BY_HASH,
    classes={0: "background", 1: "polyp"},
    colours={1: "#ffcc00"},
    layouts=(("images/*.jpg", "masks/*.jpg"), ("images/*.png", "masks/*.png")),
    find=partial(find_pairs, (Place("images/*", "masks/*"),), above_half, by_hash),
)
