"""Models, plans and data from strangers: values outside their range, texts that parsers stumble over, and images that
give no result."""

from __future__ import annotations

import inspect
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import Cli, refused, tiny_plan

from s2mnet import Predictor, S2MNet, S2MNetError
from s2mnet.data import Case, Dataset, LabelMap, find_cases
from s2mnet.jsonfile import read_json
from s2mnet.modelfolder import load_model, save_model
from s2mnet.plan import Plan, Preprocessing
from s2mnet.training.store import PreparedCases


@pytest.fixture
def model(tiny_run: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_run / name, folder)
    return folder


# Models ---------------------------------------------------------------------------------------------------------------


def negative_variance(weights: dict[str, torch.Tensor]) -> None:
    for name, weight in weights.items():
        if name.endswith("running_var"):
            weight.neg_().sub_(1)


def one_nan(weights: dict[str, torch.Tensor]) -> None:
    next(weight for weight in weights.values() if weight.is_floating_point()).view(-1)[0] = float("nan")


def infinite(weights: dict[str, torch.Tensor]) -> None:
    for weight in weights.values():
        if weight.is_floating_point():
            weight.fill_(float("inf"))


@pytest.mark.parametrize("spoil", [negative_variance, one_nan, infinite])
def test_weights_that_give_no_numbers_predict_no_mask(
    spoil: Callable[[dict[str, torch.Tensor]], None], model: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli
) -> None:
    weights = {name: weight.clone() for name, weight in load_file(model / "model.safetensors").items()}
    spoil(weights)
    save_file(weights, model / "model.safetensors")
    images = tiny_data / "test" / "images"
    refused(s2mnet("predict", model, images, "-o", tmp_path / "out"), "not a number")
    assert not (tmp_path / "out" / "masks").exists()
    refused(s2mnet("evaluate", model, tiny_data), "not a number")


def test_a_model_that_is_not_finite_is_not_written(tiny_run: Path, tmp_path: Path) -> None:
    network, config = load_model(tiny_run)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(S2MNetError, match="not a number"):
        save_model(network, config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def changed(model: Path, place: str, value: Any) -> Path:
    content = json.loads((model / "config.json").read_text())
    node = content
    *way, last = place.split(".")
    for key in way:
        node = node[key]
    node[last] = value
    (model / "config.json").write_text(json.dumps(content))
    return model


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("s2mnet.tta", 0), ("s2mnet.tta", 2**63), ("s2mnet.threshold", float("nan")), ("s2mnet.threshold", -0.1),
        ("s2mnet.threshold", 2), ("s2mnet.preprocessing.size", [3, 3]), ("s2mnet.preprocessing.size", [10**9, 10**9]),
        ("s2mnet.preprocessing.size", [0, 32]), ("s2mnet.preprocessing.mean", [float("inf")] * 3),
        ("s2mnet.preprocessing.mean", [1e308] * 3), ("s2mnet.preprocessing.std", [-1.0] * 3),
        ("s2mnet.preprocessing.neighbours", 2**63), ("s2mnet.labels.values", [0, 2**63]),
        ("num_classes", 10**9), ("num_classes", 2), ("in_channels", 10**9), ("in_channels", 1),
        ("channels", [2**31] * 5), ("channels", [10**6] * 5), ("num_frequencies", 10**6), ("stem_channels", 2**40),
        ("dropout", float("nan")),
        ("dropout", 7), ("block", {"a": 1}), ("architecture", "__import__"),
    ],
)  # fmt: skip
def test_a_configuration_outside_its_range_is_one_message(place: str, value: Any, model: Path) -> None:
    start = time.process_time()
    with pytest.raises(S2MNetError) as caught:
        load_model(changed(model, place, value))
    assert caught.value.where in (str(model / "config.json"), str(model / "model.safetensors"))
    assert len(str(caught.value)) < 1500 and time.process_time() - start < 20


HOSTILE: list[Any] = [
    None, "x", "", -1, 0, 1, 3, 0.5, 2**31, 1e308, float("nan"), float("-inf"), True, False, [], {}, [[]], [0, 0],
    ["x"] * 5, [1e9] * 2, [-5] * 5, {"a": {"b": 1}},
]  # fmt: skip


@pytest.mark.parametrize("argument", sorted(inspect.signature(S2MNet).parameters))
def test_every_argument_of_a_configuration_is_refused_or_predicts(argument: str, model: Path) -> None:
    images = torch.rand(1, 3, 32, 32)
    for value in HOSTILE:
        try:
            network, _ = load_model(changed(model, argument, value))
        except S2MNetError:
            continue
        with torch.inference_mode():
            assert network(images).isfinite().all(), value
        default = inspect.signature(S2MNet).parameters[argument].default
        kinds = {bool: bool, str: str, float: (int, float), int: int, tuple: (int, list)}[type(default)]
        assert isinstance(value, kinds) and isinstance(value, bool) == isinstance(default, bool), value


@pytest.mark.parametrize("labels", [
    {"values": [0, 1, 2], "names": ["a", "b", "c"], "kind": "classes"},
    {"values": [0, 1, 2], "names": ["a", "b", "c"], "kind": "classes", "regions": {"r": [1, 2], "s": [2]}},
])  # fmt: skip
def test_labels_that_do_not_fit_the_outputs_are_refused(labels: dict, model: Path) -> None:
    with pytest.raises(S2MNetError, match=r"num_classes is 1; labels and preprocessing need [23]"):
        load_model(changed(model, "s2mnet.labels", labels))


TEXTS = {
    "empty": "", "null": "null", "deep": "[" * 10**5, "deep keys": '{"a":' * 50_000, "zeros": "\0" * 100,
    "long number": '{"a": ' + "9" * 5000 + "}", "NaN": '{"a": NaN}', "Infinity": '{"a": -Infinity}',
    "twice": '{"a": 1, "a": 2}', "large": json.dumps({"a": "x" * 11_000_000}), "mark": "\ufeff{}",
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_json_that_parsers_stumble_over(name: str, model: Path) -> None:
    (model / "config.json").write_text(TEXTS[name])
    with pytest.raises(S2MNetError, match=r"config\.json is not the configuration of a model") as caught:
        load_model(model)
    assert len(str(caught.value)) < 1500


def test_json_is_read_as_json_reads_it(tiny_run: Path) -> None:
    assert read_json(tiny_run / "config.json") == json.loads((tiny_run / "config.json").read_text())


# YAML -----------------------------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
YAMLS = {
    "aliases": (BOMB, "alias"), "alias of itself": ("classes: &a {0: *a}\n", "alias"),
    "deep": ("name: " + "[" * 5000, "deeper than 20"), "deep block": ("- " * 3000 + "a", "deeper than 20"),
    "long number": ("ignore: " + "9" * 5000, "YAML"), "twice": ("name: a\nname: b\n", "twice"),
    "twice within": ("classes: {0: a, 0: b}\n", "twice"), "large": ("name: " + "x" * 600_000, "more than"),
    "code": ("name: !!python/object/apply:os.system [true]", "YAML"), "bytes": ("name: \x00", "YAML"),
    "long value": ("neighbours: " + "x" * 400_000, "neighbours"), "infinite": ("neighbours: .inf", "neighbours"),
    "keys of keys": ("? {a: b}\n: c\n", "YAML"),
}  # fmt: skip


@pytest.mark.parametrize("name", YAMLS)
def test_yaml_that_parsers_stumble_over(name: str, tmp_path: Path) -> None:
    text, word = YAMLS[name]
    (tmp_path / "dataset.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(S2MNetError, match=word) as caught:
        Dataset.load(tmp_path)
    assert len(str(caught.value)) < 3000 and time.process_time() - start < 10


def test_dates_are_text_and_the_rest_is_read_as_before(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("name: 2020-02-30\nsource: 2021-01-01\nclasses: {0: no, 1: 12:30:45}\n")
    with pytest.raises(S2MNetError, match=r"classes\.0"):  # YAML 1.1 takes these for a boolean and a number
        Dataset.load(tmp_path)
    (tmp_path / "dataset.yaml").write_text("name: 2020-02-30\nsource: 2021-01-01 10:00:00\n")
    assert Dataset.load(tmp_path) == Dataset(name="2020-02-30", source="2021-01-01 10:00:00")
    (tmp_path / "dataset.yaml").write_text("classes: &c {0: &no no tumour, 1: rim}\nname: *no\ncolours: {1: red}\n")
    assert Dataset.load(tmp_path).name == "no tumour"
    plan = tiny_plan(tiny_data, epochs=3)
    plan.save(tmp_path / "plan.yaml")
    assert Plan.load(tmp_path / "plan.yaml") == plan
    assert yaml.safe_load((tmp_path / "plan.yaml").read_text()) == plan.model_dump(mode="json", exclude_defaults=False)


# Plans ----------------------------------------------------------------------------------------------------------------

NUMBERS = [-1, -0.5, float("nan"), float("inf"), -float("inf"), 2**63, -(2**63), 1e308, "x", None, [], {}, True]


@pytest.mark.parametrize("section", ["preprocessing", "augmentation", "training"])
def test_no_field_of_a_plan_takes_a_number_that_makes_no_sense(section: str, tiny_data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(tiny_data, epochs=3)
    content = plan.model_dump(mode="json")
    unbounded = {
        "lr",
        "min_lr",
        "weight_decay",
        "filter_lr",
        "encoder_lr",
        "clip",
    }  # any finite number that is not negative
    for field, before in content[section].items():
        if isinstance(before, bool) or not isinstance(before, int | float) or field == "seed":
            continue
        for value in (-1, -0.5, float("nan"), float("inf"), *((2**63, 1e308) if field not in unbounded else ())):
            changed = content | {section: content[section] | {field: value}}
            (tmp_path / "plan.yaml").write_text(yaml.safe_dump(changed))
            with pytest.raises(S2MNetError, match=rf"{section}\.{field}"):
                Plan.load(tmp_path / "plan.yaml")


@pytest.mark.parametrize(("option", "value"), [
    ("--seed", 2**63), ("--seed", -1), ("--lr", "inf"), ("--lr", "nan"), ("--minutes", "nan"), ("--minutes", "inf"),
    ("--epochs", 2**63), ("--batch-size", 2**63), ("--workers", 10**6), ("--size", 3), ("--size", 10**6),
])  # fmt: skip
def test_options_outside_their_range(option: str, value: Any, tiny_data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    budget = () if option in ("--minutes", "--epochs") else ("--epochs", 1)
    refused(s2mnet("train", tiny_data, "-o", tmp_path / "run", *budget, option, value), option)


# Images and the cache -------------------------------------------------------------------------------------------------


def test_an_image_without_pixels_does_not_end_the_others(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli
) -> None:
    shutil.copytree(tiny_data / "test" / "images", tmp_path / "in")
    tifffile.imwrite(tmp_path / "in" / "flat.tif", np.zeros((8, 8)))  # float64: read by tifffile
    with tifffile.TiffFile(tmp_path / "in" / "flat.tif", mode="r+") as tiff:
        tiff.pages[0].tags["BitsPerSample"].overwrite(63)
    with tifffile.TiffFile(tmp_path / "in" / "flat.tif") as tiff:
        assert tiff.pages[0].asarray().shape == (0,)  # as tifffile reads it
    result = s2mnet("predict", tiny_run, tmp_path / "in", "-o", tmp_path / "out")
    refused(result, "flat.tif", "2 of 3 images were predicted")
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "text", "another shape", "another type"])
@pytest.mark.parametrize("when", ["before", "while"])
def test_cached_images_are_made_anew(damage: str, when: str, tiny_data: Path, tmp_path: Path) -> None:
    case = find_cases(tiny_data).splits["train"][0]
    preprocessing = Preprocessing(extent="whole", size=(32, 32), channels=3, normalisation="image")
    labels = LabelMap(kind="classes", values=[0, 255])

    def prepared() -> PreparedCases:
        return PreparedCases([case], preprocessing, labels, True, tmp_path)

    cases = prepared()
    want = [array.copy() for array in cases[0]]
    for path in tmp_path.glob("??/*.npy"):
        content = path.read_bytes()
        if damage == "gone":
            path.unlink()
        elif damage.startswith("another"):
            np.save(path, np.zeros((7, 5), np.uint8 if damage == "another shape" else np.float32))
        else:
            path.write_bytes({"empty": b"", "cut": content[:-9], "text": b"<html>"}[damage])
    cases = cases if when == "while" else prepared()
    for _ in range(2):
        for array, expected in zip(cases[0], want, strict=True):
            np.testing.assert_array_equal(array, expected)


def test_a_case_that_cannot_be_read_again_is_named(tiny_data: Path, tmp_path: Path) -> None:
    source = find_cases(tiny_data).splits["train"][0]
    for file in (source.image, source.mask):
        assert file is not None
        (tmp_path / file.parent.name).mkdir()
        shutil.copy(file, tmp_path / file.parent.name)
    case = Case("a", tmp_path / "images" / source.image.name, tmp_path / "masks" / source.image.name)
    preprocessing = Preprocessing(extent="whole", size=(32, 32), channels=3, normalisation="image")
    cases = PreparedCases([case], preprocessing, LabelMap(kind="classes", values=[0, 255]), True, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    case.image.unlink()
    with pytest.raises(S2MNetError, match=case.image.name):
        cases[0]


def test_the_output_of_a_network_is_checked_for_arrays_too(model: Path) -> None:
    predictor = Predictor(model, engine="torch")
    with torch.no_grad():
        for parameter in predictor._network.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(S2MNetError, match="The image makes the network give values"):
        predictor.predict(np.asarray(Image.new("RGB", (40, 40))))
