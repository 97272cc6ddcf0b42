"""A table of images and masks: CSV with the columns image and mask, and optionally split, patient and name.

An image may be several files, one for each channel, separated by semicolons.
"""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import Path

from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.importing.content import Content, Layout, no_pairs, split_named, stem_of, unique_names
from s2mnet.importing.pictures import Pair, PairSet
from s2mnet.text import from_cell

COLUMNS = ("image", "mask", "split", "patient", "name")


def of_table(file: Path) -> Layout:
    """The layout that a table describes."""
    return Layout("table", f"the table {file}", lambda _: False, partial(read, file))


def read(file: Path, root: Path) -> Content:
    """List the rows of a table. Paths are relative to the source, or to the folder of the table.

    A row without a mask is an image without one.

    Raises:
        S2MNetError: the file is not such a table, or names a file that does not exist or a split that is none.
    """
    rows = _rows(file)
    given: dict[tuple[Path, ...], dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        images = tuple(_path(file, number, text.strip(), root) for text in row["image"].split(";"))
        if images in given:
            problem = f"has {images[0].name} a second time"
            raise S2MNetError(f"{file}, row {number}", problem, "Remove one of the two rows.")
        given[images] = row
    first = [images[0] for images in given]
    common = root if all(image.is_relative_to(root) for image in first) else Path(root.anchor)
    names = unique_names(first, common) if len(set(first)) == len(first) else {}
    pairs, without = [], []
    for number, (images, row) in enumerate(given.items(), start=2):
        if not row.get("mask"):
            without.append(row["image"])
            continue
        split = split_named(row.get("split") or "train")
        if split is None:
            problem = f"has the split {row['split']!r}"
            raise S2MNetError(f"{file}, row {number}", problem, "Use train, val or test.")
        name = row.get("name") or names.get(images[0]) or stem_of(images[0])
        pairs.append(Pair(name, images, _path(file, number, row["mask"], root), split, row.get("patient", "")))
    if not pairs:
        raise no_pairs(file, "row with an image and its mask")
    together = PairSet(pairs)
    return Content(together.records(), together.dataset, without, together.plane.notes)


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        raise S2MNetError(file, "does not exist", "Check the path of the table.")
    with guarded(file, "is not a table", "Save it as CSV in UTF-8, with commas."):
        text = file.read_bytes().decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    heads = [head.strip().lower() for head in lines[0]] if lines else []
    missing = [head for head in COLUMNS[:2] if head not in heads]
    strange = [head for head in heads if head not in COLUMNS]
    if missing or strange or len(set(heads)) < len(heads):
        problem = f"has the columns {', '.join(heads) or '(none)'}"
        raise S2MNetError(file, problem, f"Name them image and mask; {', '.join(COLUMNS[2:])} are optional.")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(heads):
            problem = f"has {len(line)} cells for {len(heads)} columns"
            raise S2MNetError(f"{file}, row {number}", problem, "Correct the row.")
    return [{head: from_cell(cell).strip() for head, cell in zip(heads, line, strict=True)} for line in lines[1:]]


def _path(file: Path, number: int, text: str, root: Path) -> Path:
    for folder in (root, file.parent):
        if text and (folder / text).is_file():
            return folder / text
    problem = f"names {text!r}, which does not exist"
    raise S2MNetError(f"{file}, row {number}", problem, f"Give paths relative to {root} or to the table.")
