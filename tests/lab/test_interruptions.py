"""The loops of kills and full disks, in short: one job, and a job that is not equal afterwards is counted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s2mnet_lab.reliability import interruptions
from s2mnet_lab.reliability.interruptions import Tally, summary

if TYPE_CHECKING:
    from tiny import Cli


@pytest.mark.parametrize(("command", "title"), [("kill", "Kills"), ("disk", "Full disks")])
def test_a_stopped_command_goes_on_to_the_same_end(s2mnet_lab: Cli, tmp_path: Path, command: str, title: str) -> None:
    page = tmp_path / "page.md"
    status, out, err = s2mnet_lab("reliability", command, "--count", 2, "--only", "prepare", "--page", page)
    assert status == 0, out + err
    row = next(line for line in page.read_text().splitlines() if line.startswith("| `prepare`"))
    stops, ends, *rest = map(int, row.strip("| ").split(" | ")[1:])
    assert f"## {title}" in page.read_text()
    assert stops == 2 and 1 <= ends <= 2 and rest == [0, 0, 0]


def test_an_output_that_differs_is_counted(tmp_path: Path) -> None:
    from s2mnet_lab.reliability.jobs import Job

    job = Job("train", lambda out: ["--version"], ("a",))
    for name, content in (("whole", "1"), ("out", "2")):
        (tmp_path / name / "out").mkdir(parents=True)
        (tmp_path / name / "out" / "a").write_text(content)
    (tmp_path / "out/out/.s2mnet-1.part").touch()
    tally = Tally()
    interruptions._finish(job, tmp_path / "out/out", tmp_path / "whole/out", tally)
    assert (tally.ends, tally.different, tally.left, tally.good) == (1, 1, 1, False)
    assert summary({"train": tally}, "Kills").splitlines()[-1] == "| `train` | 0 | 1 | 1 | 1 | 0 |"
