"""The public data sets, one file each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType

from s2mnet.datasets.record import PublicSet
from s2mnet.datasets.sets import (
    acdc,
    brats2020,
    brats_slices,
    busi,
    chase_db1,
    drive,
    endovis2017,
    glas,
    isic2018,
    kvasir_seg,
    ph2,
    polyp_videos,
    stare,
)
from s2mnet.errors import S2MNetError

_ALL = (
    kvasir_seg.SET,
    *polyp_videos.SETS,
    isic2018.SET,
    ph2.SET,
    glas.SET,
    busi.SET,
    *endovis2017.SETS,
    brats2020.SET,
    brats_slices.SET,
    acdc.SET,
    stare.SET,
    drive.SET,
    chase_db1.SET,
)

DATASETS: Mapping[str, PublicSet] = MappingProxyType({public.name: public for public in _ALL})


def named(name: str) -> PublicSet:
    """The data set of that name, ignoring case and punctuation.

    Raises:
        S2MNetError: there is none. The message lists all names, and the closest.

    Example:
        >>> named("chasedb1").name
        'CHASE_DB1'
    """
    plain = {_plain(known): known for known in DATASETS}
    if _plain(name) in plain:
        return DATASETS[plain[_plain(name)]]
    close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.5)
    hint = f"Did you mean {plain[close[0]]}?" if close else "See s2mnet datasets."
    raise S2MNetError(repr(name), "is no known data set", f"Choose one of {', '.join(DATASETS)}. {hint}")


def describe_datasets() -> list[dict[str, str]]:
    """One row per data set for a table: column heads to cells.

    Example:
        >>> describe_datasets()[0]["modality"]
        'colonoscopy'
    """
    return [
        {
            "name": public.name,
            "modality": public.modality,
            "size": "–" if public.images is None else f"{public.images} {public.unit}",
            "classes": ", ".join(list(public.classes.values())[1:]),
            "split": public.split,
            "ask for it at": public.url,
            "terms": public.terms,
        }
        for public in _ALL
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
