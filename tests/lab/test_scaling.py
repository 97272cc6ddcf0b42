"""experiments/scaling.py: what is extrapolated, and throughput and cost from a benchmark."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mnet_lab.bench.record import Case, Measurement, Record

SOURCE = Path(__file__).parents[2] / "experiments" / "scaling.py"
spec = importlib.util.spec_from_file_location("scaling", SOURCE)
assert spec and spec.loader
scaling = importlib.util.module_from_spec(spec)
sys.modules["scaling"] = scaling
spec.loader.exec_module(scaling)

COUNTS = [1000, 4000, 16000]
PRICES = scaling.Prices(core_hour=0.5, gpu_hour=2.0, gigabyte_month=0.02)


@given(st.floats(1, 1.1), st.floats(1e-6, 1e3))
def test_a_power_is_continued(power: float, factor: float) -> None:
    values = [factor * count**power for count in COUNTS]
    assert scaling.extrapolate(COUNTS, values, 10**7) == pytest.approx(factor * 10 ** (7 * power))


@given(st.floats(0, 1e-2), st.floats(1e-6, 1e-2))
def test_what_compares_all_with_all_is_continued_as_a_quadratic(linear: float, quadratic: float) -> None:
    values = [linear * count + quadratic * count**2 for count in COUNTS]
    expected = linear * 1e7 + quadratic * 1e14
    assert scaling.extrapolate(COUNTS, values, 10**7, quadratic=True) == pytest.approx(expected, rel=1e-6)


def test_what_grows_slower_than_the_folder_is_continued_in_proportion() -> None:
    assert scaling.extrapolate(COUNTS, [5.0, 5.0, 5.0], 32000) == pytest.approx(10.0)


def test_noise_is_not_taken_for_a_steep_growth() -> None:
    assert scaling.extrapolate(COUNTS, [0.1, 1.0, 8.0], 160_000) == pytest.approx(8 * 10**1.1)


def point(step: str, pairs: int, size: str, cpu: float, memory: int) -> scaling.Point:
    return scaling.Point(step=step, pairs=pairs, size=size, cpu=cpu, memory=memory)


def test_a_step_breaks_where_it_needs_64_gigabytes_and_larger_images_add_their_time() -> None:
    tiny = [point("plan", count, "tiny", 1e-3 * count, 6400 * count) for count in COUNTS]
    real = [point("plan", count, "real", 5.0 + 4e-3 * count, 0) for count in (300, 900)]
    found = scaling.predict_step("plan", scaling.Growth(environment={}, points=tiny + real))
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
        scaling.rates(record(device), "network", "s2mnet")["float32"] for device in ("cpu", "cuda")
    )
    assert (best.case.batch, best.case.size) == (8, 352)
    assert (rate, of_gpu) == (2.0, 4.0)


def test_hours_and_cost_of_all_images() -> None:
    text = "\n".join(scaling.throughput(record(), PRICES))
    assert "| 2.00 | 1,389 | 694 |" in text  # 10 M images at 2 a second
    assert "| 0.50 | 4,028 | 80,556 | 40,278 |" in text  # 7 M samples at 0.5 a second, 1 M images at 2 a second
    assert "No GPU figure yet" in text


def test_a_gpu_has_its_own_price_and_unit() -> None:
    text = "\n".join(scaling.throughput(record("cuda"), PRICES))
    assert "| 4.00 | 694 | 1,389 |" in text
    assert "images/s per GPU" in text and "No GPU figure" not in text
