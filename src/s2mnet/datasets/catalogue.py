"""The public data sets, as ``catalogue.yaml`` describes them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import RootModel

from s2mnet.datasets.record import PublicSet
from s2mnet.errors import S2MNetError
from s2mnet.yamlfile import read_yaml

_FILE = Path(__file__).with_suffix(".yaml")
_ALL = read_yaml(_FILE, RootModel[list[PublicSet]], "Install s2mnet again.").root

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
            "ask for it at": public.source,
            "terms": public.terms,
        }
        for public in DATASETS.values()
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
