"""``--to bundle``: a MONAI bundle, which ``python -m monai.bundle run`` executes where s2mnet is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai import __version__ as monai_version

from s2mnet.data.channels import COLOURS
from s2mnet.exporting.hub import write_hub
from s2mnet.files import write_atomically
from s2mnet.modelfolder import CONFIG, WEIGHTS, ModelConfig, load_model
from s2mnet.version import __version__

_INFERENCE: dict[str, Any] = {
    "imports": ["$import torch", "$import s2mnet.exporting.monai_parts as monai_parts"],
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/images'",
    "output_dir": "$@bundle_root + '/masks'",
    "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "network_def": {"_target_": "s2mnet.exporting.monai_parts.ImageNetwork", "folder": "$@bundle_root + '/models'"},
    "network": "$@network_def.to(@device)",
    "datalist": "$monai_parts.images_of(@dataset_dir)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "Lambdad", "keys": "image", "func": "$monai_parts.read"}],
    },
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "Lambdad", "keys": "pred", "func": "$@network_def.mask"}],
    },
    "run": ["$monai_parts.predict(@datalist, @preprocessing, @inferer, @network, @postprocessing, @output_dir)"],
}


def write_bundle(run: Path, folder: Path) -> list[str]:
    """Write ``configs/``, ``models/`` and ``docs/README.md`` into a folder.

    Args:
        run: folder of a model.
        folder: where to write.

    Returns:
        Lines for the screen.

    Raises:
        S2MNetError: the run folder holds no model, or is damaged.
    """
    _, config = load_model(run)
    write_hub(run, folder / "docs", pictures=False)  # for its card; the model itself belongs into models/
    (folder / "models").mkdir()
    for name in (CONFIG, WEIGHTS):
        (folder / "docs" / name).replace(folder / "models" / name)
    for file, content in (("inference", _INFERENCE), ("metadata", _metadata(config))):
        text = f"{json.dumps(content, indent=2, ensure_ascii=False)}\n"
        write_atomically(folder / "configs" / f"{file}.json", text.encode())
    return [
        "run it there: "
        "python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES --output_dir MASKS"
    ]


def _metadata(config: ModelConfig) -> dict[str, Any]:
    """``metadata.json`` in the form that MONAI describes."""
    labels, stored = config.labels, config.preprocessing.stored
    channels = stored or list(COLOURS)
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": "exported by s2mnet"},
        "monai_version": monai_version,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"s2mnet": __version__},
        "name": "S2M-Net",
        "task": "2-D segmentation",
        "description": f"S2M-Net for {labels.describe()}",
        "authors": "unknown",
        "copyright": "unknown",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude" if stored else "RGB",
                    "num_channels": len(channels),
                    "spatial_shape": ["*", "*"],
                    "dtype": "float32",
                    "value_range": [0, 255],
                    "is_patch_data": False,
                    "channel_def": dict(zip(map(str, range(len(channels))), channels, strict=True)),
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "segmentation",
                    "num_channels": labels.num_outputs,
                    "spatial_shape": ["*", "*"],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": dict(enumerate(labels.outputs)),
                }
            },
        },
    }
