"""A short form of `s2mnet-lab reliability fuzz`, and that it would notice what it looks for."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from s2mnet import S2MNetError
from s2mnet_lab.reliability import fuzz, seeds
from s2mnet_lab.reliability.damage import damaged
from s2mnet_lab.reliability.fuzz import Count, read_mutants, summary

KINDS = ("images", "masks", "ppm images", "NIfTI", "DICOM", "archives", "tables, plans and results", "models",
         "cached images")  # fmt: skip


@pytest.fixture(autouse=True)
def _needs_dicom() -> None:
    pytest.importorskip("pydicom")


def test_whole_files_of_every_kind_are_read(tmp_path: Path) -> None:
    kinds = seeds.write_seeds(tmp_path)
    assert tuple(kinds) == KINDS
    for files in kinds.values():
        assert files
        for file, reader in files:
            reader(file)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused_in_one_message(kind: str) -> None:
    count = read_mutants(kind, 40, "short")
    assert count.others == []
    assert count.read + count.refused == 40
    assert count.refused > 5 or kind == "cached images"  # which are made anew


def test_anything_else_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def reader(file: Path) -> None:
        content = file.read_bytes()
        if content[:1] == b"a":
            raise S2MNetError(file, "is damaged", "Export it again.")
        if content[:1] == b"b":
            raise KeyError("dim")
        if content[:1] == b"c":
            while True:
                pass

    def write(folder: Path) -> dict:
        (folder / "file").write_bytes(b"x")
        return {"files": [(folder / "file", reader)]}

    contents = iter([b"a", b"b", b"c", b"d"])
    monkeypatch.setattr(fuzz, "write_seeds", write)
    monkeypatch.setattr(fuzz, "damaged", lambda *_: next(contents))
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    count = read_mutants("files", 4, "0")
    assert (count.read, count.refused) == (1, 1)
    assert ["KeyError" in count.others[0], "TimeoutError" in count.others[1]] == [True, True]
    assert "| all | 1 | 1 | 2 |" in summary({"files": count})
    assert (count + Count(1, 2, ["x"])).read == 2


def test_damage_is_varied_and_repeatable() -> None:
    content, other = bytes(range(256)) * 8, b"\0" * 2048
    one, two = ([damaged(content, [content, other], random.Random(seed)) for seed in range(300)] for _ in range(2))
    assert one == two
    assert sum(mutant != content for mutant in one) > 280
    lengths = Counter((len(mutant) > 2048) - (len(mutant) < 2048) for mutant in one)
    assert min(lengths[-1], lengths[0], lengths[1]) > 30
