"""From an image to class probabilities at the image's own size: the same in validation, testing and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.data import to_channels
from s2mnet.plan import Preprocessing

OVERLAP = 0.25  # of neighbouring windows, Gaussian-weighted


def prepare_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Channels and, for whole images, size that the network works on.

    Args:
        image: uint8 (H, W) or (H, W, 3).

    Returns:
        uint8 (channels, h, w): h×w is ``preprocessing.size`` for whole images, H×W for patches.
    """
    planes = to_channels(image, preprocessing.channels)
    if preprocessing.extent == "patches":
        return planes
    height, width = preprocessing.size
    return np.stack([np.asarray(Image.fromarray(p).resize((width, height), Image.Resampling.LANCZOS)) for p in planes])


def prepare_mask(mask: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The mask that goes with :func:`prepare_image`, by nearest neighbour: uint8 (H, W) → uint8 (h, w)."""
    if preprocessing.extent == "patches":
        return mask
    height, width = preprocessing.size
    return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def normalise(planes: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(…, channels, h, w) in 0..1 → zero mean and unit variance per channel, of each input or of the data set."""
    if preprocessing.normalisation == "image":
        mean = planes.mean((-2, -1), keepdim=True)
        std = planes.std((-2, -1), correction=0, keepdim=True)
    else:
        mean, std = (planes.new_tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    return (planes - mean) / std.clamp_min(1e-3)


def predict_probabilities(
    network: nn.Module,
    images: Sequence[np.ndarray],
    preprocessing: Preprocessing,
    tta: int = 1,
    batch_size: int = 8,
    boundaries: bool = False,
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Class probabilities of images, each at its own size, predicted at the extent that the network was trained at.

    Args:
        network: an S2MNet, or anything that maps (B, channels, h, w) to logits, in eval mode.
        images: uint8 (H, W) or (H, W, 3); whole images are predicted ``batch_size`` at a time.
        tta: 1, or the mean over 4 flips, or over the 8 flips and quarter turns.
        boundaries: also give β of the shallowest decoder stage, where the network has one.

    Returns:
        For each image: probabilities float32 (outputs, H, W) — one sigmoid, or a softmax over the classes — and β
        float32 (H, W) or None.
    """
    prepared = [torch.from_numpy(_fill_window(prepare_image(image, preprocessing), preprocessing)) for image in images]
    sizes = [image.shape[:2] for image in images]
    results: list[tuple[np.ndarray, np.ndarray | None]] = []
    step = batch_size if preprocessing.extent == "whole" else 1
    for start in range(0, len(prepared), step):
        batch = torch.stack(prepared[start : start + step])
        maps, with_boundary = _predict_batch(network, batch, preprocessing, tta, batch_size, boundaries)
        for index, size in enumerate(sizes[start : start + step]):
            own = maps[index : index + 1]
            if preprocessing.extent == "patches":
                own = own[..., : size[0], : size[1]]
            elif tuple(own.shape[2:]) != tuple(size):
                own = F.interpolate(own, size=size, mode="bilinear", align_corners=False)
            array = own[0].cpu().numpy()
            results.append((array[:-1], array[-1]) if with_boundary else (array, None))
    return results


def _fill_window(planes: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Mirror an image smaller than a window at its lower and right edge, as it is in training."""
    if preprocessing.extent == "whole":
        return planes
    missing = [(0, max(0, window - side)) for window, side in zip(preprocessing.size, planes.shape[1:], strict=True)]
    return np.pad(planes, [(0, 0), *missing], mode="symmetric")


@torch.no_grad()
def _predict_batch(
    network: nn.Module, batch: Tensor, preprocessing: Preprocessing, tta: int, batch_size: int, boundaries: bool
) -> tuple[Tensor, bool]:
    """(B, channels, h, w) uint8 → (B, outputs [+ 1], h, w) float32, mean over the transforms; whether the 1 is β."""
    parameter = next(network.parameters())
    x = batch.to(parameter.device, torch.float32) / 255
    square = preprocessing.size[0] == preprocessing.size[1]
    total = torch.zeros(())
    transforms = dihedral(tta if square else min(tta, 4))

    with_boundary = False

    def probabilities(windows: Tensor) -> Tensor:
        windows = normalise(windows, preprocessing).contiguous(memory_format=torch.channels_last)
        logits, maps = network(windows, return_boundaries=True) if boundaries else (network(windows), [])
        nonlocal with_boundary
        with_boundary = len(maps) > 0
        logits = logits.float()
        outputs = [logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)]
        outputs += [F.interpolate(m.float(), size=logits.shape[2:], mode="bilinear") for m in maps[-1:]]
        return torch.cat(outputs, 1)

    for flip, turns in transforms:
        view = torch.rot90(x.flip(-1) if flip else x, turns, (-2, -1))
        if preprocessing.extent == "whole":
            seen = probabilities(view)
        else:
            from monai.inferers import sliding_window_inference

            tiled = sliding_window_inference(
                view,
                preprocessing.size,
                batch_size,
                probabilities,
                overlap=OVERLAP,
                mode="gaussian",
            )
            seen = cast(Tensor, tiled)
        seen = torch.rot90(seen, -turns, (-2, -1))
        total = total + (seen.flip(-1) if flip else seen)
    return total / len(transforms), with_boundary


def dihedral(tta: int) -> list[tuple[bool, int]]:
    """(mirror, quarter turns) of the test-time transforms: the identity, the 4 flips, or the whole group of 8.

    Example:
        >>> dihedral(4)  # identity, mirrored, half turn, mirrored half turn
        [(False, 0), (True, 0), (False, 2), (True, 2)]
    """
    return [(flip, turns) for turns in {1: [0], 4: [0, 2], 8: [0, 1, 2, 3]}[tta] for flip in (False, True)][
        : max(tta, 1)
    ]


def to_labels(probabilities: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Class indices uint8 (H, W) of probabilities (outputs, H, W): above the threshold, or the most probable class."""
    if probabilities.shape[0] == 1:
        return (probabilities[0] > threshold).astype(np.uint8)
    return probabilities.argmax(0).astype(np.uint8)
