"""Single FLAIR slices of BraTS 2023 as PNG, with blurred colour masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data import read_image
from s2mnet.data.splits import in_order
from s2mnet.datasets.reading import by_stem, pairs
from s2mnet.datasets.record import Found, PublicSet, Record
from s2mnet.datasets.sets.brats2020 import CITATION, CLASSES, COLOURS, REGIONS
from s2mnet.errors import S2MNetError

_PURE = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]])  # in the order of the classes


def _nearest(mask: Path) -> np.ndarray:
    """The class whose colour is nearest to that of the pixel."""
    colours = read_image(mask).astype(np.int64)
    if colours.ndim != 3:
        raise S2MNetError(mask, "a grey mask", "red, green and blue regions on black", "Check the file.")
    return ((colours[:, :, None] - _PURE) ** 2).sum(axis=-1).argmin(axis=-1).astype(np.uint8)


def _find(root: Path) -> Found:
    found = pairs(by_stem(root / "images", "*_*"), by_stem(root / "masks"))
    patients = {stem: stem.partition("_")[0] for stem in found}
    split = in_order(patients.values())
    return Found(
        [
            Record(stem, split[patients[stem]], patients[stem], image, partial(_nearest, mask))
            for stem, (image, mask) in found.items()
        ]
    )


SET = PublicSet(
    name="BraTS-slices",
    modality="brain MRI",
    images=None,
    url="https://www.synapse.org/Synapse:syn51156910",
    terms="Research only; terms of the challenge.",
    citation="Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 benchmark on brain tumor segmentation and radiogenomic "
    "classification. arXiv:2107.02314, 2021; " + CITATION,
    split="by patient (the number before the underscore), in order: 70 % train, 10 % validation, 20 % test",
    classes=CLASSES,
    colours=COLOURS,
    regions=REGIONS,
    layouts=(("images/[0-9]*_[0-9]*.png", "masks/[0-9]*_[0-9]*.png"),),
    find=_find,
)
