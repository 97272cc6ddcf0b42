"""Rounds, budget and cases."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mnet import S2MNetError
from s2mnet_lab.bench import Request, run_bench
from s2mnet_lab.bench.record import Case
from s2mnet_lab.bench.run import cases_of
from s2mnet_lab.bench.timing import Budget, alternate


@given(count=st.integers(2, 9), rounds=st.integers(1, 12))
def test_every_job_has_one_turn_a_round_and_none_two_in_a_row(count: int, rounds: int) -> None:
    turns: list[int] = []

    def turn(job: int) -> float:
        turns.append(job)
        return float(len(turns))

    found = alternate({str(job): lambda job=job: turn(job) for job in range(count)}, rounds)
    assert all(len(set(turns[i : i + count])) == count for i in range(0, len(turns), count))
    assert all(a != b for a, b in itertools.pairwise(turns))
    for job in range(count):
        assert found[str(job)] == [place for place, who in enumerate(turns, 1) if who == job]


def test_the_budget_counts_what_is_promised_and_what_is_spent() -> None:
    now = [100.0]
    budget = Budget(1, clock=lambda: now[0])
    assert budget.reserve(30) and not budget.reserve(31) and budget.left == 30
    now[0] += 20
    budget.settle()
    assert budget.left == 40


def test_what_does_not_fit_is_left_out_and_said() -> None:
    request = Request([64], [1], ["float32"], "network", ["s2mnet", "unet"], repeats=2, minutes=1e-4)
    record = run_bench(request)
    assert not record.measurements
    assert [(out.contestant, out.reason) for out in record.left_out] == [
        (name, "it does not fit into --minutes") for name in ("s2mnet", "unet")
    ]


def test_the_usual_cases_are_those_of_the_page_the_cheapest_first() -> None:
    cases = cases_of(Request())
    once = {"loss": 1, "bound": 1, "operations": 1}
    assert Counter(case.section for case in cases) == {"network": 20, "train": 2, "spectral": 10, **once}
    inference = [case for case in cases if case.section == "network"]
    assert {(case.size, case.batch) for case in inference} == {
        (s, b) for s in (256, 352, 512, 768, 1024) for b in (1, 8)
    }
    pixels = [case.size**2 * case.batch for case in inference]
    assert pixels == sorted(pixels)
    assert Case(section="train", size=352, batch=8, precision="bf16") in cases


@pytest.mark.parametrize(
    "request_, where",
    [
        (Request(sizes=[350]), "--size"),
        (Request(batches=[0]), "--batch"),
        (Request(repeats=0), "--repeats"),
        (Request(minutes=-1), "--minutes"),
        (Request(threads=-2), "--threads"),
        (Request(threads=0), "--threads"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(request_: Request, where: str) -> None:
    with pytest.raises(S2MNetError, match=where):
        run_bench(request_)


def test_bf16_is_not_measured_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2mnet_lab.bench.run.multiplies_bf16", lambda device: False)
    with pytest.raises(S2MNetError, match="bf16 on a cpu that does not multiply it natively"):
        run_bench(Request([32], [1], ["bf16"], "network", ["s2mnet"], repeats=1))
    record = run_bench(Request([32], [1], only="network", contestants=["s2mnet"], repeats=1))
    assert [one.case.precision for one in record.measurements] == ["float32"] and not record.left_out
    assert {one.case.precision for one in run_bench(Request([64], only="bound")).bounds} == {"float32"}
