"""``cases.csv``: patients and volumes stay together, and whatever is wrong with the table is said."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_folder import touch_pairs

from s2mnet.data import find_cases
from s2mnet.data.casetable import CaseFacts, read_case_table, write_case_table
from s2mnet.errors import S2MNetError

TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8)
SIZE = st.none() | st.floats(1e-3, 1e3)


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.csv").write_bytes(text.encode(encoding))
    return folder


def sha1(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


@given(st.dictionaries(TEXT, st.tuples(st.none() | TEXT, SIZE, SIZE), max_size=8), st.booleans())
def test_what_is_written_is_read(rows: dict[str, tuple[str | None, float | None, float | None]], volume: bool) -> None:
    import unicodedata

    facts = {
        unicodedata.normalize("NFC", name): CaseFacts(
            patient=None if volume else patient, row_mm=None if volume else row, column_mm=None if volume else column,
            volume="v, \"1\"" if volume else None, slice=place if volume else None, slice_mm=2.5 if volume else None,
        )
        for place, (name, (patient, row, column)) in enumerate(rows.items(), start=-2)
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        write_case_table(Path(folder), facts)
        assert read_case_table(Path(folder)) == facts
        with open(f"{folder}/cases.csv", encoding="utf-8", newline="") as file:
            names = [row["name"] for row in csv.DictReader(file)]
        assert not [name for name in names if name[0] in "=+-@\t\r"]  # what a spreadsheet takes for a formula
        assert [name.removeprefix("'") for name in names] == [name.removeprefix("'") for name in sorted(facts)]


def test_a_table_as_spreadsheets_write_it(tmp_path: Path) -> None:
    """A byte order mark, carriage returns, quotes, spaces, empty cells and lines, columns in any order."""
    table(tmp_path, 'row_mm , patient,name\r\n 0.5,"Doe, J.",a\r\n\r\n,,é\r\n', "utf-8-sig")
    assert read_case_table(tmp_path) == {"a": CaseFacts("Doe, J.", row_mm=0.5), "é": CaseFacts()}
    assert read_case_table(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("name;patient\na;p\n", "an unknown column 'name;patient'.*separated by commas"),
        ("name,Patient\na,p\n", "an unknown column 'Patient'"),
        ("patient\np\n", "no column 'name'"),
        ("name,name\na,a\n", "two columns 'name'"),
        ("name,patient\na\n", "row 2 has 1 cells for 2 columns"),
        ("name,patient\na,p,q\n", "row 2 has 3 cells for 2 columns"),
        ("name,patient\n,p\n", "row 2 has an empty name"),
        ("name\na\na\n", "row 3 has the name a a second time"),
        ("name,row_mm\na,0\n", "row_mm = 0: Input should be greater than 0"),
        ("name,row_mm\na,nan\n", "row_mm = nan"),
        ("name,slice_mm\na,inf\n", "slice_mm = inf"),
        ('name,column_mm\na,"0,5"\n', "column_mm = 0,5"),
        ("name,volume,slice\na,v,1.5\n", "slice = 1.5: Input should be a valid integer"),
        ("name,volume,slice\na,v,\n", "a volume but no slice"),
        ("name,slice\na,3\n", "a slice but no volume"),
        ("name,volume,slice\na,v,3\nb,w,3\nc,v,3\n", "a and c both as slice 3 of volume v"),
        ("name,volume,slice,patient\na,v,3,p\nb,v,4,q\n", "assigns volume v to p and q"),
        ("name,volume,slice,patient\na,v,3,p\nb,v,4,\n", "assigns volume v to p and no patient"),
        ("name,volume,slice,row_mm\na,v,3,1\nb,v,4,2\n", r"two spacings in volume v \(b\)"),
        ("name,volume,slice\na,v,0\nb,v,10000\n", "slices 0 to 10000 of volume v"),
        ('name,patient\n"a,p\n', "is not a table"),
    ],
)
def test_refuses(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(S2MNetError, match=f"cases.csv.*{message}"):
        read_case_table(table(tmp_path, text))


def test_refuses_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match=r"byte 0xe9 in position 5.*Save it as CSV in UTF-8"):
        read_case_table(table(tmp_path, "name\né\n", "latin-1"))


def test_names_must_be_those_of_the_folder(tmp_path: Path) -> None:
    touch_pairs(tmp_path, ["a", "b", "c"])
    table(tmp_path, "name,patient\na,p\nb,q\n")
    with pytest.raises(S2MNetError, match="lacks 1 names of the folder: c"):
        find_cases(tmp_path)
    table(tmp_path, "name,patient\na.jpg,p\nb,q\nc,q\n")
    with pytest.raises(S2MNetError, match=r"that are not in the folder: a\.jpg.*without the extension"):
        find_cases(tmp_path)


@settings(max_examples=40)
@given(st.lists(st.none() | st.sampled_from("ABCDEFGHIJKLMNOPQRST"), min_size=2, max_size=40), st.booleans())
def test_no_patient_is_in_two_splits(patients: list[str | None], flat: bool) -> None:
    """In both layouts that are split here, patients are dealt out in the order of their SHA-1."""
    stems = [f"{number:02d}" for number in range(len(patients))]
    groups = [patient or stem for patient, stem in zip(patients, stems, strict=True)]
    ordered = sorted(set(groups), key=sha1)
    with TemporaryDirectory() as folder:
        touch_pairs(Path(folder) if flat else Path(folder) / "train", stems)
        rows = "".join(f"{stem},{patient or ''}\n" for stem, patient in zip(stems, patients, strict=True))
        table(Path(folder), "name,patient\n" + rows)
        if len(ordered) == 1 and flat:
            with pytest.raises(S2MNetError, match=f"only patient {ordered[0]}; training needs at least 2"):
                find_cases(folder)
            return
        found = find_cases(folder)
    where = {case.name: split for split, cases in found.splits.items() for case in cases}
    assert sorted(where) == stems
    if len(ordered) == 1:
        assert "all of train is one patient" in found.split_rule and set(where.values()) == {"train", "val"}
        return
    splits = {group: {where[s] for s, g in zip(stems, groups, strict=True) if g == group} for group in ordered}
    assert all(len(held) == 1 for held in splits.values())
    sequence = [splits[group].pop() for group in ordered]
    assert sequence == sorted(sequence, key=["train", "val", "test"].index)
    assert {"train", "val"} <= set(sequence)
    if flat:
        borders = [sum(int(sha1(group), 16) < share * 2**160 for group in ordered) for share in (0.7, 0.8)]
        if 0 < borders[0] < borders[1] < len(ordered):
            assert [sequence.index("val"), sequence.index("test")] == borders
    else:
        high = sum(int(sha1(group), 16) >= 7 * 2**157 for group in ordered)
        assert sequence.count("val") == min(max(1, high), len(ordered) - 1) and "test" not in sequence
    assert ("SHA-1 of the patient's name" in found.split_rule) == any(patients)
    assert {case.name: case.facts.patient for cases in found.splits.values() for case in cases} == dict(
        zip(stems, patients, strict=True)
    )


def test_volumes_stay_whole_where_no_patient_is_known(tmp_path: Path) -> None:
    stems = [f"v{volume}_{number}" for volume in range(5) for number in range(3)]
    touch_pairs(tmp_path, stems)
    table(tmp_path, "name,volume,slice\n" + "".join(f"{stem},{stem[:2]},{stem[3]}\n" for stem in stems))
    found = find_cases(tmp_path)
    held = {split: {case.facts.volume for case in cases} for split, cases in found.splits.items()}
    assert sum(map(len, held.values())) == 5 and "the volume's name" in found.split_rule


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,p,,\nb,q,,\nc,p,,\n", r"patient p in both train/ \(a\) and test/ \(c\)"),
        ("a,,v,1\nb,,w,1\nc,,v,2\n", r"volume v in both train/ \(a\) and test/ \(c\)"),
        ("a,p,v,1\nb,q,w,1\nc,,,\n", None),
        ("a,c,,\nb,q,,\nc,,,\n", None),  # a patient called as another image
    ],
)
def test_a_leak_between_given_splits(tmp_path: Path, rows: str, message: str | None) -> None:
    for split, stem in (("train", "a"), ("val", "b"), ("test", "c")):
        touch_pairs(tmp_path / split, [stem])
    table(tmp_path, "name,patient,volume,slice\n" + rows)
    if message is None:
        assert [case.name for cases in find_cases(tmp_path).splits.values() for case in cases] == ["a", "b", "c"]
        return
    with pytest.raises(S2MNetError, match=f"cases.csv puts {message}"):
        find_cases(tmp_path)


def test_spacing_comes_along(tmp_path: Path) -> None:
    touch_pairs(tmp_path, ["a", "b"])
    text = io.StringIO()
    csv.writer(text).writerows([["name", "row_mm", "column_mm", "slice_mm"], ["a", 1.5, 0.75, 10], ["b", "", "", ""]])
    folder = find_cases(table(tmp_path, text.getvalue()))
    facts = {case.name: case.facts for cases in folder.splits.values() for case in cases}
    assert facts == {"a": CaseFacts(row_mm=1.5, column_mm=0.75, slice_mm=10.0), "b": CaseFacts()}
    assert "file stem" in folder.split_rule
