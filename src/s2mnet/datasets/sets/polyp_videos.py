"""CVC-ClinicDB, CVC-ColonDB, ETIS-LaribPolypDB and CVC-300: numbered frames of colonoscopy videos."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s2mnet.data.splits import IN_FRAME_ORDER, in_order
from s2mnet.datasets.reading import above_half, by_stem, foreground, pairs
from s2mnet.datasets.record import Found, PublicSet, Record


class _Place(NamedTuple):
    """Where images and masks lie, and what the mask of an image is called."""

    images: str
    masks: str
    mask_stem: str = "{}"

    @property
    def layout(self) -> tuple[str, str]:
        return f"{self.images}/[0-9]*", f"{self.masks}/{self.mask_stem.format('[0-9]')}*"


_FOLDERS = _Place("images", "masks")
_CLINIC = (_Place("PNG/Original", "PNG/Ground Truth"), _Place("Original", "Ground Truth"))
_COLON = (_FOLDERS, _Place(".", ".", "p{}"))  # with masks s, c of other things beside
_ETIS = (_FOLDERS, _Place("ETIS-LaribPolypDB", "Ground Truth", "p{}"))
_CVC_300 = (_FOLDERS, _Place("bbdd", "gtpolyp"))


def _find(places: tuple[_Place, ...], read: Callable[[Path], np.ndarray], root: Path) -> Found:
    place = next(place for place in places if all(any(root.glob(pattern)) for pattern in place.layout))
    found = pairs(by_stem(root / place.images, "[0-9]*"), by_stem(root / place.masks), place.mask_stem)
    split = in_order(found)
    return Found([Record(stem, split[stem], stem, image, partial(read, mask)) for stem, (image, mask) in found.items()])


def _set(
    name: str,
    images: int,
    places: tuple[_Place, ...],
    url: str,
    citation: str,
    read: Callable[[Path], np.ndarray] = foreground,
) -> PublicSet:
    return PublicSet(
        name=name,
        modality="colonoscopy",
        images=images,
        url=url,
        terms="Research only; ask the owners before any other use.",
        citation=citation,
        split=IN_FRAME_ORDER,
        classes={0: "background", 1: "polyp"},
        colours={1: "#ffcc00"},
        layouts=tuple(place.layout for place in places),
        find=partial(_find, places, read),
    )


SETS = (
    _set(
        "CVC-ClinicDB",
        612,
        _CLINIC,
        "https://polyp.grand-challenge.org/CVCClinicDB/",
        "Bernal et al., WM-DOVA maps for accurate polyp highlighting in colonoscopy. Computerized Medical Imaging and "
        "Graphics, 2015.",
        above_half,  # faint grey noise around 0 and 255
    ),
    _set(
        "CVC-ColonDB",
        380,  # as most papers have it; the page of the owners tells of 300
        _COLON,
        "https://pages.cvc.uab.es/CVC-Colon/index.php/databases/",
        "Bernal et al., Towards automatic polyp detection with a polyp appearance model. Pattern Recognition, 2012.",
    ),
    _set(
        "ETIS-LaribPolypDB",
        196,
        _ETIS,
        "https://polyp.grand-challenge.org/ETISLarib/",
        "Silva et al., Toward embedded detection of polyps in WCE images for early diagnosis of colorectal cancer. "
        "International Journal of Computer Assisted Radiology and Surgery, 2014.",
    ),
    _set(
        "CVC-300",
        300,
        _CVC_300,
        "https://pages.cvc.uab.es/CVC-Colon/index.php/databases/cvc-endoscenestill/",
        "Vázquez et al., A benchmark for endoluminal scene segmentation of colonoscopy images. Journal of Healthcare "
        "Engineering, 2017.",
    ),
)
