"""What is done to a data folder, step by step, each ready to be measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from s2mnet.data import LabelMap, find_cases
from s2mnet.evaluation.folders import evaluate_folders
from s2mnet.evaluation.results import save
from s2mnet.fingerprint import inspect_folder, read_folder
from s2mnet.fingerprint.duplicates import find_duplicates
from s2mnet.fingerprint.pair import InspectedPair
from s2mnet.fingerprint.pair import measure as measure_case
from s2mnet.inspection import write_page
from s2mnet.plan import make_plan
from s2mnet.plan.schema import Preprocessing
from s2mnet.prediction import Predictor, predict_folder
from s2mnet.training.store import PreparedCases
from s2mnet_lab.scaling import SIZE

TINY_SIDE, TINY_MARK = 64, "tiny"  # side of generated images, and a file in their folder
Work = Callable[[], object]


class Step(NamedTuple):
    """Something that is done to a folder.

    Attributes:
        prepare: takes the data folder, a scratch folder and a run folder; returns the work to measure.
        real: whether its cost depends on the size of the images; it is then measured on real ones too.
        scale: multiple of the pairs of the other steps, for quadratic costs that show only in large folders.
        quadratic: whether it compares all pairs with all, so that its time is a + b·n + c·n².
    """

    title: str
    prepare: Callable[[Path, Path, Path], Work]
    real: bool = False
    scale: int = 1
    quadratic: bool = False


def _list(data: Path, scratch: Path, run: Path) -> Work:
    return lambda: find_cases(data)


def _plan(data: Path, scratch: Path, run: Path) -> Work:
    return lambda: make_plan(read_folder(find_cases(data)))


def _inspect(data: Path, scratch: Path, run: Path) -> Work:
    def work() -> None:
        fingerprint = inspect_folder(data)
        fingerprint.save(scratch / "fingerprint.json")
        write_page(fingerprint, data, scratch / "inspection.html")

    return work


def _look_alikes(data: Path, scratch: Path, run: Path) -> Work:
    cases = find_cases(data).splits["train"]
    fact = cast(InspectedPair, measure_case(cases[0], "train", inspect=True)[0])
    count = STEPS["look-alikes"].scale * sum(map(len, find_cases(data).splits.values()))
    thumbnails = np.random.default_rng(0).uniform(0, 255, (count, 32, 32)).astype(np.float32)
    facts = [
        dataclasses.replace(fact, thumbnail=thumbnail, image_hash=str(place).encode())
        for place, thumbnail in enumerate(thumbnails)
    ]
    names = [str(place) for place in range(count)]
    return lambda: find_duplicates(facts, names)


def _prepare(data: Path, scratch: Path, run: Path) -> Work:
    splits = find_cases(data).splits
    cases = [*splits["train"], *splits["val"]]
    labels = LabelMap(kind="threshold", values=[0, 255])
    size = TINY_SIDE if (data / TINY_MARK).is_file() else SIZE
    preprocessing = Preprocessing(
        extent="whole", size=(size, size), channels=["red", "green", "blue"], normalisation="image"
    )
    return lambda: PreparedCases(cases, preprocessing, labels, True, scratch / "cache")


def _shard(data: Path, scratch: Path, run: Path) -> Work:
    predictor = Predictor(run)
    # The shard is so small that it holds no image: only the start of a job is left.
    return lambda: predict_folder(predictor, data / "images", scratch / "out", shard=(1, 10**9))


def _evaluate(data: Path, scratch: Path, run: Path) -> Work:
    return lambda: save(evaluate_folders(data / "masks", data / "masks"), scratch / "evaluation")


STEPS = {
    "list": Step("list, pair and split (`find_cases`)", _list),
    "plan": Step("`s2mnet plan`, and the start of `train`", _plan, real=True),
    "inspect": Step("`s2mnet inspect`, without the search for look-alikes", _inspect, real=True),
    "look-alikes": Step("the search for look-alikes in `inspect`", _look_alikes, scale=4, quadratic=True),
    "prepare": Step("decode into the cache, at the first start of `train`", _prepare, real=True),
    "prepare again": Step("find everything in the cache, at any later start, in each process", _prepare, real=True),
    "shard": Step("start of each job of `predict --shard i/n`", _shard),
    "evaluate": Step("`s2mnet evaluate MASKS TRUTH`", _evaluate, real=True),
}
