"""CVC-ClinicDB, CVC-ColonDB, ETIS-LaribPolypDB and CVC-300: numbered frames of colonoscopy videos."""

from __future__ import annotations

from functools import partial

from s2mnet.data.splits import IN_FRAME_ORDER, in_order
from s2mnet.datasets.reading import MaskReader, Place, above_half, find_pairs, foreground
from s2mnet.datasets.record import PublicSet

_FOLDERS = Place("images/[0-9]*", "masks/[0-9]*")
_CLINIC = (
    Place("PNG/Original/[0-9]*", "PNG/Ground Truth/[0-9]*"),
    Place("Original/[0-9]*", "Ground Truth/[0-9]*"),
)
_COLON = (_FOLDERS, Place("[0-9]*", "p[0-9]*", "p{}"))  # masks s and c show other things
_ETIS = (_FOLDERS, Place("ETIS-LaribPolypDB/[0-9]*", "Ground Truth/p[0-9]*", "p{}"))
_CVC_300 = (_FOLDERS, Place("bbdd/[0-9]*", "gtpolyp/[0-9]*"))


def _set(
    name: str,
    images: int,
    places: tuple[Place, ...],
    url: str,
    citation: str,
    read: MaskReader = foreground,
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
        layouts=tuple(place[:2] for place in places),
        find=partial(find_pairs, places, read, in_order),
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
        380,  # as in most papers; the page of the owners says 300
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
