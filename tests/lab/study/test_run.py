"""Running a study on a tiny folder: every promise of the instrument."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from tiny import NARROW, quiet, untimed, write_data

from s2mnet.data import find_cases, load_case
from s2mnet.errors import S2MNetError
from s2mnet.prediction import Predictor
from s2mnet_lab.study.result import CellResult, load_result, result_path
from s2mnet_lab.study.run import Places, Selection, run_study
from s2mnet_lab.study.spectrum.result import SpectrumResult
from s2mnet_lab.study.study import Study


def study(**changes: Any) -> Study:
    ours = {"title": "ours", "network": NARROW}
    content: dict[str, Any] = {
        "name": "tiny",
        "title": "Tiny",
        "data": {"discs": {"folder": "discs", "plan": {"extent": "whole"}, "also_test": ["others"]}},
        "others": {"others": {"folder": "others"}},
        "plan": {"size": 32, "steps": 6, "batch_size": 4, "repeats": 2, "precision": "float32", "lr": 1e-2},
        "variants": {"ours": ours, "dice": {**ours, "title": "dice", "loss": "dice_ce"}},
        "seeds": [1, 2],
    }
    return Study.model_validate({**content, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_data(root / "discs")
    write_data(root / "others", seed=1)
    return root


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A whole study."""
    out = tmp_path_factory.mktemp("study")
    places = Places(data, out / "results", out / "work")
    assert len(run_study(study(), places, console=quiet(), command="as tested")) == 4
    return places


def results(places: Places, of: Study | None = None) -> list[CellResult]:
    of = of or study()
    return [result for cell in of.cells() if (result := load_result(places.results, of, cell))]


def test_no_cell_is_run_twice(done: Places) -> None:
    files = {file: file.stat().st_mtime_ns for file in done.results.rglob("*.json")}
    assert len(files) == 4 and run_study(study(), done, console=quiet()) == []
    assert files == {file: file.stat().st_mtime_ns for file in done.results.rglob("*.json")}


def test_a_result_says_everything(done: Places) -> None:
    for result in results(done):
        assert result.command == "as tested" and result.environment["torch"] and result.environment["cpu_count"]
        assert result.plan["training"]["seed"] == result.seed and result.plan["network"]["stem_channels"] == 8
        assert result.history[-1]["steps"] == 6 and result.seconds["training"] > 0
        assert result.split.counts == {"train": 8, "val": 2, "test": 2} and len(result.split.hash) == 64
        best = max(result.history, key=lambda record: record["val_dice"])
        assert (result.best_epoch, result.best_dice) == (best["epoch"], best["val_dice"])
        assert ("weights" in result.history[-1]) == (result.variant == "ours")


def test_numbers_are_those_of_the_masks(done: Places) -> None:
    """Dice of the stored model by our own count, on the test images and on the other set."""
    result = results(done)[0]
    predictor = Predictor(done.work / "tiny" / f"{result.dataset}/{result.variant}-{result.seed}")
    for folder, splits, where in (("discs", ["test"], None), ("others", ["train", "val", "test"], "others")):
        cases = [case for split in splits for case in find_cases(done.data / folder).splits[split]]
        stored = result.dice(where)
        assert stored.keys() == {case.name for case in cases}
        for case in cases:
            image, truth = load_case(case, predictor.config.labels)
            mask = predictor.predict(image).indices
            both = 2 * ((mask == 1) & (truth == 1)).sum() / max(1, (mask == 1).sum() + (truth == 1).sum())
            assert stored[case.name] == pytest.approx(both, abs=1e-5)


def test_a_stopped_study_goes_on(done: Places, tmp_path: Path) -> None:
    """In the middle of a training, which ends as if it had not been stopped."""
    places = Places(done.data, tmp_path / "results", tmp_path / "work")
    one = Selection(variants=["ours"], seeds=[1])
    assert run_study(study(), places, one, minutes=1e-9, console=quiet()) == []
    assert results(places) == []
    for attempt in range(60):  # a second or so is a few epochs here, and on a slow machine none
        if run_study(study(), places, one, minutes=0.01 * 1.1**attempt, console=quiet()):
            break
    (again,), first = results(places), results(done)[0]
    assert untimed(again.history) == untimed(first.history)
    assert again.test == first.test and again.model_sha256 == first.model_sha256


def test_a_stopped_cell_of_a_study_that_was_changed_starts_anew(done: Places, tmp_path: Path) -> None:
    one = Selection(variants=["ours"], seeds=[1])
    options = study().plan
    for places in (Places(done.data, tmp_path / name, tmp_path / name) for name in ("changed", "fresh")):
        if places.work.name == "changed":
            before = study(plan={**options, "lr": 1e-3})
            run_study(before, places, one, console=quiet())
            result_path(places.results, before, next(before.cells())).unlink()
        run_study(study(), places, one, console=quiet())
    changed, fresh = (results(Places(done.data, tmp_path / name, tmp_path))[0] for name in ("changed", "fresh"))
    assert untimed(changed.history) == untimed(fresh.history) and changed.model_sha256 == fresh.model_sha256


def test_several_processes_share_a_study(done: Places, tmp_path: Path) -> None:
    places = Places(done.data, tmp_path / "results", tmp_path / "work")
    folder = places.work / "tiny" / "discs" / "ours-1"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        finished = run_study(study(), places, Selection(seeds=[1]), console=quiet())
    assert [cell.variant for cell in finished] == ["dice"]


def test_a_result_of_other_settings_is_no_result(done: Places) -> None:
    changed = study(plan={"size": 32, "steps": 7})
    with pytest.raises(S2MNetError, match=r"ours-1\.json.*another plan"):
        run_study(changed, done, console=quiet())


def test_no_test_image_is_opened_before_the_model_is_chosen(done: Places, tmp_path: Path) -> None:
    """With test images that cannot be read, everything up to the test is as it was."""
    data = tmp_path / "data"
    write_data(data / "discs")
    write_data(data / "others", seed=1)
    for file in (data / "discs" / "test").rglob("*.png"):
        file.write_bytes(b"no image")
    places = Places(data, tmp_path / "results", tmp_path / "work")
    with pytest.raises(S2MNetError, match=r"failed in 1 of 1 cells, .*discs/ours-1"):
        run_study(study(), places, Selection(variants=["ours"], seeds=[1]), console=quiet())
    run = Path("tiny", "discs", "ours-1", "model.safetensors")
    assert (places.work / run).read_bytes() == (done.work / run).read_bytes()
    assert not list(places.results.rglob("*.json"))


def test_the_search_takes_what_validates_best(data: Path, tmp_path: Path) -> None:
    searched = study(
        search={"lr": [1e-7, 2e-2], "steps": 12, "seed": 5},
        variants={"ours": {"title": "ours", "network": NARROW}},
        seeds=[1],
    )
    places = Places(data, tmp_path / "results", tmp_path / "work")
    assert len(run_study(searched, places, console=quiet())) == 3
    trials = [result for result in results(places, searched) if result.lr is not None]
    (cell,) = [result for result in results(places, searched) if result.lr is None]
    assert [trial.history[-1]["steps"] for trial in trials] == [12, 12]
    assert all(trial.test is None for trial in trials)
    assert cell.plan["training"]["lr"] == max(trials, key=lambda trial: trial.best_dice).lr


def test_a_broken_result_is_named(done: Places, tmp_path: Path) -> None:
    places = replace(done, results=tmp_path)
    cell = next(iter(study().cells()))
    file = result_path(tmp_path, study(), cell)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"study": "tiny"}))
    with pytest.raises(S2MNetError, match=r"ours-1\.json"):
        run_study(study(), places, console=quiet())


def test_data_that_are_not_there_are_named_before_anything_is_run(data: Path, tmp_path: Path) -> None:
    of = study(data={"discs": {"folder": "discs"}, "DRIVE": {}, "x": {"folder": "lost"}}, others={})
    with pytest.raises(S2MNetError, match="no DRIVE, lost"):
        run_study(of, Places(data, tmp_path / "results", tmp_path / "work"), console=quiet())
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("selection", [Selection(datasets=["x"]), Selection(variants=["x"]), Selection(seeds=[9])])
def test_an_unknown_name_is_refused(done: Places, selection: Selection) -> None:
    with pytest.raises(S2MNetError, match=r"--(dataset|variant|seed)"):
        run_study(study(), done, selection, console=quiet())


def test_images_count_in_the_identity_of_a_split(data: Path, tmp_path: Path) -> None:
    from s2mnet_lab.study.result import identify

    write_data(tmp_path)
    first = identify(find_cases(tmp_path))
    assert first == identify(find_cases(data / "discs"))
    file = tmp_path / "val" / "images" / "val_0.png"
    pixels = np.array(Image.open(file))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(file)
    assert identify(find_cases(tmp_path)) != first


def test_a_study_of_spectra(done: Places, tmp_path: Path) -> None:
    """Of the images and of the network that another study trained; it waits for a network that is not there yet."""
    of = Study.model_validate(
        {
            "name": "spectral",
            "title": "Spectra",
            "measure": "spectrum",
            "data": {"discs": {"folder": "discs"}, "others": {"folder": "others"}, "later": {"folder": "others"}},
            "networks": {"discs": "tiny/discs/ours-1", "later": "tiny/discs/ours-99"},
        }
    )
    finished = run_study(of, done, console=quiet())
    assert [str(cell) for cell in finished] == ["discs", "others"]
    assert run_study(of, done, console=quiet()) == []
    first, second = (
        SpectrumResult.model_validate_json((done.results / "spectral" / f"{name}.json").read_bytes())
        for name in ("discs", "others")
    )
    assert first.image.images == second.image.images == 12
    assert len(first.stages) == len(first.filters) == 5 and second.stages == []
    assert first.environment["torch"]
    assert Image.open(done.work / "spectral" / "discs" / "reconstructions.png").width > 5 * 64


def test_a_study_to_choose_by_leaves_the_test_split_unread(done: Places, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_data(data / "discs")
    for file in (data / "discs" / "test").rglob("*.png"):
        file.write_bytes(b"no image")
    to_choose = study(split="val", data={"discs": {"folder": "discs", "plan": {"extent": "whole"}}}, others={})
    places = Places(data, tmp_path / "results", tmp_path / "work")
    assert len(run_study(to_choose, places, Selection(variants=["ours"], seeds=[1]), console=quiet())) == 1
    (result,) = results(places, to_choose)
    assert set(result.dice()) == {"val_0", "val_1"}
    assert np.mean(list(result.dice().values())) == pytest.approx(result.best_dice, abs=1e-4)
