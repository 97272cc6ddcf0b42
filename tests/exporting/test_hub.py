"""The folder for the Hugging Face Hub, read as the Hub and its users read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, ModelCard
from PIL import Image
from tiny import Cli, refused

from s2mnet.network import S2MNet
from s2mnet.prediction import Predictor


@pytest.fixture
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/no/such/token")


def test_the_folder_is_a_model_with_a_card(tmp_path: Path, tiny_run: Path, tiny_data: Path, s2mnet: Cli) -> None:
    status, out, err = s2mnet("export", tiny_run, "--to", "hub", "-o", tmp_path / "out")
    assert status == 0, err
    assert "--no-pictures" in out
    image = next((tiny_data / "test" / "images").iterdir())
    ours, again = (Predictor(folder, "cpu", "torch").predict(image) for folder in (tiny_run, tmp_path / "out"))
    assert np.array_equal(ours.probabilities, again.probabilities)
    S2MNet.from_pretrained(tmp_path / "out")  # by the Hub's own loader

    card = ModelCard.load(tmp_path / "out" / "README.md")
    card.data.to_yaml()
    result = json.loads((tiny_run / "evaluation" / "test" / "metrics.json").read_text())
    dice = result["summary"]["foreground"]["dice"]
    (figure,) = card.data.eval_results
    assert figure.metric_type == "dice" and figure.metric_value == pytest.approx(dice["mean"], abs=1e-4)
    assert f"{dice['mean']:.3f} [{dice['low']:.3f}, {dice['high']:.3f}]" in card.text
    assert "8 train, 2 val and 2 test" in card.text and "255 foreground" in card.text
    for heading in ("How to use", "Data", "Figures", "Pictures", "Training", "Limits", "Licence"):
        assert f"## {heading}\n" in card.text
    pictures = sorted((tmp_path / "out" / "pictures").iterdir())
    assert len(pictures) == 2 and all(f"(pictures/{picture.name})" in card.text for picture in pictures)
    assert all(Image.open(picture).size == (64, 48) for picture in pictures)
    names = [case["name"] for case in result["cases"]]
    assert not any(name in card.text for name in names)  # a name may be a patient's


def test_without_pictures_there_are_none(tmp_path: Path, tiny_run: Path, s2mnet: Cli) -> None:
    assert s2mnet("export", tiny_run, "--to", "hub", "-o", tmp_path / "out", "--no-pictures")[0] == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "pictures" not in (tmp_path / "out" / "README.md").read_text()


def test_a_bare_model_has_a_card_that_says_what_is_unknown(tmp_path: Path, tiny_run: Path, s2mnet: Cli) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        shutil.copy(tiny_run / name, tmp_path / "bare")
    assert s2mnet("export", tmp_path / "bare", "--to", "hub", "-o", tmp_path / "out")[0] == 0
    text = ModelCard.load(tmp_path / "out" / "README.md").text
    assert "There are none: the run folder holds no test." in text and "Unknown: the training data" in text


@pytest.mark.usefixtures("_no_token")
def test_an_upload_without_a_token_is_refused_first(tmp_path: Path, tiny_run: Path, s2mnet: Cli) -> None:
    result = s2mnet("export", tiny_run, "--to", "hub", "-o", tmp_path / "out", "--push", "me/model")
    refused(result, "--push me/model", "token", "hf auth login")
    assert not (tmp_path / "out").exists()


def test_an_upload_that_fails_keeps_the_folder(
    tmp_path: Path, tiny_run: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_none")

    def unreachable(*arguments: object, **options: object) -> None:
        assert options.get("private") is True
        raise OSError("no route to host")

    monkeypatch.setattr(HfApi, "create_repo", unreachable)
    result = s2mnet("export", tiny_run, "--to", "hub", "-o", tmp_path / "out", "--push", "me/model")
    refused(result, "me/model cannot be uploaded", "no route to host", "hf upload")
    assert (tmp_path / "out" / "README.md").is_file()


def test_only_the_hub_is_pushed_to(tmp_path: Path, tiny_run: Path, s2mnet: Cli) -> None:
    refused(s2mnet("export", tiny_run, "--to", "onnx", "-o", tmp_path / "out", "--push", "me/model"), "--to hub")
