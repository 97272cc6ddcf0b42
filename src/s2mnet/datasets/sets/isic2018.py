"""ISIC 2018 challenge, task 1: outlines of skin lesions."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from s2mnet.data.cases import SPLITS
from s2mnet.data.splits import BY_HASH, by_hash
from s2mnet.datasets.reading import by_stem, foreground, pairs
from s2mnet.datasets.record import Found, PublicSet, Record

_PARTS = dict(zip(SPLITS, ("Training", "Validation", "Test"), strict=True))
_IMAGES, _MASKS = "ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth"


def _masks(folder: Path) -> dict[str, Path]:
    """By stem; the official _segmentation is also met with a capital S, as in the challenges before."""
    return {stem.replace("_Seg", "_seg"): file for stem, file in by_stem(folder, "ISIC_*").items()}


def _find(root: Path) -> Found:
    images = {split: by_stem(root / _IMAGES.format(part), "ISIC_*", "_superpixels") for split, part in _PARTS.items()}
    masks = {split: _masks(root / _MASKS.format(part)) for split, part in _PARTS.items()}
    official = all(masks[split] for split in SPLITS)
    used = SPLITS if official else SPLITS[:1]
    found = {split: pairs(images[split], masks[split], "{}_segmentation") for split in used}
    by_stems = by_hash(found["train"])
    records = [
        Record(stem, split if official else by_stems[stem], stem, image, partial(foreground, mask))
        for split in used
        for stem, (image, mask) in found[split].items()
    ]
    unused = [_PARTS[split] for split in SPLITS if split not in used and (images[split] or masks[split])]
    left_out = [f"The {part.lower()} part was left out: the official split needs all three." for part in unused]
    return Found(records, left_out, "official: training, validation and test of the challenge" if official else BY_HASH)


SET = PublicSet(
    name="ISIC-2018",
    modality="dermoscopy",
    images=3694,
    url="https://challenge.isic-archive.com/data/#2018",
    terms="Images CC BY-NC 4.0, masks CC0.",
    citation="Codella et al., Skin lesion analysis toward melanoma detection 2018. arXiv:1902.03368; Tschandl et al., "
    "The HAM10000 dataset. Scientific Data, 2018.",
    split="official where training, validation and test are all there; else the training part " + BY_HASH,
    classes={0: "background", 1: "lesion"},
    colours={1: "#00a0ff"},
    layouts=((_IMAGES.format("Training") + "/ISIC_*", _MASKS.format("Training") + "/ISIC_*"),),
    find=_find,
)
