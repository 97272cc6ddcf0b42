"""Summaries of many images: means that leave nothing out, intervals that cover, files that come back."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from direct import image_metrics
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from s2mnet.data.casetable import CaseFacts
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.metrics import METRIC_NAMES
from s2mnet.evaluation.records import summarise, summarise_values
from s2mnet.evaluation.results import MEAN, Evaluation, evaluate, load, save, table

SQUARE = np.zeros((12, 12), np.uint8)
SQUARE[2:8, 3:9] = 1
EMPTY = np.zeros_like(SQUARE)


def random_evaluation(images: int = 6, seed: int = 0) -> Evaluation:
    """Two classes on images where a class may be missing, with names that trip a careless writer."""
    rng = np.random.default_rng(seed)
    pairs = [
        (f'Zürich, "{i}"', rng.choice(3, (9, 7), p=[0.9, 0.1, 0.0] if i % 2 else None), rng.integers(0, 3, (9, 7)))
        for i in range(images)
    ]
    return evaluate(pairs, {"left [ventricle]": [1], "Läsion": [2]}, split="test").with_context(
        commit="abc", data="Zürich"
    )


def rendered(evaluation: Evaluation, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"), color_system=None)  # noqa: SIM115
    console.print(table(evaluation))
    return console.export_text()


def test_one_complete_miss_among_ten_counts_in_full() -> None:
    pairs = [(str(i), SQUARE, SQUARE) for i in range(9)] + [("miss", EMPTY, SQUARE)]
    got = evaluate(pairs, {"lesion": [1]})
    for metric in METRIC_NAMES:
        expected = np.hypot(12, 12) / 10 if metric == "hd95" else 1.0 - 0.1
        assert got.summary["lesion"][metric].mean == pytest.approx(expected, abs=1e-15)


def test_empty_masks_are_counted_apart_from_disjoint_ones() -> None:
    far = np.roll(SQUARE, 6, axis=1)
    far[SQUARE == 1] = 0
    pairs = [("both", EMPTY, EMPTY), ("missed", EMPTY, SQUARE), ("alarm", SQUARE, EMPTY), ("far", far, SQUARE)]
    outside = np.where(SQUARE == 1, 255, 0)
    got = evaluate([*pairs, ("outside", SQUARE, outside)], {"lesion": [1]})
    assert [case.empty["lesion"] for case in got.cases] == ["both", "prediction", "truth", "neither", "both"]
    assert (got.empty["lesion"].complete_misses, got.empty["lesion"].both_empty) == (2, 2)
    assert [case.metrics["lesion"]["dice"] for case in got.cases] == [1, 0, 0, 0, 1]


def test_summary_is_over_images_and_the_mean_is_within_each_image() -> None:
    got = random_evaluation()
    for metric in METRIC_NAMES:
        per_class = {name: np.array([c.metrics[name][metric] for c in got.cases]) for name in got.class_names}
        per_class[MEAN] = np.mean(list(per_class.values()), axis=0)
        assert list(per_class) == list(got.summary)
        for key, values in per_class.items():
            s = got.summary[key][metric]
            assert (s.mean, s.std, s.median) == pytest.approx((values.mean(), values.std(ddof=1), np.median(values)))
            assert values.min() <= s.low <= s.mean <= s.high <= values.max()
    assert got == random_evaluation()
    assert summarise(got.cases) == got.summary


def test_cases_hold_the_metrics_of_their_image() -> None:
    rng = np.random.default_rng(3)
    pairs = [(name, *rng.integers(0, 3, (2, 9, 7))) for name in ("a", "b")]
    seen: list[tuple[int, str]] = []
    got = evaluate(iter(pairs), {"x": [1], "y": [2]}, progress=lambda done, name: seen.append((done, name)))
    assert seen == [(1, "a"), (2, "b")]
    for case, (name, prediction, truth) in zip(got.cases, pairs, strict=True):
        assert (case.name, case.metrics) == (name, image_metrics(prediction, truth, {"x": [1], "y": [2]}))


def test_a_single_image_has_no_spread() -> None:
    s = evaluate([("only", SQUARE, SQUARE)], {"lesion": [1]}).summary["lesion"]["dice"]
    assert (s.mean, s.std, s.median, s.low, s.high) == (1, 0, 1, 1, 1)


def test_interval_of_a_normal_sample_meets_its_standard_error() -> None:
    sample = np.random.default_rng(1).normal(0.8, 0.05, 400)
    (s,) = summarise_values(sample[None])
    error = sample.std(ddof=1) / np.sqrt(400)
    assert s.low == pytest.approx(sample.mean() - 1.96 * error, abs=0.2 * error)
    assert s.high == pytest.approx(sample.mean() + 1.96 * error, abs=0.2 * error)


def test_interval_covers_the_true_mean() -> None:
    summaries = summarise_values(np.random.default_rng(2).normal(0.8, 0.05, (400, 50)))
    assert 0.90 <= np.mean([s.low <= 0.8 <= s.high for s in summaries]) <= 0.98


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_interval_holds_the_mean_and_shifts_with_the_values(values: list[float]) -> None:
    v = np.array(values)
    s, shifted = summarise_values(np.stack([v, v + 3]))
    assert v.min() - 1e-12 <= s.low <= s.high <= v.max() + 1e-12
    assert (shifted.low, shifted.high) == pytest.approx((s.low + 3, s.high + 3))


@pytest.mark.parametrize(
    ("pairs", "structures", "options", "message"),
    [
        ([], {"lesion": [1]}, {}, "no image"),
        ([("a", EMPTY, EMPTY)] * 2, {"lesion": [1]}, {}, "'a'"),
        ([("a", EMPTY, EMPTY[1:])], {"lesion": [1]}, {}, "a: .*one shape"),
        ([("a", EMPTY, EMPTY)], {}, {}, "above 0"),
        ([("a", EMPTY, EMPTY)], {"x": [0]}, {}, "above 0"),
        ([("a", EMPTY, EMPTY)], {MEAN: [1]}, {}, "may be called"),
        ([("a", EMPTY, EMPTY)], {"x": [1]}, {"facts": {"b": CaseFacts()}}, "no facts of 'a'"),
        ([("a", EMPTY, EMPTY)], {"x": [1]}, {"facts": {"a": CaseFacts(), "b": CaseFacts()}}, "did not come"),
    ],
)
def test_refuses(pairs: list, structures: dict, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(pairs, structures, **options)


def test_files_come_back(tmp_path: Path) -> None:
    got = random_evaluation()
    folder = tmp_path / "new" / "run"
    save(got, folder)
    assert load(folder) == got
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", "metrics.json"]
    assert json.loads((folder / "metrics.json").read_text("utf-8"))["context"] == {"commit": "abc", "data": "Zürich"}
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(got.cases) * 2
    for row, (case, name) in zip(rows, ((c, n) for c in got.cases for n in got.class_names), strict=True):
        assert (row["image"], row["split"], row["class"], row["empty"]) == (case.name, "test", name, case.empty[name])
        assert {metric: float(row[metric]) for metric in METRIC_NAMES} == case.metrics[name]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = random_evaluation(seed=0)
    save(first, tmp_path)

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(S2MNetError, match="no space"):
        save(random_evaluation(seed=1), tmp_path)
    assert load(tmp_path) == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "metrics.json"]


def test_a_file_is_replaced_not_overwritten(tmp_path: Path) -> None:
    """Whoever holds the old file open (here: by a second name) keeps reading the old one, whole."""
    save(random_evaluation(seed=0), tmp_path)
    for name in ("metrics.json", "metrics.csv"):
        os.link(tmp_path / name, tmp_path / f"old-{name}")
        old = (tmp_path / name).read_bytes()
        save(random_evaluation(seed=1), tmp_path)
        assert (tmp_path / f"old-{name}").read_bytes() == old != (tmp_path / name).read_bytes()
        save(random_evaluation(seed=0), tmp_path)


@pytest.mark.parametrize("content", ["", "{", '{"cases": []}'])
def test_load_refuses_what_is_no_evaluation(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(S2MNetError, match=r"metrics\.json is not the result of an evaluation: .* at "):
        load(tmp_path)


def test_table_shows_each_class_with_its_interval() -> None:
    got = random_evaluation()
    text = rendered(got)
    lines = [line for line in text.splitlines() if "Dice" in line and "Surface" not in line]
    assert len(lines) == 3
    for line, key in zip(lines, ["left [ventricle]", "Läsion", MEAN], strict=True):
        s = got.summary[key]["dice"]
        assert key in line
        assert f"{s.mean:.3f} [{s.low:.2f}, {s.high:.2f}]" in line
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    missed = got.empty["Läsion"].complete_misses
    assert missed > 0
    assert f"Läsion: complete misses {missed}, both empty {got.empty['Läsion'].both_empty}" in text


def test_table_of_one_class_has_no_mean_over_classes() -> None:
    assert MEAN not in rendered(evaluate([("a", SQUARE, SQUARE)], {"lesion": [1]}))
