"""Reading JSON files that may come from anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LARGEST = 10_000_000  # bytes; a configuration has a few thousand


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """The content of a JSON file of bounded size, without NaN, infinity and repeated keys.

    Raises:
        ValueError: it is something else, or an integer of thousands of digits.
        OSError, RecursionError: the file cannot be read, or is nested too deeply.
    """
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest} bytes")
    return json.loads(content.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_once)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return content
