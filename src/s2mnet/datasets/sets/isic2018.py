"""ISIC 2018 challenge, task 1: outlines of skin lesions."""

from __future__ import annotations

from pathlib import Path

from s2mnet.data.splits import BY_HASH, SPLITS, by_hash
from s2mnet.datasets.reading import by_stem, foreground, pair_records, pairs
from s2mnet.datasets.record import Download, PublicSet, Record

_PARTS = dict(zip(SPLITS, ("Training", "Validation", "Test"), strict=True))
_IMAGES, _MASKS = "ISIC2018_Task1-2_{}_Input", "ISIC2018_Task1_{}_GroundTruth"


def _masks(folder: Path) -> dict[str, Path]:
    """Masks by stem. The official "_segmentation" also occurs with a capital S, as in earlier challenges."""
    return {stem.replace("_Seg", "_seg"): file for stem, file in by_stem(folder, "ISIC_*").items()}


def _find(root: Path) -> Download:
    images = {split: by_stem(root / _IMAGES.format(part), "ISIC_*", "_superpixels") for split, part in _PARTS.items()}
    masks = {split: _masks(root / _MASKS.format(part)) for split, part in _PARTS.items()}
    official = all(masks.values())
    used = SPLITS if official else SPLITS[:1]
    records: list[Record] = []
    for split in used:
        files = pairs(images[split], masks[split], "{}_segmentation")
        records += pair_records(files, dict.fromkeys(files, split) if official else by_hash(files), foreground)
    unused = [_PARTS[split] for split in SPLITS if split not in used and (images[split] or masks[split])]
    left_out = [f"The {part.lower()} part was left out: the official split needs all three." for part in unused]
    rule = "official: training, validation and test of the challenge" if official else BY_HASH
    return Download(records, left_out, rule)


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
