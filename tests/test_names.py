"""Names from models, tables and downloads never lead out of a folder, and never steer a terminal or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import shutil
import unicodedata
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import NARROW, Cli, refused, write_data

from s2mnet import S2MNetError
from s2mnet.console import Console
from s2mnet.data import LabelMap
from s2mnet.data.casetable import CaseFacts, read_case_table, write_case_table
from s2mnet.datasets.record import Record
from s2mnet.datasets.writing import write_record
from s2mnet.evaluation.results import evaluate, save
from s2mnet.modelfolder import ModelConfig, save_model
from s2mnet.names import safe_stem, safe_stems
from s2mnet.network import S2MNet
from s2mnet.plan import Preprocessing
from s2mnet.text import as_cell, from_cell, shown

HOSTILE = [
    "../../out", "/tmp/out", "a/b", "a\\b", "..", ".", "", "\0", "a\nb", "con", "NUL.txt", "com1", "x" * 300, "ü" * 200,
    ".hidden", "end.", "end ", "a:b", "\ud800", "a\x1b[2Jb",
]  # fmt: skip
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
NAMES = st.text(st.characters(codec=None), max_size=300) | st.sampled_from(HOSTILE)


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@given(NAMES, st.sampled_from(["", ".png", ".seg.dcm"]))
def test_a_safe_stem_is_a_file_name_everywhere(name: str, suffix: str) -> None:
    stem = safe_stem(name, suffix)
    file = stem + suffix
    assert 0 < len(file.encode()) <= 255 and stem == safe_stem(name, suffix)
    assert not set(stem) & set('<>:"/\\|?*') and not any(unicodedata.category(c) in ("Cc", "Cs") for c in stem)
    assert not stem.startswith(".") and not stem.endswith((".", " "))
    assert stem.split(".")[0].lower() not in RESERVED


@given(st.lists(NAMES, unique=True, max_size=6))
def test_different_names_stay_different_even_without_case(names: list[str]) -> None:
    stems = safe_stems([*names, *{name.swapcase() for name in names} - set(names)], ".png")
    assert len({stem.casefold() for stem in stems}) == len(stems)


@pytest.mark.parametrize("name", ["left lung", "Größe 3 µm 日本", "a.b-c_d (1)", "console", "x" * 251])
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    assert safe_stem(name, ".png") == name


@pytest.mark.parametrize("kind", ["regions", "classes"])
def test_class_names_of_a_model_write_nothing_outside(kind: str, tiny_data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    names = [name for name in HOSTILE if name]
    values = list(range(len(names) + (kind == "regions")))
    labels: dict = {"kind": "classes", "values": values}
    if kind == "regions":
        labels["regions"] = {name: [value] for name, value in zip(names, values[1:], strict=True)}
    else:
        labels["names"] = names
    preprocessing = Preprocessing(extent="whole", size=(32, 32), channels=3, normalisation="image")
    config = ModelConfig(preprocessing=preprocessing, labels=LabelMap(**labels))
    save_model(S2MNet(3, len(names), **NARROW), ModelConfig(preprocessing=preprocessing, labels=LabelMap(
        kind="classes", values=list(range(max(3, len(names)))))), tmp_path / "model")  # fmt: skip
    stored = json.loads((tmp_path / "model" / "config.json").read_text())
    stored["s2mnet"]["labels"] = config.labels.model_dump()
    (tmp_path / "model" / "config.json").write_text(json.dumps(stored))
    before, image = files_in(tmp_path), tiny_data / "test" / "images" / "test_0.png"
    shutil.copy(image, tmp_path / f"{'y' * 240}.png")
    for source in (image, tmp_path / f"{'y' * 240}.png"):
        status, _, err = s2mnet("predict", tmp_path / "model", source, "-o", tmp_path / "out", "--probabilities")
        assert status == 0, err
    written = files_in(tmp_path) - before - {tmp_path / f"{'y' * 240}.png"}
    out = tmp_path / "out"
    assert {path.parent for path in written} == {out / "masks", out / "overlays", out / "probabilities"}
    assert len(list((tmp_path / "out" / "probabilities").iterdir())) == 2 * len(names)
    assert not Path("/tmp/out").exists()


def test_a_long_stem_serves_every_output(tiny_run: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    for length in (240, 251):
        image = tmp_path / f"{'z' * length}.png"
        shutil.copy(tiny_data / "test" / "images" / "test_0.png", image)
        status, _, err = s2mnet("predict", tiny_run, image, "-o", tmp_path / "out")
        assert status == 0, err
        assert (tmp_path / "out" / "masks" / image.name).is_file()
        assert (tmp_path / "out" / "overlays" / f"{'z' * length}.jpg").is_file()


@pytest.mark.parametrize("name", ["v" * 248, "end ", "com1"])
def test_the_mask_of_a_volume_has_a_safe_name(name: str, tiny_run: Path, tmp_path: Path, s2mnet: Cli) -> None:
    grid = np.random.default_rng(0).integers(0, 200, (40, 36, 3)).astype(np.int16)
    volume = tmp_path / f"{name}.nii"
    nibabel.save(nibabel.Nifti1Image(grid, np.diag([1, 1, 3.0, 1])), volume)
    status, _, err = s2mnet("predict", tiny_run, volume, "-o", tmp_path / "out")
    assert status == 0, err
    assert [path.name for path in files_in(tmp_path / "out")] == [f"{safe_stem(name, '.seg.dcm')}.nii.gz"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_record_of_a_download_writes_into_its_folder(name: str, tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    record = Record(name, "train", name, lambda: pixels, lambda: np.eye(4, dtype=np.uint8))
    facts, _ = write_record(record, tmp_path / "data" / "train")
    files = files_in(tmp_path)
    assert {path.parent for path in files} == {tmp_path / "data" / "train" / kind for kind in ("images", "masks")}
    assert {path.stem for path in files} == set(facts)


def test_results_of_inspect_stay_in_their_folder(tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "place" / "a\nb: \x1b[31mred"
    write_data(folder)
    monkeypatch.chdir(tmp_path)
    status, out, err = s2mnet("inspect", folder)
    assert status in (0, 1), err
    assert "\x1b" not in out + err and "\\x1b[31mred" in out
    made = {path.parent for path in files_in(tmp_path / "runs")}
    assert made == {tmp_path / "runs" / "inspect" / safe_stem(folder.name)}


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''=1"]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_that_we_write_is_a_formula(name: str, tmp_path: Path) -> None:
    disc = np.eye(4, dtype=int)
    facts = {name: CaseFacts(patient=name, volume=name, slice=0)}
    save(evaluate([(name, disc, disc)], {name: [1]}, facts=facts), tmp_path)
    write_case_table(tmp_path, facts)
    for file in ("metrics.csv", "volumes.csv", "cases.csv"):
        with (tmp_path / file).open(encoding="utf-8", newline="") as table:
            cells = [cell for row in csv.reader(table) for cell in row]
        assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r")], file
        assert f"'{name}" in cells, file
    read = read_case_table(tmp_path)
    assert read is not None and list(read) == [name] and read[name].patient == name.strip()


@given(st.text(st.sampled_from("=+-@\t\r'a1"), max_size=5))
def test_a_cell_keeps_its_text(text: str) -> None:
    assert from_cell(as_cell(text)) == text
    assert not as_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


ESCAPES = ["\x1b[2J", "\x9b2J", "\x07", "\b\b", "\r", "\u202e", "\u2028", "\x7f", "\udcff"]


@pytest.mark.parametrize("letters", ESCAPES)
def test_messages_and_the_terminal_show_control_characters(letters: str) -> None:
    error = S2MNetError(f"a{letters}.png", f"has the class {letters!s}", f"Rename {letters}.")
    file = io.StringIO()
    Console(file=file, width=80).print(f"a{letters}.png")
    for text in (str(error), error.where, error.problem, error.fix, file.getvalue()):
        assert all(character.isprintable() for character in text.rstrip("\n")), ascii(text)
    assert shown(letters).startswith("\\")


def test_messages_have_a_bounded_length() -> None:
    assert "\n" not in S2MNetError("a\nb.png", "is empty", "Export it again.").where
    error = S2MNetError("a" * 10**6, "b" * 10**7, "c" * 10**7)
    assert len(str(error)) < 70_000
    assert "characters …]" in error.where and error.where.startswith("aaa") and error.where.endswith("aaa")


def test_an_image_with_escape_sequences_in_its_name_is_named(tiny_run: Path, tmp_path: Path, s2mnet: Cli) -> None:
    (tmp_path / "a\x1b[2J.png").write_bytes(b"no image")
    result = s2mnet("predict", tiny_run, tmp_path / "a\x1b[2J.png", "-o", tmp_path / "out")
    refused(result, "a\\x1b[2J.png")
    assert "\x1b" not in result[1] + result[2]
