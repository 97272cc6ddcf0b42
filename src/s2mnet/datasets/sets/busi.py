"""BUSI: breast ultrasound; several mask files per image, and images without a lesion."""

from __future__ import annotations

from functools import partial, reduce
from pathlib import Path

import numpy as np

from s2mnet.data.splits import BY_HASH, by_hash
from s2mnet.datasets.reading import by_stem, check_shapes, foreground, pairs
from s2mnet.datasets.record import Download, PublicSet, Record

_KINDS = ("benign", "malignant", "normal")


def _union(masks: list[Path]) -> np.ndarray:
    parts = {mask: foreground(mask) for mask in masks}
    check_shapes(parts)
    return reduce(np.maximum, parts.values())


def _find(root: Path) -> Download:
    records = []
    for kind in _KINDS:
        masks: dict[str, list[Path]] = {}
        images: dict[str, Path] = {}
        for stem, file in by_stem(root / kind).items():
            image, is_mask, _ = stem.partition("_mask")
            if is_mask:
                masks.setdefault(image, []).append(file)
            else:
                images[stem] = file
        split = by_hash(images)
        for stem, (file, parts) in pairs(images, masks).items():
            records.append(Record(stem, split[stem], stem, file, partial(_union, parts)))
    return Download(records)


SET = PublicSet(
    name="BUSI",
    modality="ultrasound",
    images=780,
    url="https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
    terms="CC BY 4.0.",
    citation="Al-Dhabyani et al., Dataset of breast ultrasound images. Data in Brief, 2020.",
    split="within each of benign, malignant and normal " + BY_HASH,
    classes={0: "background", 1: "lesion"},
    colours={1: "#ff5050"},
    layouts=(("benign/*_mask.png", "malignant/*_mask.png"),),
    find=_find,
)
