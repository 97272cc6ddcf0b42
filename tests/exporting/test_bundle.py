"""The MONAI bundle, executed by MONAI."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser, run
from PIL import Image
from tiny import Cli

from s2mnet.prediction import Predictor


@pytest.fixture(scope="module")
def bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from s2mnet.exporting.run import export_run

    folder = tmp_path_factory.mktemp("bundle") / "out"
    export_run(tiny_run, "bundle", folder)
    return folder


def check_masks(masks: Path, images: Path, tiny_run: Path) -> None:
    predictor = Predictor(tiny_run, "cpu", "torch")
    files = sorted(images.iterdir())
    assert sorted(path.name for path in masks.iterdir()) == [path.name for path in files]
    for file in files:
        assert np.array_equal(np.asarray(Image.open(masks / file.name)), predictor.predict(file).mask)


def test_monai_runs_it(bundle: Path, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    images = tiny_data / "test" / "images"
    run(
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(tmp_path),
    )
    check_masks(tmp_path, images, tiny_run)


@pytest.mark.skipif(importlib.util.find_spec("fire") is None, reason="the command of monai.bundle needs fire")
def test_the_command_of_monai_runs_it(bundle: Path, tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    images = tiny_data / "test" / "images"
    options = ["--config_file", "configs/inference.json", "--dataset_dir", images, "--output_dir", tmp_path]
    command = [sys.executable, "-m", "monai.bundle", "run", *options]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_masks(tmp_path, images, tiny_run)


def test_it_has_the_files_and_keys_of_a_bundle(bundle: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    assert {"network_def", "preprocessing", "inferer", "postprocessing", "device"} <= set(parser.get())
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    # The keys that MONAI's documentation of bundles calls mandatory.
    mandatory = "version monai_version pytorch_version numpy_version task description authors copyright"
    assert {*mandatory.split(), "required_packages_version", "network_data_format"} <= set(metadata)
    formats = metadata["network_data_format"]
    assert formats["inputs"]["image"]["num_channels"] == 3 and formats["outputs"]["pred"]["num_channels"] == 1
    assert (bundle / "docs" / "README.md").is_file()
    assert sorted(path.name for path in (bundle / "models").iterdir()) == ["config.json", "model.safetensors"]


def test_the_command_writes_one(tmp_path: Path, tiny_run: Path, s2mnet: Cli) -> None:
    status, out, err = s2mnet("export", tiny_run, "--to", "bundle", "-o", tmp_path / "out")
    assert status == 0 and "monai.bundle run" in out, err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["configs", "docs", "models"]
