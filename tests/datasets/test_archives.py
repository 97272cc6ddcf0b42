"""Archives: nothing leaves the folder, bounds hold, and whatever is wrong names archive and entry."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from s2mnet.datasets import archives, prepare
from s2mnet.datasets.archives import unpack
from s2mnet.errors import S2MNetError

OUTSIDE = [
    "../evil.txt",
    "a/../../evil.txt",
    "/evil.txt",
    "..\\evil.txt",
    "C:\\evil.txt",
    "a/..",
]


def make_zip(file: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # as it is, unlike by the constructor
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return file


def make_tar(file: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(file, "w:gz" if file.name.endswith("gz") else "w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_unpacks(name: str, tmp_path: Path) -> None:
    if name.endswith("zip"):
        make_zip(tmp_path / name, {"top/": b"", "top/a b/ü.txt": b"1", "top/c.txt": b"2"})
    else:
        folder = tar_member("top", tarfile.DIRTYPE)
        files = ((tar_member("top/a b/ü.txt"), b"1"), (tar_member("./top/c.txt"), b"2"))
        make_tar(tmp_path / name, (folder, b""), *files)
    unpack(tmp_path / name, tmp_path / "in")
    assert everything(tmp_path / "in") == {"top", "top/a b", "top/a b/ü.txt", "top/c.txt"}
    assert (tmp_path / "in/top/c.txt").read_bytes() == b"2"


@pytest.mark.parametrize("entry", OUTSIDE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_entry_that_points_out(entry: str, kind: str, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    file = box / f"bad.{kind}"
    if kind == "zip":
        make_zip(file, {entry: b"evil"})
    else:
        make_tar(file, (tar_member(entry), b"evil"))
    with pytest.raises(S2MNetError) as refused:
        prepare("DRIVE", file, box / "out")
    assert refused.value.where == str(file) and repr(entry) in refused.value.problem
    assert everything(tmp_path) == {"box", f"box/bad.{kind}"}
    assert not Path("/evil.txt").exists()


@pytest.mark.parametrize(
    "member",
    [
        tar_member("link", tarfile.SYMTYPE, "../../outside"),
        tar_member("link", tarfile.SYMTYPE, "/etc"),
        tar_member("link", tarfile.LNKTYPE, "../outside"),
        tar_member("link", tarfile.FIFOTYPE),
        tar_member("link", tarfile.CHRTYPE),
    ],
    ids=["symlink", "absolute symlink", "hard link", "pipe", "device"],
)
def test_links_and_devices_of_a_tar(member: tarfile.TarInfo, tmp_path: Path) -> None:
    make_tar(tmp_path / "bad.tar", (member, b""), (tar_member("link/evil.txt"), b"evil"))
    with pytest.raises(S2MNetError, match=r"bad\.tar has the entry 'link', a (link to|device)"):
        unpack(tmp_path / "bad.tar", tmp_path / "in")
    assert everything(tmp_path) <= {"bad.tar", "in"}


def test_a_link_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, "../../outside")
    with pytest.raises(S2MNetError, match="the entry 'link', a link"):
        unpack(tmp_path / "bad.zip", tmp_path / "in")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_the_bound_on_the_unpacked_size(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb of two files of a megabyte; the bound lies between one and two."""
    content = bytes(2**20)
    file = tmp_path / f"bomb.{kind}"
    if kind == "zip":
        make_zip(file, {"a": content, "b": content})
    else:
        make_tar(file, (tar_member("a"), content), (tar_member("b"), content))
    assert file.stat().st_size < 20_000
    unpack(file, tmp_path / "fine")
    monkeypatch.setattr(archives, "MAX_BYTES", 3 * 2**19)
    with pytest.raises(S2MNetError, match="GiB when unpacked"):
        unpack(file, tmp_path / "in")
    assert not (tmp_path / "in/b").exists()


def test_the_bound_on_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 2)
    with pytest.raises(S2MNetError, match="more than 2 entries"):
        unpack(make_zip(tmp_path / "a.zip", {"a": b"", "b": b"", "c": b""}), tmp_path / "in")


def test_damaged_encrypted_and_foreign_files(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "a.zip", {"a.txt": b"text" * 100}).read_bytes()
    entry = whole.index(b"PK\x01\x02")  # of the directory at the end; its flags are at 8
    cases = {
        "cut.zip": whole[:-10],
        "broken.zip": whole.replace(whole[35:45], bytes(10)),
        "locked.zip": whole[: entry + 8] + b"\x01" + whole[entry + 9 :],
        "page.zip": b"<html>Please log in</html>",
        "data.rar": b"Rar!\x1a\x07\x01\x00",
        "empty.tar": b"",
    }
    tarball = make_tar(tmp_path / "b.tgz", (tar_member("a.txt"), bytes(range(256)) * 500)).read_bytes()
    cases["cut.tgz"] = tarball[: len(tarball) // 2]
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(S2MNetError) as refused:
            unpack(tmp_path / name, tmp_path / f"in-{name}")
        assert refused.value.where == str(tmp_path / name), name


def test_one_name_twice(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="cannot be unpacked"):
        unpack(make_tar(tmp_path / "a.tar", (tar_member("a"), b"1"), (tar_member("a"), b"2")), tmp_path / "in")


def test_a_damaged_archive_of_any_compression(tmp_path: Path) -> None:
    """Every fourth byte of the content in turn: what zlib, bz2 and lzma raise differs."""
    for kind in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", kind) as archive:
            archive.writestr("a.txt", bytes(range(256)) * 3)
        whole = (tmp_path / "a.zip").read_bytes()
        refused = 0
        for place in range(35, whole.index(b"PK\x01\x02"), 4):
            broken = bytearray(whole)
            broken[place] ^= 0xFF
            (tmp_path / "broken.zip").write_bytes(broken)
            try:
                unpack(tmp_path / "broken.zip", tmp_path / f"in-{kind}-{place}")
            except S2MNetError:
                refused += 1
        assert refused > 10


def test_the_bounds_hold_for_all_archives_of_a_download_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    for name in "abc":
        make_zip(tmp_path / f"parts/{name}.zip", {f"{name}{number}.txt": bytes(1000) for number in range(4)})
    for bound, value, message in (("MAX_ENTRIES", 10, "more than 10 entries"), ("MAX_BYTES", 11_000, "GiB")):
        with monkeypatch.context() as patch, pytest.raises(S2MNetError, match=rf"c\.zip has .*{message}"):
            patch.setattr(archives, bound, value)
            prepare("DRIVE", tmp_path / "parts", tmp_path / "out")
    assert everything(tmp_path) == {"parts", "parts/a.zip", "parts/b.zip", "parts/c.zip"}
