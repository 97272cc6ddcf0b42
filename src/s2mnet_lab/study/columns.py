"""Compact JSON that people can read: records become columns, and each short value or column takes one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

WIDTH = 120
Records = list[dict[str, Any]]


def to_columns(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Records as one list per key, nested dictionaries as nested columns; None where a record lacks the key.

    Example:
        >>> to_columns([{"epoch": 1, "terms": {"core": 0.5}}, {"epoch": 2, "terms": {"core": 0.25}, "note": "slow"}])
        {'epoch': [1, 2], 'terms': {'core': [0.5, 0.25]}, 'note': [None, 'slow']}
    """
    columns: dict[str, Any] = {}
    for key in dict.fromkeys(key for record in records for key in record):
        values = [record.get(key) for record in records]
        nested = any(isinstance(value, dict) for value in values)
        columns[key] = to_columns([value or {} for value in values]) if nested else values
    return columns


def to_records(columns: dict[str, Any]) -> Records:
    """The inverse of :func:`to_columns`.

    Example:
        >>> to_records({'epoch': [1, 2], 'terms': {'core': [0.5, 0.25]}, 'note': [None, 'slow']})[1]
        {'epoch': 2, 'terms': {'core': 0.25}, 'note': 'slow'}
    """
    lists = {key: to_records(column) if isinstance(column, dict) else column for key, column in columns.items()}
    rows = zip_longest(*lists.values())  # a column of empty records is empty
    return [{key: value for key, value in zip(lists, row, strict=True) if value not in (None, {})} for row in rows]


def rounded(value: Any, digits: dict[str, int], default: int) -> Any:
    """Round every float to significant digits: those of the nearest enclosing key in ``digits``, else ``default``.

    Example:
        >>> rounded({"dice": [0.123456, 1.0], "hd95": 0.123456}, {"dice": 4}, 2)
        {'dice': [0.1235, 1], 'hd95': 0.12}
    """
    if isinstance(value, float):
        number = float(f"{value:.{default}g}")
        return int(number) if number.is_integer() else number
    if isinstance(value, dict):
        return {key: rounded(item, digits, digits.get(key, default)) for key, item in value.items()}
    return [rounded(item, digits, default) for item in value] if isinstance(value, list) else value


def to_json(value: Any, indent: int = 0) -> str:
    """JSON in which a list of plain values, or whatever fits in a line, takes one line.

    Example:
        >>> print(to_json({"name": "DRIVE", "figures": {"dice": [0.81] * 30, "hd95": [3.6] * 30}}).replace("0.81,", ""))
        {
         "name": "DRIVE",
         "figures": {
          "dice": [0.81],
          "hd95": [3.6,3.6,3.6,...]
         }
        }
    """
    line = json.dumps(value, ensure_ascii=False, separators=(",", ": "))
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if (len(line) <= WIDTH - indent and indent) or not any(isinstance(item, dict | list) for item in items):
        return line
    inner, outer = "\n" + " " * (indent + 1), "\n" + " " * indent
    if isinstance(value, dict):
        rows = (f"{json.dumps(key, ensure_ascii=False)}: {to_json(item, indent + 1)}" for key, item in value.items())
        return "{" + inner + f",{inner}".join(rows) + outer + "}"
    return "[" + inner + f",{inner}".join(to_json(item, indent + 1) for item in value) + outer + "]"
