"""10 million images: the extrapolation, throughput and cost from a benchmark, the page, and that each step runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mnet_lab.bench.record import Case, Measurement, Record
from s2mnet_lab.scaling import cost, extrapolate, growth
from s2mnet_lab.scaling.steps import STEPS

if TYPE_CHECKING:
    from tiny import Cli

COUNTS = [1000, 4000, 16000]
PRICES = cost.Prices(core_hour=0.5, gpu_hour=2.0, gigabyte_month=0.02)


@given(st.floats(1, 1.1), st.floats(1e-6, 1e3))
def test_a_power_is_continued(power: float, factor: float) -> None:
    values = [factor * count**power for count in COUNTS]
    assert extrapolate.extrapolate(COUNTS, values, 10**7) == pytest.approx(factor * 10 ** (7 * power))


@given(st.floats(0, 1e-2), st.floats(1e-6, 1e-2))
def test_what_compares_all_with_all_is_continued_as_a_quadratic(linear: float, quadratic: float) -> None:
    values = [linear * count + quadratic * count**2 for count in COUNTS]
    expected = linear * 1e7 + quadratic * 1e14
    assert extrapolate.extrapolate(COUNTS, values, 10**7, quadratic=True) == pytest.approx(expected, rel=1e-6)


def test_what_grows_slower_than_the_folder_is_continued_in_proportion() -> None:
    assert extrapolate.extrapolate(COUNTS, [5.0, 5.0, 5.0], 32000) == pytest.approx(10.0)


def test_noise_is_not_taken_for_a_steep_growth() -> None:
    assert extrapolate.extrapolate(COUNTS, [0.1, 1.0, 8.0], 160_000) == pytest.approx(8 * 10**1.1)


def point(step: str, pairs: int, size: str, cpu: float, memory: int) -> growth.Point:
    return growth.Point(step=step, pairs=pairs, size=size, cpu=cpu, memory=memory)


def test_a_step_breaks_where_it_needs_64_gigabytes_and_larger_images_add_their_time() -> None:
    tiny = [point("plan", count, "tiny", 1e-3 * count, 6400 * count) for count in COUNTS]
    real = [point("plan", count, "real", 5.0 + 4e-3 * count, 0) for count in (300, 900)]
    found = extrapolate.predict_step("plan", growth.Growth(environment={}, points=tiny + real))
    assert found.hours == pytest.approx(4e-3 * 1e7 / 3600)
    assert found.memory == pytest.approx(64e9)
    assert (found.breaks, found.why) == (pytest.approx(1e7, rel=1e-6), "memory")


def measured(section: str, contestant: str, batch: int, seconds: float, size: int = 352) -> Measurement:
    case = Case(section=section, size=size, batch=batch)  # type: ignore[arg-type]
    return Measurement(case=case, contestant=contestant, seconds=[seconds])


def record(device: str = "cpu") -> Record:
    return Record(
        environment={}, device=device, threads=2, options={}, titles={"s2mnet": "S2M-Net"},
        measurements=[
            measured("network", "s2mnet", 1, 0.5), measured("network", "s2mnet", 8, 2.0),
            measured("network", "s2mnet", 8, 0.1, size=256), measured("train", "s2mnet", 8, 8.0),
        ],
    )  # fmt: skip


def test_a_rate_is_that_of_the_best_batch_at_352_for_one_core_or_one_gpu() -> None:
    (best, rate), (_, of_gpu) = (
        cost.rates(record(device), "network", "s2mnet")["float32"] for device in ("cpu", "cuda")
    )
    assert (best.case.batch, best.case.size) == (8, 352)
    assert (rate, of_gpu) == (2.0, 4.0)


def test_hours_and_cost_of_all_images() -> None:
    text = "\n".join(cost.throughput(record(), PRICES))
    assert "| 2.00 | 1,389 | 694 |" in text  # 10 M images at 2 a second
    assert "| 0.50 | 4,028 | 80,556 | 40,278 |" in text  # 7 M samples at 0.5 a second, 1 M images at 2 a second
    assert "No GPU figures yet" in text


def test_a_gpu_has_its_own_price_and_unit() -> None:
    text = "\n".join(cost.throughput(record("cuda"), PRICES))
    assert "| 4.00 | 694 | 1,389 |" in text
    assert "images/s per GPU" in text and "No GPU figures" not in text


def test_the_page_is_written_from_both_files(s2mnet_lab: Cli, tmp_path: Path) -> None:
    """Every step takes 1 ms a pair but the search, which takes 1 µs for each pair of pairs: 10^14 µs are 27,778 h."""
    points = [
        point(
            name, step.scale * count, "tiny", 1e-6 * (step.scale * count) ** 2 if step.quadratic else 1e-3 * count, 4096
        )
        for name, step in STEPS.items()
        for count in COUNTS
    ]
    kinds = [
        growth.Bytes(what="prepared image, 352²", files=10, mean=4e5),
        growth.Bytes(what="masks", files=1, mean=1e3),
    ]
    measured = growth.Growth(environment={"commit": "abc"}, points=points, bytes=kinds)
    (tmp_path / "growth.json").write_text(measured.model_dump_json())
    (tmp_path / "bench.json").write_text(record().model_dump_json())
    files = (tmp_path / "growth.json", tmp_path / "bench.json")
    code, _, _ = s2mnet_lab("scaling", "write", *files, "--write", tmp_path / "page.md", "--gigabyte-month", 0.5)
    text = (tmp_path / "page.md").read_text()
    assert code == 0 and "growth at commit abc" in text and "{" not in text
    assert "(27,778 core-hours, measured up to\n   64,000 images)" in text
    assert "| prepared image, 352² (mean of 10) | 400.0 | 4.00 | 4.01 | 2,000 |" in text  # 98 blocks of 4096 bytes
    assert "at 352² take 3.2 TB" in text  # of 80 %
    (tmp_path / "growth.json").write_text("{}")
    code, _, errors = s2mnet_lab("scaling", "write", *files)
    assert code == 2 and "growth.json is not a record of measured growth" in errors


@pytest.mark.parametrize("name", STEPS)
def test_each_step_runs_on_tiny_images(name: str, tiny_run: Path, tmp_path: Path) -> None:
    data = growth.write_tiny(tmp_path / "data", 8)
    STEPS[name].prepare(data, tmp_path / "scratch", tiny_run)()


def test_links_are_to_evenly_spaced_pairs(tmp_path: Path) -> None:
    data = growth.write_tiny(tmp_path / "data", 9)
    linked = growth.link_pairs(data, tmp_path / "some", 3)
    for kind in ("images", "masks"):
        names = sorted(file.name for file in (linked / kind).iterdir())
        assert names == ["case00000000.png", "case00000004.png", "case00000008.png"]
        assert all((linked / kind / name).read_bytes() == (data / kind / name).read_bytes() for name in names)
