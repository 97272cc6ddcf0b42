"""GlaS: glands of the colon, labelled one by one."""

from __future__ import annotations

from pathlib import Path

from s2mnet.data.splits import Split
from s2mnet.datasets.reading import by_stem, nonzero, pair_records, pairs
from s2mnet.datasets.record import Download, PublicSet, Record

_PARTS: dict[str, Split] = {"train": "train", "testA": "test"}


def _find(root: Path) -> Download:
    masks = by_stem(root, "*_anno.*")
    records: list[Record] = []
    for part, split in _PARTS.items():
        files = pairs(by_stem(root, f"{part}_*", without="_anno"), masks, "{}_anno")
        records += pair_records(files, dict.fromkeys(files, split), nonzero)
    others = len(by_stem(root, "testB_*", without="_anno"))
    return Download(records, [f"{others} images of testB were left out: the test part is testA."] if others else [])


SET = PublicSet(
    name="GlaS",
    modality="histopathology",
    images=145,
    url="https://warwick.ac.uk/fac/cross_fac/tia/data/glascontest/",
    terms="Research only.",
    citation="Sirinukunwattana et al., Gland segmentation in colon histology images: the GlaS challenge contest. "
    "Medical Image Analysis, 2017; Sirinukunwattana et al., A stochastic polygons model for glandular structures in "
    "colon histology images. IEEE Transactions on Medical Imaging, 2015.",
    split="official: train, and testA as test; the 20 images of testB are left out",
    classes={0: "background", 1: "gland"},
    colours={1: "#00b050"},
    layouts=(("train_*_anno.*",),),
    find=_find,
)
