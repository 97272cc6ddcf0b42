"""From an image to class probabilities at the image's own size: the same in validation, testing and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.data import LabelMap, select_channels
from s2mnet.data.channels import COLOURS, clahe
from s2mnet.data.resize import resized
from s2mnet.plan import Preprocessing

OVERLAP = 0.25  # of neighbouring windows, Gaussian-weighted
SIGMA = 0.125  # deviation of that Gaussian, as a share of the window's side
# Share of a window's shorter side by which an image is mirrored on all sides before it is cut into windows. Beyond a
# window's edge the convolutions see zeros, and what they make of the edge itself is weak: without the margin a model of
# the demo drew a false line along the frame of the image.
MARGIN = 1 / 16


def prepare_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Channels, equalised if the plan says so, and for whole images the size that the network works on.

    Args:
        image: uint8 (H, W), (H, W, 3) or a stack (H, W, n).

    Returns:
        uint8 (channels, h, w): h×w is ``preprocessing.size`` for whole images, H×W for patches.
    """
    grey = image.ndim == 2 or image.shape[2] == 1
    colours = (grey or image.shape[2] == 3) and not preprocessing.stored and set(preprocessing.channels) <= set(COLOURS)
    if preprocessing.extent == "whole" and colours and not preprocessing.clahe:
        # As below, where each channel is resized by itself, in a good part less time. Grey too, so that an image is the
        # same in grey and in three equal channels.
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if grey else image
        return select_channels(resized(image, preprocessing.size), preprocessing.channels)
    planes = select_channels(image, preprocessing.channels, preprocessing.stored)
    if preprocessing.clahe:
        planes = np.stack([clahe(plane) for plane in planes])
    if preprocessing.extent == "patches":
        return planes
    return np.stack([resized(plane, preprocessing.size) for plane in planes])


def prepare_mask(mask: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """The mask that goes with :func:`prepare_image`, by nearest neighbour: uint8 (H, W) → uint8 (h, w)."""
    if preprocessing.extent == "patches":
        return mask
    height, width = preprocessing.size
    return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def normalise(planes: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(…, channels, h, w) in 0..1 → zero mean and unit variance per channel, of each input or of the data set."""
    if preprocessing.normalisation == "image":
        centred = planes - planes.mean((-2, -1), keepdim=True)
        # Not planes.std(), which takes fifteen times as long: a good part of what an image costs beside the network.
        std = centred.square().mean((-2, -1), keepdim=True).sqrt()
    else:
        mean, std = (planes.new_tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        centred = planes - mean
    return centred / std.clamp_min(1e-3)


def predict_probabilities(
    network: nn.Module,
    images: Sequence[np.ndarray],
    preprocessing: Preprocessing,
    labels: LabelMap,
    tta: int = 1,
    batch_size: int = 8,
    boundaries: bool = False,
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Probabilities of images, each at its own size, predicted at the extent that the network was trained at.

    Args:
        network: an S2MNet, or anything that maps (B, channels, h, w) to logits, in eval mode.
        images: uint8 (H, W) or (H, W, C); whole images are predicted ``batch_size`` at a time.
        labels: what the outputs stand for.
        tta: 1, or the mean over 4 flips, or over the 8 flips and quarter turns.
        boundaries: also give β of the shallowest decoder stage, where the network has one.

    Returns:
        For each image: probabilities float32 (outputs, H, W) — one sigmoid, one of each region, or a softmax over the
        classes — and β float32 (H, W) or None.
    """
    prepared = [prepare_image(image, preprocessing) for image in images]
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    return predict_prepared(network, prepared, sizes, preprocessing, labels, tta, batch_size, boundaries)


def predict_prepared(
    network: nn.Module,
    prepared: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
    preprocessing: Preprocessing,
    labels: LabelMap,
    tta: int = 1,
    batch_size: int = 8,
    boundaries: bool = False,
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """:func:`predict_probabilities` of what :func:`prepare_image` gave for images of the sizes (H, W)."""
    results: list[tuple[np.ndarray, np.ndarray | None]] = []
    step = batch_size if preprocessing.extent == "whole" else 1
    for start in range(0, len(prepared), step):
        batch = prepared[start : start + step]
        maps = predict_maps(network, batch, preprocessing, labels, tta, batch_size, boundaries)
        for index, size in enumerate(sizes[start : start + step]):
            results.append(at_own_size(maps[index], size, preprocessing, labels))
    return results


@torch.no_grad()
def predict_maps(
    network: nn.Module,
    prepared: Sequence[np.ndarray],
    preprocessing: Preprocessing,
    labels: LabelMap,
    tta: int = 1,
    batch_size: int = 8,
    boundaries: bool = False,
) -> Tensor:
    """The network's part of :func:`predict_prepared`: the mean over the transforms of one batch, not at own sizes yet.

    Args:
        prepared: of :func:`prepare_image`, all of one size.
        batch_size: windows at a time, for patches.

    Returns:
        float32 (B, outputs, h, w), β behind the outputs where there is one; h×w is the size of the network for whole
        images, and for patches that of the image with its margin.
    """
    margin = _margin(preprocessing)
    batch = torch.stack([torch.from_numpy(_with_margin(planes, preprocessing, margin)) for planes in prepared])
    parameter = next(network.parameters())
    x = batch.to(parameter.device, torch.float32) / 255
    square = preprocessing.size[0] == preprocessing.size[1]
    total = torch.zeros(())
    transforms = dihedral(tta if square else min(tta, 4))
    weights = window_weights(preprocessing.size) if preprocessing.extent == "patches" else None

    def probabilities(windows: Tensor) -> Tensor:
        windows = normalise(windows, preprocessing).contiguous(memory_format=torch.channels_last)
        logits, maps = network(windows, return_boundaries=True) if boundaries else (network(windows), [])
        logits = logits.float()
        outputs = [logits.softmax(1) if labels.exclusive else logits.sigmoid()]
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
                roi_weight_map=weights,
            )
            seen = cast(Tensor, tiled)
        seen = torch.rot90(seen, -turns, (-2, -1))
        total = total + (seen.flip(-1) if flip else seen)
    return total / len(transforms)


def at_own_size(
    maps: Tensor, size: tuple[int, int], preprocessing: Preprocessing, labels: LabelMap
) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities (outputs, H, W) and β (H, W) or None, float32, of one image's part of :func:`predict_maps`."""
    if preprocessing.extent == "patches":
        margin = _margin(preprocessing)
        maps = maps[:, margin : margin + size[0], margin : margin + size[1]]
    elif tuple(maps.shape[1:]) != tuple(size):
        maps = F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
    array = maps.cpu().numpy()
    return array[: labels.num_outputs], array[labels.num_outputs] if len(array) > labels.num_outputs else None


def _margin(preprocessing: Preprocessing) -> int:
    return int(min(preprocessing.size) * MARGIN) if preprocessing.extent == "patches" else 0


def _with_margin(planes: np.ndarray, preprocessing: Preprocessing, margin: int) -> np.ndarray:
    """Mirror an image at its edges, as it is in training, by the margin and until it fills a window."""
    if preprocessing.extent == "whole":
        return planes
    sides = [
        (margin, margin + max(0, window - side - 2 * margin))
        for window, side in zip(preprocessing.size, planes.shape[1:], strict=True)
    ]
    return np.pad(planes, [(0, 0), *sides], mode="symmetric")


def window_weights(size: tuple[int, int]) -> Tensor:
    """How much each pixel of a window counts in the mean over the windows that overlap: a Gaussian about the middle.

    It has no floor, so that along a row the weights of two windows are in the same ratio in every row. MONAI's own
    ``mode="gaussian"`` is cut off at 1e-3: near the edges of an image, where weights are below that, windows counted
    alike, and a mask jumped where one of them ended. In the corners exp(−16) is left at any size, far from float32's 0.

    Args:
        size: height and width of the window in pixels, each at least 1.

    Returns:
        float32 (height, width), in 0..1 and above 0.

    Example:
        >>> weights = window_weights((32, 48))
        >>> weights.shape, bool(weights.min() > 1e-7)
        (torch.Size([32, 48]), True)
    """
    places = [torch.arange(side) - (side - 1) / 2 for side in size]
    rows, columns = (torch.exp(-0.5 * (x / (SIGMA * side)) ** 2) for x, side in zip(places, size, strict=True))
    return rows[:, None] * columns


def dihedral(tta: int) -> list[tuple[bool, int]]:
    """(mirror, quarter turns) of the test-time transforms: the identity, the 4 flips, or the whole group of 8.

    Example:
        >>> dihedral(4)  # identity, mirrored, half turn, mirrored half turn
        [(False, 0), (True, 0), (False, 2), (True, 2)]
    """
    return [(flip, turns) for turns in {1: [0], 4: [0, 2], 8: [0, 1, 2, 3]}[tta] for flip in (False, True)][
        : max(tta, 1)
    ]


def to_labels(probabilities: np.ndarray, labels: LabelMap, threshold: float = 0.5) -> np.ndarray:
    """Class indices uint8 (H, W) of probabilities (outputs, H, W).

    One output: above the threshold. Exclusive classes: the most probable one. Regions: the class whose regions, and no
    others, are most probably here, Π p of its regions · Π (1 − p) of the others.
    """
    if labels.regions:
        p = np.clip(probabilities, 1e-6, 1 - 1e-6)
        inside, outside = np.log(p), np.log1p(-p)
        member = labels.membership.T.astype(np.float32)  # (classes, regions)
        scores = np.tensordot(member, inside - outside, 1)  # log Π, less what all classes share
        return scores.argmax(0).astype(np.uint8)
    if probabilities.shape[0] == 1:
        return (probabilities[0] > threshold).astype(np.uint8)
    return probabilities.argmax(0).astype(np.uint8)
