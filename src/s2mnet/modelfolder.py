"""A model on disk: ``config.json`` with all that prediction needs, and ``model.safetensors``; no pickle."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.constants import HF_HUB_CACHE
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_model as load_weights
from safetensors.torch import save

from s2mnet.architecture import PeerNetwork, checked_types
from s2mnet.data import LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.finite import not_finite
from s2mnet.guard import guarded
from s2mnet.jsonfile import read_json
from s2mnet.network import S2MNet
from s2mnet.plan import Preprocessing
from s2mnet.text import shown

CONFIG, WEIGHTS = "config.json", "model.safetensors"
KEY = "s2mnet"  # our section of config.json, next to the arguments of the network
# In that section, so that the rest is what S2MNet(**arguments) takes. Increase it when older versions would misread a
# new file.
FORMAT_KEY, FORMAT = "format_version", 1


class StartedFrom(BaseModel):
    """The weights that a training started from.

    Attributes:
        name: of the shipped weights, of the model's folder without its path, or of the repository on the Hub.
        sha256: of the file of weights, as ``sha256sum model.safetensors`` and the Hugging Face Hub show it.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class ModelConfig(BaseModel):
    """What a trained network needs in addition to its weights.

    Attributes:
        preprocessing: from an image to the input of the network.
        labels: from class indices to the values in a mask.
        threshold: probability above which a pixel is foreground, for a network with one output.
        tta: transforms averaged by default, see :func:`s2mnet.inference.dihedral`.
        mirrors: whether more than one may be used: not where mirroring would swap classes.
        predicts: whether it has a last layer of its own; a pretrained network to start from has none.
        started_from: the weights that its training started from; None: random ones, or unknown.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    preprocessing: Preprocessing
    labels: LabelMap
    threshold: float = Field(0.5, ge=0, le=1)
    tta: Literal[1, 4, 8] = 1
    mirrors: bool = True
    predicts: bool = True
    started_from: StartedFrom | None = None


def save_model(network: S2MNet | PeerNetwork, config: ModelConfig, folder: Path) -> None:
    """Write the two files, each atomically, as the Hugging Face mixin of the network reads them.

    (The mixin itself would write to a temporary folder, which may be on a smaller disk.)

    Raises:
        S2MNetError: a weight is not finite, and nothing is written; or the folder cannot be written to.
    """
    _check_finite(network, folder / WEIGHTS)
    arguments = cast("dict[str, Any]", network._hub_mixin_config)
    content = dict(sorted(arguments.items())) | {KEY: {FORMAT_KEY: FORMAT, **config.model_dump(mode="json")}}
    write_atomically(
        folder / WEIGHTS, save(_unshared({name: value.cpu() for name, value in network.state_dict().items()}))
    )
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


def find_model(model: str | Path) -> Path:
    """The folder of a model: the folder itself, or its copy in the cache of Hugging Face, downloaded where needed.

    Args:
        model: a folder; or, as a string, the name of a repository on the Hugging Face Hub, such as "user/model". A
            folder of that name comes first, and a ``Path`` is always a folder.

    Raises:
        S2MNetError: the repository cannot be downloaded.
    """
    if isinstance(model, Path) or Path(model).exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return Path(model)
    try:
        if HF_HUB_CACHE.startswith("~"):
            raise OSError("there is no home folder for the download; set HF_HOME")
        return Path(snapshot_download(model, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # those of the HTTP library, which differs between versions, too
        reason = shown(f"{type(error).__name__} {error}")[:200]
        problem = f"is not a folder, and cannot be downloaded from the Hugging Face Hub ({reason})"
        raise S2MNetError(model, problem, "Check the name, or download the model and pass its folder.") from None


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
    with guarded(folder / CONFIG, "is not the configuration of a model", fix):
        content = read_json(folder / CONFIG)
        version = content[KEY].get(FORMAT_KEY, FORMAT)  # the first models had none
        if version != FORMAT:
            problem = f"has the format {str(version)[:20]}; this version of s2mnet reads {FORMAT}"
            raise S2MNetError(folder / CONFIG, problem, "Install the version of s2mnet that wrote it.")
        config = ModelConfig.model_validate(content[KEY])
        network = _build(content, config, folder / WEIGHTS)
    with guarded(folder / WEIGHTS, f"does not load into the network of {CONFIG}", fix):
        load_weights(network, folder / WEIGHTS, strict=True)
    _check_finite(network, folder / WEIGHTS)
    network._hub_mixin_config = content  # what the mixin writes when the network is saved again
    return network.eval().to(device), config


def _build(content: dict[str, Any], config: ModelConfig, weights: Path) -> S2MNet | PeerNetwork:
    """The network of a configuration, not yet with these weights.

    Raises:
        S2MNetError: it has more parameters than the file of weights has bytes.
        ValueError: it does not fit the labels or channels.
        Exception: of any kind, by the network, for arguments that make no sense.
    """
    kind = PeerNetwork if "architecture" in content else S2MNet
    fields = inspect.signature(kind).parameters
    arguments = {name: content.get(name, field.default) for name, field in fields.items()}
    for name, needed in (
        ("num_classes", config.labels.num_outputs),
        ("in_channels", len(config.preprocessing.channels)),
    ):
        if arguments[name] != needed:
            raise ValueError(f"{name} is {arguments[name]}; labels and preprocessing need {needed}")
    if kind is S2MNet:  # checked and sized before memory is taken; networks of MONAI cannot all be built without
        checked_types(arguments)
        with torch.device("meta"):
            parameters = sum(parameter.numel() for parameter in kind(**arguments).parameters())
        size = weights.stat().st_size
        if parameters > size:
            problem = f"has {size} bytes, too few for the {parameters} parameters of {CONFIG}"
            raise S2MNetError(weights, problem, "Copy both files again, or train again.")
    return kind(**arguments)


def _check_finite(network: S2MNet | PeerNetwork, path: Path) -> None:
    wrong = not_finite(network.state_dict())
    if wrong:
        raise S2MNetError(
            path, f"holds weights that are infinite or not a number ({wrong})", "Train again with a lower --lr."
        )
