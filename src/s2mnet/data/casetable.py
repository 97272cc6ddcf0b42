"""``cases.csv``: of which patient and volume each image of a data folder is, and how large its pixels are."""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically

FILE = "cases.csv"
MAX_SLICES = 10_000  # the span of slice numbers in one volume: metrics of volumes stack what lies between

_MEND = "Correct it, or take the file away to treat each image by itself."
_MM = ("row_mm", "column_mm", "slice_mm")


@dataclass(frozen=True)
class CaseFacts:
    """What is known of an image beside its pixels; None where it is not.

    Attributes:
        patient: whose image it is; or whatever else must not be torn apart, such as the sequence of a video.
        volume: the volume that it is a slice of.
        slice: its number in the volume. Numbers of neighbours differ by one; a number left out is a slice that is
            not in the folder.
        row_mm: from the centre of one row of pixels to the next, in millimetres.
        column_mm: from column to column.
        slice_mm: from one slice number to the next.
    """

    patient: str | None = None
    volume: str | None = None
    slice: int | None = None
    row_mm: float | None = None
    column_mm: float | None = None
    slice_mm: float | None = None


COLUMNS = ("name", *(field.name for field in fields(CaseFacts)))
UNKNOWN = CaseFacts()


def read_case_table(folder: Path) -> dict[str, CaseFacts] | None:
    """Read ``folder/cases.csv``: by file stem (NFC) the facts of each image; None where there is no such file.

    UTF-8 with commas; the column ``name`` holds file stems, the others are the attributes of :class:`CaseFacts`, in any
    order and left out at will. An empty cell says nothing.

    Raises:
        S2MNetError: the file is no such table; a name twice; a number that is none; a volume whose slices have no or
            equal numbers, span more than 10,000, or are of two patients or spacings.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "cases.csv").write_text("name,patient\\na,p1\\nb,\\n")
        >>> [facts.patient for facts in read_case_table(folder).values()]
        ['p1', None]
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        rows = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        byte = f"bytes that are not UTF-8 (0x{error.object[error.start]:02x} at {error.start})"
        raise S2MNetError(path, byte, "a table in UTF-8", "Save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise S2MNetError(path, f"no table ({error})", "values between commas", "Save it as CSV.") from None
    if not rows:
        raise S2MNetError(path, "an empty file", f"the columns {', '.join(COLUMNS)}", _MEND)
    heads = [head.strip() for head in rows[0]]
    _check_heads(path, heads)
    table: dict[str, CaseFacts] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        where = f"{path}, row {number}"
        if len(row) != len(heads):
            raise S2MNetError(where, f"{len(row)} cells", f"{len(heads)}, one for each column", _MEND)
        name, facts = _facts(where, dict(zip(heads, row, strict=True)))
        if name in table:
            raise S2MNetError(where, f"{name} a second time", "each name once", "Take one of the two rows away.")
        table[name] = facts
    _check_volumes(path, table)
    return table


def write_case_table(folder: Path, table: Mapping[str, CaseFacts]) -> None:
    """Write ``folder/cases.csv``, whole or not at all, without the columns of which nothing is known.

    Raises:
        S2MNetError: the place cannot be written to.
    """
    known = [column for column in COLUMNS[1:] if any(getattr(facts, column) is not None for facts in table.values())]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *known])
    writer.writerows([name, *(getattr(facts, column) for column in known)] for name, facts in sorted(table.items()))
    write_atomically(folder / FILE, text.getvalue().encode())


def check_names(folder: Path, table: Mapping[str, CaseFacts], names: Iterable[str]) -> None:
    """Raise unless the table and the folder name the same images."""
    held, path = set(names), folder / FILE
    for missing, found in (
        (table.keys() - held, "that are not in the folder"),
        (held - table.keys(), "of the folder that are not in it"),
    ):
        if missing:
            shown = ", ".join(sorted(missing)[:5]) + (", …" if len(missing) > 5 else "")
            mend = "Give each image one row, under its file name without the extension."
            raise S2MNetError(path, f"{len(missing)} names {found}: {shown}", "the names of the images", mend)


def _check_heads(path: Path, heads: list[str]) -> None:
    strange = [head for head in heads if head not in COLUMNS]
    if strange:
        expected = f"columns among {', '.join(COLUMNS)}, with commas between them"
        raise S2MNetError(path, f"a column {strange[0]!r}", expected, "Rename the column, or take it away.")
    twice = [head for head in heads if heads.count(head) > 1]
    if twice or "name" not in heads:
        found = f"two columns {twice[0]!r}" if twice else "no column 'name'"
        raise S2MNetError(path, found, "each column once, and name among them", "Correct the first row.")


def _facts(where: str, cells: Mapping[str, str]) -> tuple[str, CaseFacts]:
    name = unicodedata.normalize("NFC", cells["name"])
    if not name:
        raise S2MNetError(where, "an empty name", "the file name of an image without its extension", _MEND)
    text = {column: cell.strip() or None for column, cell in cells.items()}
    facts = CaseFacts(
        text.get("patient"), text.get("volume"), _whole(where, text.get("slice")),
        *(_millimetres(where, column, text.get(column)) for column in _MM),
    )  # fmt: skip
    if (facts.volume is None) != (facts.slice is None):
        found = f"a {'slice' if facts.volume is None else 'volume'} alone"
        raise S2MNetError(where, found, "volume and slice together", "Fill in both, or none.")
    return name, facts


def _whole(where: str, cell: str | None) -> int | None:
    if cell is None:
        return None
    try:
        return int(cell)
    except ValueError:
        raise S2MNetError(where, f"the slice {cell!r}", "a whole number", "Number the slices of a volume.") from None


def _millimetres(where: str, column: str, cell: str | None) -> float | None:
    if cell is None:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise S2MNetError(where, f"{column} = {cell}", "a number of millimetres above 0", "Correct the cell.")
    return value


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
            found = f"{held[facts.slice]} and {name} both as slice {facts.slice} of {volume}"
            raise S2MNetError(path, found, "each slice number once in a volume", "Number the slices in their order.")
        held[facts.slice] = name
        if facts.patient != other.patient:
            found = f"{volume} of {other.patient or 'nobody'} and of {facts.patient or 'nobody'}"
            mend = "Name volumes apart, such as patient1_scan1."
            raise S2MNetError(path, found, "each volume of one patient", mend)
        if any(getattr(facts, column) != getattr(other, column) for column in _MM):
            raise S2MNetError(path, f"two spacings in {volume} ({name})", "one in each volume", "Correct the cells.")
    for volume, held in numbers.items():
        if max(held) - min(held) >= MAX_SLICES:
            found = f"slices {min(held)} to {max(held)} of volume {volume}"
            mend = "Number the slices in their order, one by one."
            raise S2MNetError(path, found, f"at most {MAX_SLICES} numbers", mend)
