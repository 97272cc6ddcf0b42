"""What the configuration of an exported MONAI bundle refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s2mnet.data import find_images, read_image, write_mask
from s2mnet.engines import build
from s2mnet.inference import Inference, to_labels
from s2mnet.modelfolder import load_model


class ImageNetwork(nn.Module):
    """A model with all that happens around its network: images of any size in, probabilities of that size out.

    Args:
        folder: of the model.

    Shape:
        (B, C, H, W), levels 0..255; C is 1 (grey), 3 (red, green, blue) or the number of stored channels →
        probabilities (B, outputs, H, W), float32.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        network, config = load_model(Path(folder))
        self.network = build(network, "torch")
        self.inference = Inference(self.network, config)

    def forward(self, x: Tensor) -> Tensor:
        images = x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        predicted = [self._probabilities(image) for image in images]
        return torch.from_numpy(np.stack(predicted)).to(x.device)

    def _probabilities(self, image: np.ndarray) -> np.ndarray:
        maps = self.inference.run(self.inference.prepare(image)[None])[0]
        return self.inference.finish(maps, (image.shape[0], image.shape[1])).probabilities

    def mask(self, probabilities: Tensor) -> Tensor:
        """The mask (1, H, W) in label values, int32, of the probabilities (outputs, H, W) of one image."""
        config = self.inference.config
        indices = to_labels(probabilities.cpu().numpy(), config.labels, config.threshold)
        return torch.from_numpy(config.labels.decode(indices).astype(np.int32))[None]


def images_of(place: str) -> list[Path]:
    """The image, or the images of a folder.

    Raises:
        S2MNetError: there is none.
    """
    return find_images(Path(place))


def read(path: str | Path) -> Tensor:
    """An image file as float32 (C, H, W), levels 0..255, as ``s2mnet predict`` reads it."""
    image = read_image(Path(path))
    return torch.from_numpy(image.reshape(*image.shape[:2], -1).transpose(2, 0, 1).astype(np.float32))


def predict(
    files: Iterable[Path],
    preprocessing: Callable[[dict[str, Any]], dict[str, Any]],
    inferer: Callable[[Tensor, nn.Module], Tensor],
    network: nn.Module,
    postprocessing: Callable[[dict[str, Any]], dict[str, Any]],
    output_dir: str,
) -> None:
    """Write a mask for each image, as PNG with the name of the image.

    Raises:
        S2MNetError: an image cannot be read, or a mask cannot be written.
    """
    device = next(network.parameters()).device
    for file in files:
        item = preprocessing({"image": file})
        item["pred"] = inferer(item["image"][None].to(device), network)[0]
        write_mask(Path(output_dir, f"{file.stem}.png"), postprocessing(item)["pred"][0].numpy())
