"""Several runs in one record, and every machine in one table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from s2mnet.errors import S2MNetError
from s2mnet_lab.bench import Case, Measurement, Record, load_records, write_machine
from s2mnet_lab.bench.merge import merge
from s2mnet_lab.bench.record import Bound, Kind, Rates
from s2mnet_lab.bench.summary import SHOWN, summarise, write_summary
from s2mnet_lab.bench.write import write_record

INFERENCE, STEP = SHOWN[0], SHOWN[2]
TITLES = {
    "s2mnet": "S2M-Net",
    "s2mnet-openvino": "S2M-Net, OpenVINO",
    "s2mnet-straightforward": "S2M-Net, straightforward",
    "unet": "U-Net",
    "segresnet": "SegResNet",
    "small": "Small",
}


def record(*measurements: Measurement, commit: str = "abc", threads: int = 2, **facts: object) -> Record:
    environment = {"cpu": "a processor", "cpu_count": 4, "commit": commit, "date": "2026-01-02T03:04:05"} | facts
    return Record(
        environment=environment,
        device="cpu",
        threads=threads,
        options={"only": measurements[0].case.section if measurements else "bound"},
        titles=TITLES,
        measurements=list(measurements),
    )


def one(contestant: str, case: Case, seconds: float, gigabytes: float = 0, parameters: int = 5_000_000) -> Measurement:
    memory = int(gigabytes * 1e9) or None
    return Measurement(
        case=case, contestant=contestant, seconds=[seconds], peak=[1e9], memory=memory, parameters=parameters
    )


def everything() -> Record:
    done = record(
        one("s2mnet", INFERENCE, 0.2),
        one("s2mnet-openvino", INFERENCE, 0.1),
        one("s2mnet-straightforward", INFERENCE, 0.25),
        one("unet", INFERENCE, 0.3),
        one("segresnet", INFERENCE, 0.15),
        one("small", INFERENCE, 0.05, parameters=1_000_000),
        one("s2mnet", STEP, 2.0, gigabytes=3.0),
        one("s2mnet-straightforward", STEP, 5.0, gigabytes=6.6),
    )
    kinds = [Kind(name="dense", seconds=0.06), Kind(name="exponentials", seconds=0.02)]
    done.bounds = [Bound(case=INFERENCE, rates=Rates(dense=1, vector=1, memory=1), kinds=kinds)]
    return done


def test_a_machine_is_summed_up_as_worked_out_by_hand(tmp_path: Path) -> None:
    page = write_machine(everything(), "mine", "My machine", tmp_path / "docs" / "performance")
    text = page.read_text()
    assert page == tmp_path / "docs" / "performance.md"
    inference = (
        "| inference, 352², batch 1, float32 | 100 ms (OpenVINO) | 250 ms (2.50 ×) | 150 ms (1.50 ×, SegResNet) "
        "| 80 ms (0.80 ×) | My machine |"
    )
    step = "| training step, 352², batch 8, float32 | 2000 ms | 5000 ms (2.50 ×) | – | – | My machine |"
    memory = "| training step, 352², batch 8, float32: peak memory | 3 GB | 6.6 GB (2.20 ×) | – | – | My machine |"
    rows = [line for line in text.splitlines() if line.endswith("| My machine |")]
    assert rows == [inference, step, memory]
    links = re.findall(r"\]\((.+?)\)", text)
    assert set(links) == {"performance/summary.svg", "performance/mine.md"}
    assert all((page.parent / link).is_file() for link in links)
    assert "a processor, 2 threads of 4 cores; 2026-01-02" in text
    own = (page.parent / "performance" / "mine.md").read_text()
    assert own.startswith("# Performance: My machine\n") and "commit abc" in own


def test_machines_stand_together_by_what_was_measured(tmp_path: Path) -> None:
    write_machine(everything(), "b", "Second", tmp_path / "performance")
    first = summarise(record(one("s2mnet", INFERENCE, 1.0)), "First").model_copy(update={"remark": "Was warm."})
    (tmp_path / "performance" / "a.json").write_text(first.model_dump_json())
    text = write_summary(tmp_path / "performance").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| inference", "| training"))]
    assert [(row[0][2:11], row[-1]) for row in rows] == [
        ("inference", "First |"),
        ("inference", "Second |"),
        ("training ", "Second |"),
        ("training ", "Second |"),
    ]
    assert "\n**First:** Was warm.\n" in text


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    (tmp_path / "performance").mkdir()
    (tmp_path / "performance" / "a.json").write_text("{}")
    with pytest.raises(S2MNetError, match=r"a\.json is not the summary of a machine"):
        write_summary(tmp_path / "performance")


def test_runs_of_one_machine_are_merged_with_their_commits(tmp_path: Path) -> None:
    runs = [record(one("s2mnet", INFERENCE, 1.0)), record(one("s2mnet", STEP, 2.0), commit="def")]
    for number, run in enumerate(runs):
        write_record(run, tmp_path / str(number))
    merged = load_records([tmp_path / "0" / "bench.json", tmp_path / "1" / "bench.json"])
    assert [m.case for m in merged.measurements] == [INFERENCE, STEP]
    assert merged.environment["commit"] == "abc (network), def (train)"


@pytest.mark.parametrize(
    "other, problem",
    [
        (record(one("s2mnet", STEP, 1.0), cpu="another"), "differ in cpu"),
        (record(one("s2mnet", STEP, 1.0), threads=4), "differ in threads"),
        (record(one("unet", INFERENCE, 1.0)), "measure network 352×352, batch 1, float32 twice"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(other: Record, problem: str) -> None:
    with pytest.raises(S2MNetError, match=problem):
        merge([record(one("s2mnet", INFERENCE, 1.0)), other])


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text("{}")
    for file in (tmp_path / "bench.json", tmp_path / "none.json"):
        with pytest.raises(S2MNetError, match=f"{file.name} is not a record of a benchmark"):
            load_records([file])
