"""Single FLAIR slices of BraTS 2023 as PNG, with blurred colour masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data import read_image
from s2mnet.data.splits import in_order
from s2mnet.datasets.reading import Place, find_pairs
from s2mnet.datasets.record import PublicSet
from s2mnet.datasets.sets.brats2020 import CITATION, CLASSES, COLOURS, REGIONS
from s2mnet.errors import S2MNetError

_PURE = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]])  # in the order of the classes


def _nearest(mask: Path) -> np.ndarray:
    """The class with the nearest colour, for each pixel."""
    colours = read_image(mask).astype(np.int64)
    if colours.ndim != 3:
        raise S2MNetError(mask, "is grey; a mask has red, green and blue regions on black", "Check the file.")
    return ((colours[:, :, None] - _PURE) ** 2).sum(axis=-1).argmin(axis=-1).astype(np.uint8)


def _patient(stem: str) -> str:
    return stem.partition("_")[0]


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
    find=partial(find_pairs, (Place("images/*_*", "masks/*"),), _nearest, in_order, group=_patient),
)
