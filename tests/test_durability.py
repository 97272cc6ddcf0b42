"""Files after a power cut, a kill, a full disk, and with several writers: whole or absent, and work goes on."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny import Cli, refused, tiny_plan, train_tiny, untimed, write_data

from s2mnet import Predictor, S2MNetError
from s2mnet.architecture import PeerNetwork
from s2mnet.data import LabelMap, find_cases
from s2mnet.datasets import prepare
from s2mnet.evaluation.results import load, save
from s2mnet.files import locked, partial_folder, replace_folder, write_atomically
from s2mnet.modelfolder import CONFIG, WEIGHTS, ModelConfig, load_model, save_model
from s2mnet.plan import Preprocessing
from s2mnet.prediction import predict_folder
from s2mnet.training.store import PreparedCases

LEFTOVER = ".s2mnet-0123456789abcdef.part"


class Disk:
    """A disk whose power may fail at any time: contents last once synced; a new name may last at once, or never.

    Each renamed file, or folder with all in it, must have been synced as it is, and its name be synced later.
    """

    def __init__(self) -> None:
        self.contents: dict[int, bytes] = {}  # by inode
        self.names: dict[int, set[str]] = {}
        self.placed: list[Path] = []
        self.fsync, self.replace = os.fsync, os.replace

    def on_sync(self, handle: int) -> None:
        place, inode = Path(os.readlink(f"/proc/self/fd/{handle}")), os.fstat(handle).st_ino
        if place.is_dir():
            self.names[inode] = set(os.listdir(place))
        else:
            self.contents[inode] = place.read_bytes()
        self.fsync(handle)

    def on_replace(self, source: Path, target: Path) -> None:
        self._check_lasting(Path(source))
        self.replace(source, target)
        self.placed.append(Path(target))

    def check(self, *folders: Path) -> None:
        """All files of these folders came by a rename whose name lasts; nothing bypasses it."""
        for folder in folders:
            for file in folder.rglob("*"):
                if file.is_file():
                    assert any(place == file or place in file.parents for place in self.placed), file
        for place in self.placed:
            assert place.name in self.names[place.parent.stat().st_ino], place

    def _check_lasting(self, place: Path) -> None:
        inode = place.stat().st_ino
        if place.is_file():
            assert self.contents.get(inode) == place.read_bytes(), place
            return
        assert self.names.get(inode) == set(os.listdir(place)), place
        for inside in place.iterdir():
            self._check_lasting(inside)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs Linux, which names an open file")
    disk = Disk()
    monkeypatch.setattr(os, "fsync", disk.on_sync)
    monkeypatch.setattr(os, "replace", disk.on_replace)
    return disk


def download(folder: Path, data: Path) -> Path:
    """A public data set in its official layout."""
    for name, kind in (("Original", "images"), ("Ground Truth", "masks")):
        place = folder / "CVC-ClinicDB/PNG" / name
        place.mkdir(parents=True)
        for number in range(8):
            shutil.copy(data / "train" / kind / f"train_{number}.png", place / f"{number + 1}.png")
    return folder / "CVC-ClinicDB"


# A power cut ----------------------------------------------------------------------------------------------------------


def test_all_that_training_and_its_test_write_lasts(
    disk: Disk, tiny_data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S2MNET_CACHE", str(tmp_path / "cache"))
    tiny_plan(tiny_data, epochs=2).save(tmp_path / "plan.yaml")
    status, _, err = s2mnet("train", tiny_data, "--plan", tmp_path / "plan.yaml", "-o", tmp_path / "run")
    assert status == 0, err
    disk.check(tmp_path / "run", tmp_path / "cache")
    names = {place.name for place in disk.placed}
    assert {"plan.yaml", "last.ckpt", WEIGHTS, CONFIG, "history.json", "metrics.csv", "report.html"} <= names


def test_all_other_outputs_last(disk: Disk, tiny_run: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    predict_folder(Predictor(tiny_run), tiny_data / "test/images", tmp_path / "new/out", probabilities=True)
    save(load(tiny_run / "evaluation/test"), tmp_path / "metrics")
    assert s2mnet("inspect", tiny_data, "-o", tmp_path / "page")[0] == 0
    prepare("CVC-ClinicDB", download(tmp_path, tiny_data), tmp_path / "data")
    disk.check(tmp_path / "new", tmp_path / "metrics", tmp_path / "page", tmp_path / "data")
    out = (tmp_path / "new").stat().st_ino, (tmp_path / "new/out").stat().st_ino
    lasting = {name for name in disk.names[out[1]] if not name.endswith(".lock")}  # a later prediction deletes those
    assert disk.names[out[0]] == {"out"} and lasting == {"masks", "overlays", "probabilities"}


# Kills ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [1, 5, 7], ids=["plan", "first state", "second state"])
def test_training_killed_while_it_writes_goes_on_to_the_same_end(tiny_data: Path, tmp_path: Path, write: int) -> None:
    """``kill -9`` with half a file written: the plan, the state of the first epoch, or that of the second."""
    run, plan = tmp_path / "run", tmp_path / "plan.yaml"
    tiny_plan(tiny_data, epochs=2).save(plan)
    kill = f"""
import os, pathlib, signal, sys
write, count = pathlib.Path.write_bytes, 0
def half(path, content):
    global count
    count += str(path).startswith({str(run)!r})
    if count == {write}:
        write(path, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, content)
pathlib.Path.write_bytes = half
from s2mnet.cli import main
sys.argv = ["s2mnet", "train", {str(tiny_data)!r}, "--plan", {str(plan)!r}, "-o", {str(run)!r}]
main()
"""
    assert subprocess.run([sys.executable, "-c", kill], capture_output=True).returncode == -9
    assert list(run.rglob("*.part"))
    resume = (run / "training/last.ckpt").is_file()
    assert resume == (write > 5)
    history = train_tiny(tiny_data, run, resume, epochs=2)
    assert untimed(history) == untimed(train_tiny(tiny_data, tmp_path / "whole", epochs=2))
    assert (run / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert not list(run.rglob("*.part"))


def test_what_a_killed_process_left_is_swept_and_nothing_else(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [tmp_path / "out/masks" / LEFTOVER, tmp_path / "out/overlays" / LEFTOVER, tmp_path / "cache/ab" / LEFTOVER]
    left += [tmp_path / "run" / LEFTOVER, tmp_path / "run/training" / LEFTOVER, tmp_path / ".s2mnet-data.part/a/b"]
    theirs = [tmp_path / "out/masks/.a.part", tmp_path / "run/video.part", tmp_path / ".s2mnet-other.part/a"]
    for file in left + theirs:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half")
    predict_folder(Predictor(tiny_run), tiny_data / "test/images", tmp_path / "out")
    monkeypatch.setenv("S2MNET_CACHE", str(tmp_path / "cache"))
    train_tiny(tiny_data, tmp_path / "run", epochs=1)
    prepare("CVC-ClinicDB", download(tmp_path, tiny_data), tmp_path / "data")
    assert [file for file in left if file.exists()] == []
    assert [file.read_bytes() for file in theirs] == [b"half"] * 3


# A full disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Path]]]:
    """Let the n-th write below a folder fail in a step of it; gives the paths of all writes."""

    def arrange(folder: Path, number: int, step: str = "write_bytes") -> list[Path]:
        paths: list[Path] = []
        owner, kept = (Path, Path.write_bytes) if step == "write_bytes" else (os, getattr(os, step))

        def full(target: Path | int, *rest: object) -> object:
            path = Path(os.readlink(f"/proc/self/fd/{target}")) if isinstance(target, int) else Path(target)
            if folder in path.parents and ".part" in path.name:
                paths.append(path)
                if len(paths) == number:
                    if step == "write_bytes":
                        kept(path, b"some")
                    raise OSError(errno.ENOSPC, "No space left on device")
            return kept(target, *rest)

        monkeypatch.setattr(owner, step, full)
        return paths

    yield arrange


@pytest.mark.parametrize("step", ["write_bytes", "fsync", "replace"])
def test_a_full_disk_leaves_the_earlier_file(fails: Callable[..., list[Path]], tmp_path: Path, step: str) -> None:
    write_atomically(tmp_path / "a", b"earlier")
    fails(tmp_path, 1, step)
    with pytest.raises(S2MNetError, match=r"a cannot be written to: No space left on device\. Free space"):
        write_atomically(tmp_path / "a", b"later")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"earlier"}


def test_training_on_a_full_disk_goes_on_to_the_same_end(
    fails: Callable[..., list[Path]], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_tiny(tiny_data, tmp_path / "whole", epochs=2)
    for number in (3, 5, 7):
        run = tmp_path / f"run{number}"
        with monkeypatch.context():
            assert fails(run, number) == []
            with pytest.raises(S2MNetError, match="No space left on device"):
                train_tiny(tiny_data, run, epochs=2)
            assert not list(run.rglob("*.part"))
            if (run / CONFIG).exists():
                load_model(run)
        monkeypatch.undo()
        resume = (run / "training/last.ckpt").is_file()
        assert untimed(train_tiny(tiny_data, run, resume, epochs=2)) == untimed(whole)
        assert (run / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("peer", [None, "DynUNet"])
def test_a_model_is_saved_without_a_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: str | None
) -> None:
    """Equal to what the mixin saves, which needs one; MONAI's DynUNet has some tensors under two names."""
    from s2mnet import S2MNet

    options = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    network = PeerNetwork(peer, 3, 1, options) if peer else S2MNet(3, 1, channels=(8,) * 5, num_frequencies=4)
    network.save_pretrained(tmp_path / "mixin")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    preprocessing = Preprocessing(extent="whole", size=(32, 32), channels=3, mean=[0.5] * 3, std=[0.5] * 3)
    config = ModelConfig(preprocessing=preprocessing, labels=LabelMap(kind="classes", values=[0, 255]))
    save_model(network, config, tmp_path / "ours")
    ours, theirs = (load_file(tmp_path / name / WEIGHTS) for name in ("ours", "mixin"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert load_model(tmp_path / "ours")[1] == config


# Several writers ------------------------------------------------------------------------------------------------------


def test_a_file_swept_by_another_process_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, sweeps = os.fsync, 0

    def swept(handle: int) -> None:
        nonlocal sweeps
        sync(handle)
        for path in tmp_path.glob("*/.s2mnet-*.part"):
            if sweeps < 3:
                sweeps += 1
                path.unlink()

    monkeypatch.setattr(os, "fsync", swept)
    write_atomically(tmp_path / "new/a", b"whole")
    assert sweeps == 3
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"a": b"whole"}


def test_a_refused_training_leaves_no_folder(tmp_path: Path, s2mnet: Cli) -> None:
    refused(s2mnet("train", tmp_path / "nothing", "-o", tmp_path / "a/b"), "nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_prepared_by_one_process_at_a_time(tmp_path: Path) -> None:
    with partial_folder(tmp_path / "new/data") as folder:
        write_atomically(folder / "masks/a.png", b"a")
        with pytest.raises(S2MNetError, match="new/data is being written by another process"):  # noqa: SIM117
            with partial_folder(tmp_path / "new/data"):
                pass
        replace_folder(folder, tmp_path / "new/data")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "new", "new/data", "new/data/masks", "new/data/masks/a.png",
    ]  # fmt: skip
    with pytest.raises(ZeroDivisionError), partial_folder(tmp_path / "other/data") as folder:
        write_atomically(folder / "a", bytes(1 // 0))
    assert not (tmp_path / "other").exists()
    with locked(tmp_path / "x/y/lock", tmp_path / "x"):
        assert (tmp_path / "x/y/lock").exists()
    assert not (tmp_path / "x").exists()


# The cache ------------------------------------------------------------------------------------------------------------


def flipped(content: bytes) -> bytes:
    return content[:200] + bytes(255 - byte for byte in content[200:])


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "shape", "type", "flipped", "folder", "pickle"])
def test_a_damaged_entry_of_the_cache_is_made_again(tmp_path: Path, damage: str) -> None:
    data = write_data(tmp_path / "data")
    plan, cases = tiny_plan(data), find_cases(data).splits["train"]

    def read() -> list[tuple[bytes, ...]]:
        stored = PreparedCases(cases, plan.preprocessing, plan.labels, True, tmp_path / "cache")
        return [tuple(array.tobytes() for array in stored[index]) for index in range(len(stored))]

    expected = read()
    for file in sorted((tmp_path / "cache").glob("??/*.npy")):
        content, array = file.read_bytes(), np.load(file)
        file.unlink()
        if damage == "folder":
            file.mkdir()
        elif damage in ("shape", "type", "pickle"):
            other = {"shape": array[:1], "type": array.astype(float), "pickle": np.array([{}], object)}[damage]
            with file.open("wb") as opened:
                np.save(opened, other, allow_pickle=True)
        else:
            changed = {"cut": content[:-5], "empty": b"", "garbage": bytes(500), "flipped": flipped(content)}
            file.write_bytes(changed[damage])
    assert read() == expected


def test_a_cache_that_is_emptied_while_training_is_read_again(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    plan, cases = tiny_plan(data), find_cases(data).splits["train"]
    stored = PreparedCases(cases, plan.preprocessing, plan.labels, True, tmp_path / "cache")
    before = [tuple(np.array(array) for array in stored[index]) for index in range(len(stored))]
    shutil.rmtree(tmp_path / "cache")
    for index, pair in enumerate(before):
        assert all(np.array_equal(*arrays) for arrays in zip(pair, stored[index], strict=True))


def test_every_file_of_a_prediction_says_what_made_it(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    from hashlib import sha256

    predict_folder(Predictor(tiny_run), tiny_data / "test/images", tmp_path, probabilities=True, tta=1)
    model = sha256((tiny_run / CONFIG).read_bytes() + (tiny_run / WEIGHTS).read_bytes()).hexdigest()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 6
    for file in files:
        picture = Image.open(file)
        said = picture.info["comment"].decode() if file.suffix == ".jpg" else picture.info["Source"]
        image = sha256((tiny_data / "test/images" / f"{file.stem}.png").read_bytes()).hexdigest()
        assert f"model {model}" in said and f"image {image}" in said and "tta 1, float32" in said
