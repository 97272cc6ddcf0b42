"""What the documents promise: links lead somewhere, commands exist with their options, examples run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from s2mnet import S2MNet, __version__
from s2mnet.cli import app
from s2mnet.data.casetable import read_case_table
from s2mnet.data.dataset import Dataset
from s2mnet_lab.cli import app as lab_app

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
PROGRAMS: dict[str, Any] = {"s2mnet": typer.main.get_command(app), "s2mnet-lab": typer.main.get_command(lab_app)}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MACHINES = ROOT / "docs" / "performance"  # records, which name the commands of the commits that made them


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


of_each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)


def blocks(document: Path, language: str) -> list[str]:
    return [text for name, text in FENCED.findall(document.read_text("utf-8")) if name == language]


def calls(line: str) -> list[tuple[str, list[str]]]:
    """Program and arguments of each call of ours in a shell line, whatever stands before it (srun, torchrun -m)."""
    ours = []
    for words in (shlex.split(part, comments=True) for part in line.split("&&")):
        at = next((n for n, word in enumerate(words) if Path(word).name in PROGRAMS), None)
        if at is not None:
            ours.append((Path(words[at]).name, words[at + 1 :]))
    return ours


def command_of(program: str, arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that the first of the arguments name, and the rest of them."""
    command = PROGRAMS[program]
    while hasattr(command, "commands"):
        assert arguments and arguments[0] in command.commands, f"{program} has no command {' '.join(arguments[:1])}"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return command, arguments


def test_the_readme_is_short() -> None:
    assert len(README.read_text("utf-8").splitlines()) <= 120


@of_each_document
def test_relative_links_lead_to_files(document: Path) -> None:
    prose = FENCED.sub("", document.read_text("utf-8"))
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"\w+:|#", link)]
    assert not [link for link in links if not (document.parent / link.partition("#")[0]).exists()]


@of_each_document
def test_commands_in_code_blocks_are_understood(document: Path) -> None:
    """Every option, value and number of arguments, as the command line itself reads them."""
    for line in "".join(blocks(document, "")).replace("\\\n", "").splitlines():
        for program, arguments in calls(line):
            command, options = command_of(program, arguments)
            command.make_context(command.name, options)


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if d.parent != MACHINES], ids=name_of)
def test_commands_in_the_text_exist_with_their_options(document: Path) -> None:
    """They may leave arguments out: `s2mnet predict … --shard 2/8`."""
    prose = FENCED.sub("", document.read_text("utf-8"))
    for span in re.findall(r"`((?:s2mnet|s2mnet-lab) [a-z][^`]*)`", prose):
        for program, arguments in calls(span.replace("\n", " ")):
            command, options = command_of(program, arguments)
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            assert {word for word in options if word.startswith("-")} <= known, span


@of_each_document
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = document.read_text("utf-8")
    shown = re.findall(r"^make ([a-z]+)", "".join(blocks(document, "")), re.MULTILINE) + re.findall(
        r"`make ([a-z]+)`", text
    )
    assert set(shown) <= targets


def test_the_check_of_commands_would_notice() -> None:
    for program, arguments in calls("srun -n 2 s2mnet train DATA -o RUN --epoch 3 && .venv/bin/s2mnet predict RUN"):
        command, options = command_of(program, arguments)
        with pytest.raises(Exception, match=r"--epoch|Missing"):
            command.make_context(command.name, options)
    with pytest.raises(AssertionError, match="no command experiment"):
        command_of("s2mnet", ["experiment", "studies/small.yaml"])


def test_the_example_of_the_readme_runs(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = blocks(README, "python")
    (tmp_path / "RUN").symlink_to(tiny_run)
    shutil.copy(tiny_data / "test" / "images" / "test_0.png", tmp_path / "new_case.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["loss"].isfinite() and names["logits"].shape == (2, 1, 128, 160)
    assert names["prediction"].mask.shape == names["prediction"].boundary.shape
    assert isinstance(names["same_model"], S2MNet)


def test_the_files_of_the_data_document_are_read(tmp_path: Path) -> None:
    document = ROOT / "docs" / "data.md"
    first, second = (Dataset.model_validate(yaml.safe_load(text)) for text in blocks(document, "yaml"))
    label_map = first.label_map()
    assert label_map and label_map.ignore_value == 255
    assert list(second.regions) == ["whole tumour", "core", "enhancing"]
    (table,) = (text for text in blocks(document, "") if text.startswith("name,"))
    (tmp_path / "cases.csv").write_text(table)
    facts = read_case_table(tmp_path)
    assert facts is not None and {one.patient for one in facts.values()} == {"p1"}
    assert [one.slice for one in facts.values()] == [1, 2]


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == __version__
    assert citation["preferred-citation"]["title"] in README.read_text("utf-8")
