"""Both commands in places that are not a developer's terminal: other encodings, closed pipes, no home, full disks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from tiny import Cli, tiny_plan, write_data

from s2mnet import __version__, progress
from s2mnet.provenance import environment
from s2mnet.training.store import cache_folder

MODULES = {"s2mnet": "s2mnet", "s2mnet-lab": "s2mnet_lab"}
NAMELESS = (  # what Python sees in a container whose user id is in no password file
    "import pwd, sys\n"
    "def unknown(number): raise KeyError(f'getpwuid(): uid not found: {number}')\n"
    "pwd.getpwuid = unknown\n"
    "from s2mnet.cli import main\n"
    "main()\n"
)


def call(*arguments: object, module: str = "s2mnet", cwd: Path | None = None, **env: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, cwd=cwd, env={**os.environ, **env})
    return done.returncode, done.stdout.decode("ascii"), done.stderr.decode(errors="replace")


@pytest.mark.parametrize("name", MODULES)
def test_both_commands_tell_their_version(name: str) -> None:
    assert call("--version", module=MODULES[name]) == (0, f"{name} {__version__}\n", "")


def test_one_version_everywhere() -> None:
    assert version("s2mnet") == environment()["s2mnet"] == __version__


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_letters_that_an_encoding_lacks_are_written_as_numbers(tmp_path: Path, encoding: str) -> None:
    data = write_data(tmp_path / "data")
    (data / "dataset.yaml").write_text("name: 日本 ≤ 3\nclasses: {0: background, 255: 腫瘍}\n", encoding="utf-8")
    status, out, err = call("inspect", data, PYTHONIOENCODING=encoding)
    assert status == 0 and "\\u816b\\u760d" in re.sub(r"\s", "", out), err
    status, _, err = call("train", tmp_path / "日本", "-o", tmp_path / "run", PYTHONIOENCODING=encoding)
    assert status == 2 and err.startswith("error: ") and "Traceback" not in err


@pytest.mark.parametrize(("command", "unbuffered"), [("--version", "1"), ("datasets", ""), ("evaluate", "1")])
def test_output_that_cannot_be_written_is_one_message(
    tiny_data: Path, tmp_path: Path, command: str, unbuffered: str
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    masks = tiny_data / "test" / "masks"
    arguments = {"evaluate": [masks, masks]}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "s2mnet", command, *map(str, arguments.get(command, []))],
            stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(r"error: Standard output cannot be written to: No space left on device\. .*\n", done.stderr)


@pytest.mark.parametrize("command", [["datasets"], ["train"]])
def test_a_reader_that_goes_away_is_no_traceback(tiny_data: Path, tmp_path: Path, command: list[str]) -> None:
    if command == ["train"]:
        tiny_plan(tiny_data, epochs=1).save(tmp_path / "plan.yaml")
        command = [*command, str(tiny_data), "-o", str(tmp_path / "run"), "--plan", str(tmp_path / "plan.yaml")]
    process = subprocess.Popen(
        [sys.executable, "-m", "s2mnet", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # before a word is written
    assert process.stderr.read() == ""
    assert process.wait() == 1


def test_nothing_is_written_where_nobody_asked(
    tiny_data: Path, tiny_run: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "DRIVE").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    tiny_plan(tiny_data, epochs=1).save(tmp_path / "plan.yaml")
    commands: list[tuple[object, ...]] = [
        ("datasets",),
        ("inspect", tiny_data),
        ("plan", tiny_data, "--epochs", 1),
        ("train", tiny_data, "--plan", tmp_path / "plan.yaml", "-o", tmp_path / "run"),
        ("predict", tiny_run, tiny_data / "test" / "images", "-o", tmp_path / "out"),
        ("evaluate", tiny_run, tiny_data),
        ("evaluate", tiny_data / "test" / "masks", tiny_data),
        ("prepare", "DRIVE", tmp_path / "DRIVE", tmp_path / "prepared"),
        ("demo",),
    ]
    for command in commands:
        status, _, err = s2mnet(*command)
        assert status == (2 if command[0] in ("prepare", "demo") else 0), err
        assert not list((tmp_path / "here").iterdir()), command


def test_a_user_without_a_home_trains(tiny_data: Path, tmp_path: Path) -> None:
    tiny_plan(tiny_data, epochs=1).save(tmp_path / "plan.yaml")
    gone = ("HOME", "XDG_CACHE_HOME", "S2MNET_CACHE", "TORCHINDUCTOR_CACHE_DIR", "USER", "LOGNAME", "LNAME", "USERNAME")
    env = {name: value for name, value in os.environ.items() if name not in gone} | {"TORCH_COMPILE_DISABLE": "1"}
    for arguments in (("train", tiny_data, "-o", tmp_path / "run", "--plan", tmp_path / "plan.yaml"),):
        command = [sys.executable, "-c", NAMELESS, *map(str, arguments)]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"plan.yaml", "run"}


def test_the_cache_is_in_memory_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "S2MNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # raises KeyError, as for an unknown user
    assert cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/s2mnet")


def test_a_log_has_a_line_a_minute(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with progress.progress_bar("testing") as advance:
        for number in range(1, 4):
            advance(number, 3)
    assert capsys.readouterr() == ("", "")  # three steps took less than a minute
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    with progress.progress_bar("testing on test") as advance:
        for number in range(1, 4):
            advance(number, 3)
    assert capsys.readouterr().err.splitlines() == [f"testing on test: {n} of 3, 0 min left" for n in (1, 2, 3)]
    with progress.progress_bar("testing", show=False) as advance:
        advance(1, 3)
    assert capsys.readouterr() == ("", "")


def test_testing_says_how_long_it_took(tiny_run: Path, tiny_data: Path, s2mnet: Cli) -> None:
    status, out, err = s2mnet("evaluate", tiny_run, tiny_data)
    assert status == 0 and re.search(r"tested 2 images of test in \d+\.\d min", out), err


def test_predicted_masks_are_measured_against_a_data_folder(tiny_run: Path, tmp_path: Path, s2mnet: Cli) -> None:
    data = write_data(tmp_path / "data")
    (data / "dataset.yaml").write_text("classes: {0: background, 255: polyp}\n")
    for split in ("val", "test"):
        assert s2mnet("predict", tiny_run, data / split / "images", "-o", tmp_path / "out", "--tta", 1)[0] == 0
        assert s2mnet("evaluate", tiny_run, data, "--split", split, "--tta", 1, "-o", tmp_path / "of run")[0] == 0
        arguments = ("evaluate", tmp_path / "out" / "masks", data, "--split", split, "-o", tmp_path / "of masks")
        status, out, err = s2mnet(*arguments)
        assert status == 0 and "polyp" in out, err
        rows = [(tmp_path / of / "metrics.csv").read_text().splitlines()[1:] for of in ("of run", "of masks")]
        assert rows[0] == [row.replace("polyp", "foreground") for row in rows[1]] and len(rows[0]) == 2
        shutil.rmtree(tmp_path / "out")
    status, _, err = s2mnet("evaluate", tmp_path / "of masks", data, "--split", "train")
    assert status == 2 and "contains no png" in err
