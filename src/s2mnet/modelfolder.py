"""A model on disk: ``config.json`` with all that prediction needs, and ``model.safetensors``; no pickle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save

from s2mnet.architecture import PeerNetwork
from s2mnet.data import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.network import S2MNet
from s2mnet.plan import Preprocessing

CONFIG, WEIGHTS = "config.json", "model.safetensors"
KEY = "s2mnet"  # our section of config.json, next to the arguments of the network


class ModelConfig(BaseModel):
    """What a trained network needs in addition to its weights.

    Attributes:
        preprocessing: from an image to the input of the network.
        labels: from class indices to the values in a mask.
        threshold: probability above which a pixel is foreground, for a network with one output.
        tta: transforms averaged by default, see :func:`s2mnet.inference.dihedral`.
    """

    model_config = ConfigDict(frozen=True)

    preprocessing: Preprocessing
    labels: LabelMap
    threshold: float = 0.5
    tta: int = 1


def save_model(network: S2MNet | PeerNetwork, config: ModelConfig, folder: Path) -> None:
    """Write the two files, each atomically, as the Hugging Face mixin of the network reads them.

    (The mixin itself would write to a temporary folder, which may be on a smaller disk.)
    """
    arguments = cast("dict[str, Any]", network._hub_mixin_config)
    content = dict(sorted(arguments.items())) | {KEY: config.model_dump(mode="json")}
    write_atomically(folder / WEIGHTS, save(_unshared(network.state_dict())))
    write_atomically(folder / CONFIG, json.dumps(content, indent=2, ensure_ascii=False).encode())


def _unshared(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each tensor under one of its names: safetensors stores no memory twice. The mixin knows the other names."""
    kept: dict[Any, str] = {}
    for name in sorted(state):
        kept.setdefault((state[name].data_ptr(), state[name].shape) if state[name].numel() else name, name)
    return {name: state[name].contiguous() for name in kept.values()}


def checksum(folder: Path) -> str:
    """SHA-256 of the two files of a model: different for models that differ in anything."""
    return hashlib.sha256((folder / CONFIG).read_bytes() + (folder / WEIGHTS).read_bytes()).hexdigest()


def load_model(folder: Path, device: str | torch.device = "cpu") -> tuple[S2MNet | PeerNetwork, ModelConfig]:
    """The network, in eval mode, and its configuration.

    Raises:
        S2MNetError: the folder does not hold a model, or one of its files is damaged.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            problem = f"holds no model: {name} is missing" if folder.is_dir() else "is not a folder"
            raise S2MNetError(folder, problem, "Pass the folder that s2mnet train wrote with -o.")
    fix = "Copy the file again, or train again."
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config, kind = ModelConfig.model_validate(content[KEY]), PeerNetwork if "architecture" in content else S2MNet
        with contextlib.redirect_stdout(io.StringIO()):  # the mixin prints a message
            network = kind.from_pretrained(str(folder), strict=True)
    except (OSError, ValueError, KeyError, TypeError) as error:  # pydantic and json raise ValueErrors
        problem = f"is not the configuration of a model ({_shortened(error)})"
        raise S2MNetError(folder / CONFIG, problem, fix) from None
    except Exception as error:  # safetensors has an exception class of its own, derived from Exception
        problem = f"does not load into the network of {CONFIG} ({_shortened(error)})"
        raise S2MNetError(folder / WEIGHTS, problem, fix) from None
    return network.eval().to(device), config


def _shortened(error: Exception) -> str:
    return " ".join([type(error).__name__, *str(error).split()])[:200]
