"""A model on disk: complete, without pickle, and refused by name where it is damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save_file

from s2mnet import Predictor, S2MNet, S2MNetError
from s2mnet.architecture import PeerNetwork
from s2mnet.data import LabelMap
from s2mnet.modelfolder import CONFIG, WEIGHTS, ModelConfig, load_model, save_model
from s2mnet.plan import Preprocessing

CONFIGURATION = ModelConfig(
    preprocessing=Preprocessing(extent="patches", size=(32, 48), channels=1, mean=[0.25], std=[0.125]),
    labels=LabelMap(kind="classes", values=[0, 10, 20], ignore_value=255, names=["background", "Gefäß", "lésion"]),
    threshold=0.4,
    tta=8,
)


def small_network() -> S2MNet:
    return S2MNet(1, 3, channels=(8, 12, 8, 16, 8), num_frequencies=(4, 0, 3, 2, 1), routing="hard", dropout=0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(small_network(), CONFIGURATION, tmp_path / "model")
    return tmp_path / "model"


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    network = small_network().to(memory_format=torch.channels_last).eval()
    save_model(network, CONFIGURATION, tmp_path)
    again, config = load_model(tmp_path)
    x = torch.rand(2, 1, 33, 47)
    assert config == CONFIGURATION
    assert not again.training
    assert again.state_dict().keys() == network.state_dict().keys()
    torch.testing.assert_close(again(x), network(x), rtol=0, atol=1e-5)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_run_is_a_model_in_two_files(tiny_run: Path) -> None:
    files = {path.name for path in tiny_run.iterdir() if path.is_file()}
    assert {CONFIG, WEIGHTS} <= files
    assert not [name for name in files if Path(name).suffix in (".ckpt", ".pt", ".pth", ".pkl", ".bin")]
    for name in files:  # a pickle starts with the protocol mark, a torch file is a zip
        assert (tiny_run / name).read_bytes()[:2] not in (b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK")
    stored = json.loads((tiny_run / CONFIG).read_text())
    assert stored["channels"] == [8, 8, 8, 8, 8] and stored["in_channels"] == 3
    assert stored["s2mnet"]["labels"]["values"] == [0, 255]
    assert stored["s2mnet"]["preprocessing"]["size"] == [32, 32]
    assert stored["s2mnet"]["tta"] == 4 and stored["s2mnet"]["threshold"] == 0.5


def test_the_hugging_face_way_gives_the_same_network(tiny_run: Path) -> None:
    x = torch.rand(1, 3, 48, 64)
    theirs, ours = S2MNet.from_pretrained(tiny_run).eval(), load_model(tiny_run)[0]
    assert torch.equal(theirs(x), ours(x))
    weights = load_file(tiny_run / WEIGHTS)
    assert all(torch.equal(weights[name], parameter) for name, parameter in ours.named_parameters())


@pytest.mark.parametrize("peer", [False, True])
def test_a_model_saved_again_keeps_its_preprocessing_and_labels(tmp_path: Path, peer: bool) -> None:
    network = PeerNetwork("UNet", 1, 3, {"channels": [8, 16], "strides": [2]}) if peer else small_network()
    save_model(network, CONFIGURATION, tmp_path / "run")
    kind = PeerNetwork if peer else S2MNet
    kind.from_pretrained(tmp_path / "run").save_pretrained(tmp_path / "once")
    Predictor(tmp_path / "once").network.save_pretrained(tmp_path / "twice")  # as push_to_hub does
    first, again = Predictor(tmp_path / "run"), Predictor(tmp_path / "twice")
    assert again.config == first.config == CONFIGURATION
    stored = [json.loads((tmp_path / name / CONFIG).read_text(encoding="utf-8")) for name in ("run", "once", "twice")]
    assert stored[0] == stored[1] == stored[2] and stored[0]["s2mnet"]["format_version"] == 1
    kind(**{name: value for name, value in stored[0].items() if name != "s2mnet"})
    image = (torch.rand(40, 56) * 255).byte().numpy()
    assert (first.predict(image).probabilities == again.predict(image).probabilities).all()


def test_a_network_that_was_trained_further_keeps_them_too(folder: Path, tmp_path: Path) -> None:
    network = S2MNet.from_pretrained(folder)
    with torch.no_grad():
        next(network.parameters()).zero_()
    network.save_pretrained(tmp_path / "further")
    again = Predictor(tmp_path / "further")
    assert again.config == CONFIGURATION and (next(again.network.parameters()) == 0).all()


def test_another_format_is_refused_and_none_is_the_first(folder: Path) -> None:
    stored = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**stored, "s2mnet": {**stored["s2mnet"], "format_version": 2}}))
    with pytest.raises(S2MNetError, match=r"config\.json has the format 2; this version of s2mnet reads 1"):
        load_model(folder)
    del stored["s2mnet"]["format_version"]
    (folder / CONFIG).write_text(json.dumps(stored))
    assert load_model(folder)[1] == CONFIGURATION


def predict_in(cwd: Path, home: Path, model: str) -> subprocess.CompletedProcess[str]:
    """A Predictor in a process of its own, without the internet, and with a folder for what was downloaded."""
    code = "import sys; from s2mnet import Predictor; print(Predictor(sys.argv[1]).config.model_dump_json())"
    env = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, "-c", code, model], cwd=cwd, env=env, capture_output=True, text=True)


def test_a_repository_of_the_hub_is_a_model(folder: Path, tmp_path: Path) -> None:
    """As huggingface_hub keeps what it has downloaded: hub/models--USER--NAME/{refs/main, snapshots/COMMIT}."""
    repository, commit = tmp_path / "home" / "hub" / "models--user--discs", 40 * "a"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    done = predict_in(tmp_path, tmp_path / "home", "user/discs")
    assert done.returncode == 0 and ModelConfig.model_validate_json(done.stdout) == CONFIGURATION, done.stderr

    save_model(small_network(), CONFIGURATION.model_copy(update={"tta": 1}), tmp_path / "user" / "discs")
    done = predict_in(tmp_path, tmp_path / "home", "user/discs")  # a folder of that name comes first
    assert done.returncode == 0 and json.loads(done.stdout)["tta"] == 1


def test_a_repository_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    done = predict_in(tmp_path, tmp_path / "home", "user/discs")
    assert "S2MNetError: user/discs is not a folder, and cannot be downloaded from the Hugging Face Hub" in done.stderr
    with pytest.raises(S2MNetError, match=r"is not a folder\. Pass"):
        Predictor(Path("user/discs"))  # a path never asks the Hub


def test_a_model_moves_with_its_folder(tiny_run: Path, tmp_path: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        shutil.copy(tiny_run / name, tmp_path)
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(load_model(tmp_path)[0](x), load_model(tiny_run)[0](x))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(S2MNetError, match=name):
        load_model(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="nowhere is not a folder"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("damage", ["empty", "cut", "text", "bytes"])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: str) -> None:
    content = (folder / name).read_bytes()
    damaged = {
        "empty": b"",
        "cut": content[: len(content) // 2],
        "text": b"version https://git-lfs",
        "bytes": b"\xff\0",
    }
    (folder / name).write_bytes(damaged[damage])
    with pytest.raises(S2MNetError) as caught:
        load_model(folder)
    assert caught.value.where == str(folder / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.pop("s2mnet"),
        lambda stored: stored.update(s2mnet=[]),
        lambda stored: stored["s2mnet"]["labels"].update(values=[0]),
        lambda stored: stored["s2mnet"]["preprocessing"].update(extent="half"),
        lambda stored: stored.update(routing="magic"),
    ],
    ids=["no section of ours", "a list", "labels", "extent", "network"],
)
def test_a_configuration_that_makes_no_sense_is_named(folder: Path, change) -> None:
    stored = json.loads((folder / CONFIG).read_text())
    change(stored)
    (folder / CONFIG).write_text(json.dumps(stored))
    with pytest.raises(S2MNetError) as caught:
        load_model(folder)
    assert caught.value.where == str(folder / CONFIG)


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    weights = load((folder / WEIGHTS).read_bytes())  # load_file would map the file that is written over below
    name = next(name for name in weights if name.endswith("weight"))
    for changed in ({**weights, "stray": torch.zeros(1)}, {k: v for k, v in weights.items() if k != name}):
        save_file(changed, folder / WEIGHTS)
        with pytest.raises(S2MNetError) as caught:
            load_model(folder)
        assert caught.value.where == str(folder / WEIGHTS)
    save_model(S2MNet(1, 3, channels=(8, 8, 8, 8, 8), num_frequencies=4), CONFIGURATION, folder.parent / "other")
    shutil.copy(folder.parent / "other" / WEIGHTS, folder / WEIGHTS)
    with pytest.raises(S2MNetError) as caught:
        load_model(folder)
    assert caught.value.where == str(folder / WEIGHTS)


def test_saving_over_a_model_replaces_it_whole(folder: Path) -> None:
    network = small_network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.5)
    save_model(network, CONFIGURATION, folder)
    again, _ = load_model(folder)
    assert all((parameter == 0.5).all() for parameter in again.parameters())
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]
