"""``cases.csv``: patient, volume and pixel spacing of each image of a data folder."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from s2mnet.errors import S2MNetError
from s2mnet.files import find_file, write_atomically
from s2mnet.guard import guarded
from s2mnet.text import as_cell, from_cell

FILE = "cases.csv"
MAX_SLICES = 10_000  # span of slice numbers in one volume: metrics of volumes stack all slices in between

_CORRECT = "Correct it, or remove the file to treat each image separately."
_MM = ("row_mm", "column_mm", "slice_mm")


Millimetres = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class CaseFacts:
    """Facts about an image besides its pixels; None if unknown.

    Attributes:
        patient: whose image it is; or whatever else a split must keep together, such as the sequence of a video.
        volume: the volume that it is a slice of.
        slice: its number in the volume. Numbers of neighbours differ by one; a missing number is a slice that is
            not in the folder.
        row_mm: distance between the centres of two rows of pixels, in millimetres.
        column_mm: between two columns.
        slice_mm: between two slice numbers.
    """

    patient: str | None = None
    volume: str | None = None
    slice: int | None = None
    row_mm: Millimetres | None = None
    column_mm: Millimetres | None = None
    slice_mm: Millimetres | None = None

    def __post_init__(self) -> None:
        if (self.volume is None) != (self.slice is None):
            given, lacking = ("slice", "volume") if self.volume is None else ("volume", "slice")
            raise ValueError(f"a {given} but no {lacking}")


COLUMNS = ("name", *(field.name for field in fields(CaseFacts)))
UNKNOWN = CaseFacts()


def read_case_table(folder: Path) -> dict[str, CaseFacts] | None:
    """Read ``folder/cases.csv``: the facts of each image by file stem (NFC); None if there is no such file.

    UTF-8 with commas. The column ``name`` holds file stems; the others are the attributes of :class:`CaseFacts`, all
    optional and in any order. An empty cell means unknown.

    Raises:
        S2MNetError: the file is not such a table; a name occurs twice; a cell is not a number; the slices of a volume
            have equal numbers, span more than 10,000, or have two patients or spacings.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "cases.csv").write_text("name,patient\\na,p1\\nb,\\n")
        >>> [facts.patient for facts in read_case_table(folder).values()]
        ['p1', None]
    """
    path = find_file(folder, FILE)
    if path is None:
        return None
    with guarded(path, "is not a table", "Save it as CSV in UTF-8, with commas."):
        text = path.read_bytes().decode("utf-8-sig")
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [[from_cell(cell) for cell in line] for line in lines]
    if not rows:
        raise S2MNetError(path, f"is an empty file; its columns are {', '.join(COLUMNS)}", _CORRECT)
    heads = [head.strip() for head in rows[0]]
    _check_heads(path, heads)
    table: dict[str, CaseFacts] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        where = f"{path}, row {number}"
        if len(row) != len(heads):
            raise S2MNetError(where, f"has {len(row)} cells for {len(heads)} columns", _CORRECT)
        name, facts = _facts(where, dict(zip(heads, row, strict=True)))
        if name in table:
            raise S2MNetError(where, f"has the name {name} a second time", "Remove one of the two rows.")
        table[name] = facts
    _check_volumes(path, table)
    return table


def write_case_table(folder: Path, table: Mapping[str, CaseFacts]) -> None:
    """Write ``folder/cases.csv`` atomically, without empty columns.

    Raises:
        S2MNetError: the file cannot be written.
    """
    known = [column for column in COLUMNS[1:] if any(getattr(facts, column) is not None for facts in table.values())]
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # whose line ends are those of the standard: a lone CR in a cell is quoted
    writer.writerow(["name", *known])
    for name, facts in sorted(table.items()):
        cells = (name, *(getattr(facts, column) for column in known))
        writer.writerow([as_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    write_atomically(folder / FILE, text.getvalue().encode())


def check_names(folder: Path, table: Mapping[str, CaseFacts], names: Iterable[str]) -> None:
    """Raise unless the table and the folder name the same images."""
    held, path = set(names), folder / FILE
    for differing, problem in (
        (table.keys() - held, "has {} names that are not in the folder"),
        (held - table.keys(), "lacks {} names of the folder"),
    ):
        if differing:
            shown = ", ".join(sorted(differing)[:5]) + (", …" if len(differing) > 5 else "")
            fix = "Give each image one row, under its file name without the extension."
            raise S2MNetError(path, f"{problem.format(len(differing))}: {shown}", fix)


def _check_heads(path: Path, heads: list[str]) -> None:
    strange = [head for head in heads if head not in COLUMNS]
    if strange:
        problem = f"has an unknown column {strange[0]!r}"
        fix = f"Rename or remove the column. The columns are {', '.join(COLUMNS)}, separated by commas."
        raise S2MNetError(path, problem, fix)
    twice = [head for head in heads if heads.count(head) > 1]
    if twice or "name" not in heads:
        problem = f"has two columns {twice[0]!r}" if twice else "has no column 'name'"
        raise S2MNetError(path, problem, "Correct the first row.")


def _facts(where: str, cells: Mapping[str, str]) -> tuple[str, CaseFacts]:
    name = unicodedata.normalize("NFC", cells["name"])
    if not name:
        raise S2MNetError(where, "has an empty name", "Enter the file name of an image without its extension.")
    known: dict[str, Any] = {
        column: cell.strip() for column, cell in cells.items() if column != "name" and cell.strip()
    }
    try:
        return name, CaseFacts(**known)
    except ValidationError as error:
        first = error.errors()[0]
        value = f"{first['loc'][0]} = {first['input']}: " if first["loc"] else ""
        message = first["msg"].removeprefix("Value error, ")
        raise S2MNetError(where, f"has {value}{message}", "Correct the cells.") from None


def _check_volumes(path: Path, table: Mapping[str, CaseFacts]) -> None:
    first: dict[str, CaseFacts] = {}
    numbers: dict[str, dict[int, str]] = {}
    for name, facts in table.items():
        if facts.volume is None or facts.slice is None:
            continue
        volume = f"volume {facts.volume}"
        held = numbers.setdefault(facts.volume, {})
        other = first.setdefault(facts.volume, facts)
        if facts.slice in held:
            problem = f"has {held[facts.slice]} and {name} both as slice {facts.slice} of {volume}"
            raise S2MNetError(path, problem, "Number the slices in their order.")
        held[facts.slice] = name
        if facts.patient != other.patient:
            patients = f"{other.patient or 'no patient'} and {facts.patient or 'no patient'}"
            fix = "Give each volume its own name, such as patient1_scan1."
            raise S2MNetError(path, f"assigns {volume} to {patients}", fix)
        if any(getattr(facts, column) != getattr(other, column) for column in _MM):
            raise S2MNetError(path, f"has two spacings in {volume} ({name})", "Correct the cells.")
    for volume, held in numbers.items():
        if max(held) - min(held) >= MAX_SLICES:
            problem = (
                f"has slices {min(held)} to {max(held)} of volume {volume}; at most {MAX_SLICES} numbers are allowed"
            )
            raise S2MNetError(path, problem, "Number the slices in their order, one by one.")
