"""BUSI: breast ultrasound; several mask files per image, and images without a lesion."""

from __future__ import annotations

from functools import partial, reduce
from pathlib import Path

import numpy as np

from s2mnet.data.splits import BY_HASH, by_hash
from s2mnet.datasets.reading import by_stem, foreground
from s2mnet.datasets.record import Found, PublicSet, Record
from s2mnet.errors import S2MNetError

_KINDS = ("benign", "malignant", "normal")


def _union(masks: list[Path]) -> np.ndarray:
    parts = {mask: foreground(mask) for mask in masks}
    for mask, part in parts.items():
        if part.shape != parts[masks[0]].shape:
            found, expected = f"{part.shape} pixels", f"{parts[masks[0]].shape} as in {masks[0].name}"
            raise S2MNetError(mask, found, expected, "Download it again.")
    return reduce(np.maximum, parts.values())


def _find(root: Path) -> Found:
    records = []
    for kind in _KINDS:
        masks: dict[str, list[Path]] = {}
        images = {}
        for stem, file in by_stem(root / kind).items():
            image, is_mask, _ = stem.partition("_mask")
            if is_mask:
                masks.setdefault(image, []).append(file)
            else:
                images[stem] = file
        split = by_hash(images)
        for stem, file in images.items():
            if stem not in masks:
                raise S2MNetError(file, "an image without a mask", f"{stem}_mask.png", "Complete the download.")
            records.append(Record(stem, split[stem], stem, file, partial(_union, masks[stem])))
    return Found(records)


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
