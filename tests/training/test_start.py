"""Training from given weights: what is taken, what is adapted, what starts anew, what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import NARROW, Cli, refused, tiny_plan, train_tiny, untimed, write_data
from torch import Tensor

from s2mnet.architecture import PeerNetwork, build_architecture
from s2mnet.data import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.modelfolder import CONFIG, WEIGHTS, ModelConfig, load_model, save_model
from s2mnet.network import S2MNet
from s2mnet.network.pretrained import SHIPPED
from s2mnet.plan import Plan, Preprocessing
from s2mnet.training.module import build_network
from s2mnet.training.start import read_start, with_network_of_start

COLOURS = ["red", "green", "blue"]
UNET = {"channels": [8, 16, 32], "strides": [2, 2], "num_res_units": 1}
PLAIN_UNET = {"channels": [8, 16, 32], "strides": [2, 2]}  # a single last layer


def labels(*names: str, regions: dict[str, list[int]] | None = None) -> LabelMap:
    values = list(range(len(names)))
    return LabelMap(kind="classes", values=values, names=list(names), regions=regions or {})


BINARY = labels("background", "polyp")
HEART = labels("background", "right ventricle", "myocardium", "left ventricle")


def preprocessing(channels: Sequence[str]) -> Preprocessing:
    stored = [] if set(channels) <= {"grey", *COLOURS} else list(channels)
    return Preprocessing(extent="whole", size=(32, 32), channels=channels, stored=stored, normalisation="image")


def a_model(
    folder: Path, channels: Sequence[str] = COLOURS, names: LabelMap = BINARY, architecture: str = "s2mnet",
    arguments: dict[str, object] = NARROW,
) -> S2MNet | PeerNetwork:  # fmt: skip
    """A model folder with weights and running statistics that are all its own."""
    network = build_architecture(architecture, len(channels), names.num_outputs, arguments)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        network.train()(torch.randn(2, len(channels), 32, 32))
    save_model(network, ModelConfig(preprocessing=preprocessing(channels), labels=names), folder)
    return network.double().eval()


def started(
    folder: Path, channels: Sequence[str] = COLOURS, names: LabelMap = BINARY, architecture: str = "s2mnet",
    arguments: dict[str, object] = NARROW,
) -> tuple[S2MNet | PeerNetwork, dict[str, Tensor]]:  # fmt: skip
    """The network of a plan that starts from the model, and its weights before."""
    plan = Plan(
        labels=names, preprocessing=preprocessing(channels), architecture=architecture, network=arguments,
        start=str(folder),
    )  # fmt: skip
    network = build_network(plan)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    start = read_start(plan.start)
    assert start is not None
    start.fill(network, plan)
    return network.double().eval(), before


def same(one: Tensor, two: Tensor) -> None:
    """Equal but for the float32 in which a first or last layer was kept."""
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5 * float(two.detach().abs().max()))


# Channels -------------------------------------------------------------------------------------------------------------

NETWORKS = pytest.mark.parametrize(("architecture", "arguments"), [("s2mnet", NARROW), ("UNet", UNET)])


@NETWORKS
@pytest.mark.parametrize(
    ("old", "new"),
    [(COLOURS, ["grey"]), (COLOURS, ["green"]), (["grey"], COLOURS), (["green"], COLOURS),
     (COLOURS, ["t1-1", "t1", "t1+1", "t2", "t2+1"]), (["t1", "t2", "flair", "t1ce", "pd"], COLOURS)],
)  # fmt: skip
def test_equal_channels_of_another_number_give_the_same(
    tmp_path: Path, old: list[str], new: list[str], architecture: str, arguments: dict
) -> None:
    """A grey image in three colours, one channel, or five: the network cannot tell them apart."""
    network = a_model(tmp_path, old, architecture=architecture, arguments=arguments)
    adapted, _ = started(tmp_path, new, architecture=architecture, arguments=arguments)
    x = torch.randn(2, 1, 32, 48, dtype=torch.float64)
    same(adapted(x.repeat(1, len(new), 1, 1)), network(x.repeat(1, len(old), 1, 1)))


@NETWORKS
def test_channels_are_known_by_their_names(tmp_path: Path, architecture: str, arguments: dict) -> None:
    old = ["t1", "t2", "flair"]
    network = a_model(tmp_path, old, architecture=architecture, arguments=arguments)
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)

    def of(new: list[str]) -> Callable[[Tensor], Tensor]:
        return started(tmp_path, new, architecture=architecture, arguments=arguments)[0]

    same(of(["flair", "t1", "t2"])(x[:, [2, 0, 1]]), network(x))
    without = x.clone()
    without[:, 1] = 0  # its mean, after normalisation
    same(of(["flair", "t1"])(x[:, [2, 0]]), network(without))
    beside = torch.cat(
        [x, torch.randn(2, 1, 32, 48, dtype=torch.float64)], 1
    )  # until it is learned, it changes nothing
    same(of(["t1", "t2", "flair", "pd"])(beside), network(x))


def test_channels_of_other_names_are_taken_by_position(tmp_path: Path) -> None:
    network = a_model(tmp_path)
    adapted, _ = started(tmp_path, ["t1", "t2", "flair"])
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    same(adapted(x), network(x))


def test_what_cannot_be_adapted_is_refused(tmp_path: Path) -> None:
    """UNETR embeds patches of all channels at once; their number cannot change."""
    options = {"img_size": 32, "hidden_size": 24, "mlp_dim": 24, "num_heads": 2, "feature_size": 8}
    arguments = {"architecture": "UNETR", "arguments": options | {"proj_type": "perceptron"}}
    a_model(tmp_path, ["t1", "t2"], **arguments)
    with pytest.raises(S2MNetError, match=r"do not fit 1 channels .*Use images with the channels t1 and t2, or"):
        started(tmp_path, ["grey"], **arguments)
    started(tmp_path, ["t1", "t2"], **arguments)


# Classes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "arguments"), [("s2mnet", NARROW), ("s2mnet", NARROW | {"head": "light"}), ("UNet", PLAIN_UNET)]
)
def test_classes_are_known_by_their_names(tmp_path: Path, architecture: str, arguments: dict) -> None:
    network = a_model(tmp_path, names=HEART, architecture=architecture, arguments=arguments)
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    logits = network(x)

    def of(names: LabelMap) -> Tensor:
        return started(tmp_path, names=names, architecture=architecture, arguments=arguments)[0](x)

    same(of(labels("background", "left ventricle", "right ventricle", "myocardium")), logits[:, [0, 3, 1, 2]])
    same(of(labels("other", "left ventricle", "right ventricle")), logits[:, [0, 3, 1]])
    one = of(labels("background", "left ventricle"))  # among the two, as probable as before
    same(one.sigmoid(), logits[:, [0, 3]].softmax(1)[:, 1:])


def test_regions_are_known_by_their_names(tmp_path: Path) -> None:
    tumour = labels("background", "necrosis", "oedema", regions={"whole": [1, 2], "core": [1]})
    network = a_model(tmp_path, names=tumour)
    swapped = labels("background", "oedema", "necrosis", regions={"core": [2], "whole": [1, 2]})
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    same(started(tmp_path, names=swapped)[0](x), network(x)[:, [1, 0]])
    same(started(tmp_path, names=labels("background", "core"))[0](x), network(x)[:, 1:])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (BINARY, labels("background", "lesion")),
        (BINARY, labels("background", "polyp", "instrument")),
        (HEART, labels("background", "right ventricle", "scar", "left ventricle")),
        (labels("background", "a", "b"), labels("background", "a", "b", regions={"a": [1], "b": [2]})),
        (labels("background", "a", "b"), labels("background", "a", "a")),
    ],
)
def test_other_classes_get_a_new_last_layer_and_nothing_else(tmp_path: Path, old: LabelMap, new: LabelMap) -> None:
    network = a_model(tmp_path, names=old)
    adapted, before = started(tmp_path, names=new)
    for name, weight in adapted.state_dict().items():
        last = name.startswith("head.classify.")
        expected = before[name].double() if last else network.state_dict()[name]
        assert torch.equal(weight, expected.to(weight.dtype)), name


def test_last_layers_in_a_row_are_taken_in_another_order_but_not_subtracted(tmp_path: Path) -> None:
    """MONAI's UNet ends in a transposed convolution and a residual unit, both as wide as there are classes."""
    network = a_model(tmp_path, names=HEART, architecture="UNet", arguments=UNET)
    peer = {"architecture": "UNet", "arguments": UNET}
    x = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    turned = started(tmp_path, names=labels("background", "myocardium", "left ventricle", "right ventricle"), **peer)[0]
    same(turned(x), network(x)[:, [0, 2, 3, 1]])
    adapted, before = started(tmp_path, names=labels("background", "myocardium"), **peer)
    kept = [name for name, weight in adapted.state_dict().items() if torch.equal(weight, before[name].to(weight.dtype))]
    assert "network.model.2.0.conv.weight" in kept and "network.model.0.conv.unit0.conv.weight" not in kept


# The plan -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "arguments"), [("s2mnet", NARROW | {"head": "light", "complex_filter": False}), ("UNet", UNET)]
)
def test_a_plan_that_is_made_takes_the_network_of_its_start(
    tmp_path: Path, tiny_data: Path, architecture: str, arguments: dict, s2mnet: Cli
) -> None:
    a_model(tmp_path / "model", ["grey"], architecture=architecture, arguments=arguments)
    status, out, err = s2mnet("plan", tiny_data, "--start", tmp_path / "model", "-o", tmp_path / "plan.yaml")
    assert status == 0, err
    plan = Plan.load(tmp_path / "plan.yaml")
    assert plan.start == str(tmp_path / "model") and plan.architecture == architecture
    assert build_network(plan).state_dict().keys() == load_model(tmp_path / "model")[0].state_dict().keys()
    assert {name: plan.network[name] for name in arguments} == arguments
    assert not {"head", "branch_scale"} & plan.reasons.keys()  # of the network that was planned without a start
    assert plan.preprocessing.channels == COLOURS  # the images decide on the rest
    first, last = "first layer adapted from grey to red, green and blue", "a new last layer, as it predicts polyp and"
    assert first in plan.reasons["start"] and last in plan.reasons["start"]
    assert " ".join(f"start: {plan.reasons['start']}".split()) in " ".join(out.split())


def test_a_plan_without_a_start_says_so(tiny_data: Path) -> None:
    plan = tiny_plan(tiny_data, epochs=1)
    assert plan.start == "none" and plan.reasons["start"].startswith("none: ")
    assert with_network_of_start(plan, made=True) is plan


def test_a_plan_of_the_user_decides_and_the_start_fills_in(tmp_path: Path, tiny_data: Path) -> None:
    a_model(tmp_path, arguments=NARROW | {"dropout": 0.3, "routing": "hard"})
    plan = tiny_plan(tiny_data, network={"routing": "soft"}, start=str(tmp_path), epochs=1)
    filled = with_network_of_start(plan, made=False)
    assert filled.network["routing"] == "soft" and filled.network["dropout"] == 0.3
    assert filled.network["channels"] == NARROW["channels"]
    started(tmp_path, arguments=filled.network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"channels": [8, 8, 8, 8, 9]}}, "channels [8, 8, 8, 8, 8]; the plan has channels [8, 8, 8, 8, 9]"),
        ({"network": {"num_frequencies": 6}}, "num_frequencies 4; the plan has num_frequencies 6"),
        ({"network": {"head": "light", "stem_channels": 4}},
         "stem_channels 8, head stem; the plan has stem_channels 4, head light"),
        ({"architecture": "UNet", "network": UNET}, "architecture s2mnet; the plan has architecture UNet"),
    ],
)  # fmt: skip
def test_another_network_is_refused_with_both_values_and_the_fix_works(
    tmp_path: Path, tiny_data: Path, changes: dict, message: str, s2mnet: Cli
) -> None:
    a_model(tmp_path / "model")
    plan = tiny_plan(tiny_data, epochs=1, **changes)
    plan.save(tmp_path / "plan.yaml")
    given = ("--plan", tmp_path / "plan.yaml", "--start", tmp_path / "model")
    result = s2mnet("train", tiny_data, "-o", tmp_path / "run", *given)
    refused(result, f"The start {tmp_path / 'model'} has {message}", "Omit --plan, or give")
    assert not (tmp_path / "run").exists()
    tiny_plan(tiny_data, epochs=1, network=NARROW).save(tmp_path / "plan.yaml")  # with the values of the start
    assert s2mnet("train", tiny_data, "-o", tmp_path / "run", *given)[0] == 0


def test_an_option_takes_the_place_of_the_start_in_a_plan(tmp_path: Path, tiny_data: Path, s2mnet: Cli) -> None:
    tiny_plan(tiny_data, epochs=1, start=str(tmp_path / "gone")).save(tmp_path / "plan.yaml")
    options = ("train", tiny_data, "-o", tmp_path / "run", "--plan", tmp_path / "plan.yaml")
    refused(s2mnet(*options), f"--start {tmp_path / 'gone'} is neither")
    assert s2mnet(*options, "--start", "none")[0] == 0
    plan = Plan.load(tmp_path / "run" / "plan.yaml")
    assert plan.start == "none" and plan.reasons["start"] == "none: requested"


# The run --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fine_tuned(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs from the weights of the tiny run on grey images, in a process of its own as a user starts it."""
    folder = tmp_path_factory.mktemp("fine-tuned")
    data = write_data(folder / "data", seed=1)
    for file in data.rglob("images/*.png"):
        Image.fromarray(np.asarray(Image.open(file).convert("L"))).save(file)
    shutil.copytree(tiny_run, folder / "polyps")
    command = [Path(sys.executable).with_name("s2mnet"), "train", data, "-o", folder / "run", "--epochs", "2"]
    options = ["--size", "32", "--start", folder / "polyps", "--lr", "1e-9"]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "polyps")
    return folder / "run"


def test_a_run_starts_from_the_weights_and_records_them(fine_tuned: Path, tiny_run: Path) -> None:
    old, new = load_file(tiny_run / WEIGHTS), load_file(fine_tuned / WEIGHTS)
    names = [name for name, _ in load_model(tiny_run)[0].named_parameters() if name != "stem.0.weight"]
    for name in names:
        torch.testing.assert_close(new[name], old[name], rtol=0, atol=3e-4)  # 200 steps of at most 1e-6
    torch.testing.assert_close(new["stem.0.weight"], old["stem.0.weight"].sum(1, keepdim=True), rtol=0, atol=3e-4)

    sha256 = hashlib.sha256((tiny_run / WEIGHTS).read_bytes()).hexdigest()
    record = {"name": "polyps", "sha256": sha256}  # the path stays private
    assert json.loads((fine_tuned / CONFIG).read_text())["s2mnet"]["started_from"] == record
    assert json.loads((tiny_run / CONFIG).read_text())["s2mnet"]["started_from"] is None
    report = (fine_tuned / "report.html").read_text()
    assert "started from" in report and f"name polyps, sha256 {sha256}" in " ".join(report.split())
    metrics = json.loads((fine_tuned / "evaluation" / "test" / "metrics.json").read_text())
    assert metrics["context"]["started from"] == record


def test_a_run_goes_on_without_its_start_and_not_from_another(
    fine_tuned: Path, tiny_run: Path, tmp_path: Path, s2mnet: Cli
) -> None:
    run, data = shutil.copytree(fine_tuned, tmp_path / "run"), fine_tuned.parent / "data"
    resume = ("train", data, "-o", run, "--resume", "--epochs", 3, "--lr", 1e-2)
    refused(s2mnet(*resume, "--start", tiny_run), "cannot be combined with --resume", "plan.yaml decides it")
    record = ModelConfig.model_validate(json.loads((run / CONFIG).read_text())["s2mnet"]).started_from
    given = Plan.load(run / "plan.yaml").start
    assert not Path(given).exists()
    (run / CONFIG).unlink()  # not read for it
    status, _, err = s2mnet(*resume, "--start", given)  # the same command with --resume
    assert status == 0, err
    assert load_model(run)[1].started_from == record is not None
    assert len(json.loads((run / "history.json").read_text())) == 3


def test_the_same_plan_and_start_give_the_same_run(tiny_data: Path, tiny_run: Path, tmp_path: Path) -> None:
    runs = [tmp_path / "one", tmp_path / "two"]
    other = write_data(tmp_path / "other", (0, 100, 200))  # a new last layer, from the seed
    logs = [untimed(train_tiny(other, run, epochs=2, start=str(tiny_run))) for run in runs]
    assert logs[0] == logs[1]
    one, two = (load_file(run / WEIGHTS) for run in runs)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert untimed(train_tiny(other, tmp_path / "random", epochs=2)) != logs[0]


def test_a_start_serves_further_training_better_than_chance(tiny_data: Path, tiny_run: Path, tmp_path: Path) -> None:
    first = train_tiny(tiny_data, tmp_path / "run", epochs=1, start=str(tiny_run), lr=1e-4)[0]["train_loss"]
    assert first < 0.8 * train_tiny(tiny_data, tmp_path / "random", epochs=1, lr=1e-4)[0]["train_loss"]


# ImageNet -------------------------------------------------------------------------------------------------------------

LITE = NARROW | {"encoder": "lite0"}


def test_the_encoder_starts_from_imagenet(tmp_path: Path, tiny_data: Path, s2mnet: Cli) -> None:
    status, _, err = s2mnet("plan", tiny_data, "--start", "imagenet", "-o", tmp_path / "plan.yaml")
    assert status == 0, err
    made = Plan.load(tmp_path / "plan.yaml")
    assert made.start == "imagenet" and made.network["encoder"] == "lite0"
    assert made.reasons["start"] == "imagenet: requested"

    plan = tiny_plan(tiny_data, network=NARROW, steps=1, lr=1e-12, min_lr=0.0, start="imagenet")  # names no encoder
    plan.save(tmp_path / "plan.yaml")
    status, _, err = s2mnet("train", tiny_data, "-o", tmp_path / "run", "--plan", tmp_path / "plan.yaml")
    assert status == 0, err
    file = SHIPPED["lite0"]
    network, config = load_model(tmp_path / "run")
    assert config.started_from is not None and config.started_from.name == "imagenet"
    assert config.started_from.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    parameters = dict(network.named_parameters())
    shipped = {name: weight.float() for name, weight in load_file(file).items() if name in parameters}
    assert len(shipped) > 100
    for name, weight in shipped.items():
        torch.testing.assert_close(parameters[name], weight, rtol=0, atol=1e-9)


def test_both_layers_over_the_image_are_adapted(tmp_path: Path) -> None:
    network = a_model(tmp_path, arguments=LITE)
    adapted, _ = started(tmp_path, ["grey"], arguments=LITE)
    assert adapted.stem[0].weight.shape[1] == adapted.stages[0][0][0].weight.shape[1] == 1
    x = torch.randn(2, 1, 32, 48, dtype=torch.float64)
    same(adapted(x), network(x.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("changes", "had"),
    [
        ({"network": NARROW | {"encoder": "mrf"}}, "encoder mrf. Set encoder: lite0 under network in the plan"),
        ({"architecture": "UNet", "network": UNET}, "architecture UNet. Omit --plan"),
    ],
)
def test_imagenet_needs_its_encoder(tmp_path: Path, tiny_data: Path, changes: dict, had: str, s2mnet: Cli) -> None:
    tiny_plan(tiny_data, epochs=1, **changes).save(tmp_path / "plan.yaml")
    options = ("--plan", tmp_path / "plan.yaml", "--start", "imagenet")
    result = s2mnet("train", tiny_data, "-o", tmp_path / "run", *options)
    refused(result, "The start imagenet has weights for the encoder lite0; the plan has ", had)
    assert not (tmp_path / "run").exists()


# Refused --------------------------------------------------------------------------------------------------------------


def with_nan(folder: Path) -> None:
    weights = {name: weight.clone() for name, weight in load_file(folder / WEIGHTS).items()}
    weights["head.classify.bias"][0] = float("nan")
    save_file(weights, folder / WEIGHTS)


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def without_configuration(folder: Path) -> None:
    (folder / CONFIG).unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (with_nan, f"{WEIGHTS} holds weights that are infinite or not a number (head.classify.bias)"),
        (cut, f"{WEIGHTS} does not load"),
        (without_configuration, f"holds no model: {CONFIG} is missing"),
    ],
)
def test_a_damaged_start_is_refused(
    tmp_path: Path, tiny_data: Path, s2mnet: Cli, spoil: Callable[[Path], None], words: str
) -> None:
    a_model(tmp_path / "model")
    spoil(tmp_path / "model")
    options = ("train", tiny_data, "-o", tmp_path / "run", "--epochs", 1)
    refused(s2mnet(*options, "--start", tmp_path / "model"), str(tmp_path / "model"), words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("open", "no such weights are shipped with this version"),
        ("nowhere", "is neither none nor imagenet, nor a folder with a model"),
        ("a/b/nowhere", "is neither none nor imagenet, nor a folder with a model"),
    ],
)
@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_start_that_does_not_exist_is_refused(
    tmp_path: Path, tiny_data: Path, s2mnet: Cli, start: str, words: str, command: str
) -> None:
    options = ("--epochs", 1, "-o", tmp_path / "out", "--start", start)
    refused(s2mnet(command, tiny_data, *options), f"--start {start}", words)
    assert not (tmp_path / "out").exists()


def test_a_repository_of_the_hub_is_refused_without_the_internet(
    tmp_path: Path, tiny_data: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    result = s2mnet("train", tiny_data, "-o", tmp_path / "run", "--epochs", 1, "--start", "user/discs")
    refused(result, "user/discs is not a folder, and cannot be downloaded from the Hugging Face Hub")
    assert not (tmp_path / "run").exists()


def test_a_model_is_not_replaced_by_what_starts_from_it(tmp_path: Path, tiny_data: Path, s2mnet: Cli) -> None:
    a_model(tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "model")
    for start in (tmp_path / "model", link):
        result = s2mnet("train", tiny_data, "-o", tmp_path / "model", "--epochs", 1, "--start", start)
        refused(result, f"--start {start} is the folder of the run itself", "Choose another folder with -o.")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
