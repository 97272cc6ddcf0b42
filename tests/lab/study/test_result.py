"""Result files: what goes in comes out, in few readable lines, and those of the repository belong to its studies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mnet.errors import S2MNetError
from s2mnet.evaluation.metrics import METRIC_NAMES
from s2mnet.evaluation.results import evaluate
from s2mnet_lab.study.columns import to_columns, to_json, to_records
from s2mnet_lab.study.result import CellResult, Measured, SplitIdentity, load_result, result_path, save_result
from s2mnet_lab.study.study import Study

ROOT = Path(__file__).parents[3]
NAMES = [f"image {number}" for number in range(30)]

plain = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.text(max_size=3)
json_values = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner))
values = st.integers(-9, 9) | st.floats(-1, 1)
records = st.lists(st.dictionaries(st.sampled_from("abc"), values, min_size=1), min_size=1)


@given(json_values)
def test_readable_json_is_json(value: Any) -> None:
    assert json.loads(to_json(value)) == value


@given(records, records)
def test_columns_are_the_records(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    assert to_records(to_columns([{"a": 1, "b": {}}, {"a": 2, "b": {}}])) == [{"a": 1}, {"a": 2}]
    nested = [{**one, "terms": terms} for one, terms in zip(first, second, strict=False)]
    for of in (first, nested):
        columns = to_columns(of)
        assert all(len(column) == len(of) for column in columns.values() if isinstance(column, list))
        assert to_records(columns) == of


def measured() -> tuple[Measured, dict[str, dict[str, float]], list[str]]:
    """Figures of random masks of two structures, some empty; and the same by name, from the evaluation."""
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 3, (16, 16)) for _ in NAMES]
    truths[3] = truths[4] = np.zeros((16, 16), int)
    predictions = [np.where(rng.random((16, 16)) < 0.2, 0, truth) for truth in truths]
    evaluation = evaluate(zip(NAMES, predictions, truths, strict=True), {"a": [1], "b": [2]})
    dice = {case.name: {name: own["dice"] for name, own in case.metrics.items()} for case in evaluation.cases}
    return Measured.of(evaluation), dice, [case.name for case in evaluation.cases if case.empty["a"] != "neither"]


def saved(path: Path, study: Study) -> Path:
    cell = next(study.cells())
    history = [
        {"epoch": number, "val_dice": dice, "terms": {"core": 1 / 3}} for number, dice in ((1, 0.123456), (2, 0.1))
    ]
    result = CellResult(
        study=study.name, dataset=cell.dataset, variant=cell.variant, seed=cell.seed, lr=None,
        declared=study.declared(cell), plan={"lr": 1e-6}, environment={}, command="", parameters=1, model_sha256="",
        split=SplitIdentity(hash="0", counts={}), history=history, best_epoch=1, seconds={}, test=measured()[0],
    )  # fmt: skip
    save_result(result, result_path(path, study, cell))
    return result_path(path, study, cell)


@pytest.fixture
def study() -> Study:
    return Study.model_validate({"name": "s", "title": "t", "data": {"D": {}}, "variants": {"v": {"title": "V"}}})


def test_what_is_saved_is_loaded(tmp_path: Path, study: Study) -> None:
    """Dice to six digits, as the pages need it, other figures to three."""
    saved(tmp_path, study)
    result, (_, dice, empty) = load_result(tmp_path, study, next(study.cells())), measured()
    assert result is not None and result.test is not None
    assert result.dice() == pytest.approx({name: np.mean(list(of.values())) for name, of in dice.items()}, abs=1e-6)
    assert list(result.dice()) == NAMES and list(result.test.empty["a"]) == empty == NAMES[3:5]
    figures = measured()[0].figures["b"]
    assert set(figures) == set(METRIC_NAMES) - {"iou"}
    for name, column in figures.items():
        assert result.test.figures["b"][name] == pytest.approx(column, rel=5e-6 if name == "dice" else 5e-3)
    assert result.best_dice == 0.123456 and result.history[1] == {
        "epoch": 2,
        "val_dice": 0.1,
        "terms": {"core": 0.3333},
    }
    assert result.plan == {"lr": 1e-6}


def test_a_column_takes_a_line(tmp_path: Path, study: Study) -> None:
    lines = saved(tmp_path, study).read_text().splitlines()
    assert sum(line.strip().startswith('"dice": [') and line.count(",") >= len(NAMES) - 1 for line in lines) == 2
    assert len(lines) < 60


@pytest.mark.parametrize("change", [{"format": 1}, {"test": None, "history": 3}, {"note": "?"}])
def test_another_format_is_named(tmp_path: Path, study: Study, change: dict[str, Any]) -> None:
    file = saved(tmp_path, study)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(S2MNetError, match=r"v-42\.json is no result of a study: .*Delete it"):
        load_result(tmp_path, study, next(study.cells()))


def test_the_former_name_of_a_precision_declares_the_same(study: Study) -> None:
    def declared(**options: str) -> dict[str, Any]:
        changed = {
            "plan": options,
            "data": {"D": {"plan": options}},
            "variants": {"v": {"title": "V", "plan": options}},
        }
        of = Study.model_validate({**study.model_dump(), **changed})
        return of.declared(next(of.cells()))

    assert declared(precision="32") == declared(precision="float32") != declared(precision="bf16")


def test_the_results_of_the_repository_are_those_of_its_studies() -> None:
    """No cell would be run again, and none is of another study's words."""
    studies = [Study.load(file) for file in sorted((ROOT / "studies").glob("*.yaml"))]
    cells = [(study, cell) for study in studies if study.measure == "training" for cell in study.cells()]
    results = [result for study, cell in cells if (result := load_result(ROOT / "results", study, cell))]
    for result in results:
        assert (
            result.test is not None
            and len(result.test.names) == result.split.counts[result.declared.get("split", "test")]
        )
        for part in filter(None, (result.test, result.test.volumes)):
            lengths = {len(column) for columns in part.figures.values() for column in columns.values()}
            assert lengths == {len(part.names)} == {len(set(part.names))}
        volumes = result.test.volumes.names if result.test.volumes else []
        assert bool(volumes) == (result.dataset == "ACDC")
        assert {name.rsplit("_slice", 1)[0] for name in result.test.names if volumes} == set(volumes)
    files = [file for file in (ROOT / "results").rglob("*.json") if file.parent.name != "spectral"]
    assert len(results) == len(files) == 205
    assert sum(file.stat().st_size for file in (ROOT / "results").rglob("*.json")) < 2.5e6
