"""From an image to a mask at the image's own size: the same code in validation, testing and prediction."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.data import LabelMap, select_channels
from s2mnet.data.channels import COLOURS, clahe
from s2mnet.data.resize import resized
from s2mnet.errors import S2MNetError
from s2mnet.modelfolder import ModelConfig
from s2mnet.plan import Preprocessing

OVERLAP = 0.25  # of neighbouring windows, whose predictions are averaged with Gaussian weights
SIGMA = 0.125  # standard deviation of that Gaussian, as a share of the window's side
# Padding by mirroring on all sides before an image is cut into windows, as a share of the window's shorter side.
# Convolutions see zeros beyond the edge of a window, so predictions there are poor: without the margin, a model of the
# demo drew a false line along the frame of the image.
MARGIN = 1 / 16


class Prediction(NamedTuple):
    """What a model predicts for one image, at the size of the image.

    Attributes:
        mask: (H, W) in the label values of the training masks.
        indices: uint8 (H, W), class indices 0 … classes−1.
        probabilities: float32 (outputs, H, W) in 0..1: of the foreground; of every class, background first; or of
            every region.
        boundary: β float32 (H, W) in 0..1, where the model sees boundaries (SPEC 1.3), if requested.
    """

    mask: np.ndarray
    indices: np.ndarray
    probabilities: np.ndarray
    boundary: np.ndarray | None


class Inference:
    """From an image to a mask in three stages, :meth:`prepare`, :meth:`run` and :meth:`finish`.

    Different threads may run the stages of different images.

    Args:
        network: an S2MNet in eval mode, or anything that maps (B, channels, h, w) to logits.
        config: its preprocessing and labels, with the threshold and the test-time transforms to use.
    """

    def __init__(self, network: nn.Module, config: ModelConfig) -> None:
        self._network, self.config = network, config

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The input of the network: see :func:`prepare_image`."""
        return prepare_image(image, self.config.preprocessing)

    @torch.no_grad()
    def run(self, batch: np.ndarray, tta: int | None = None, boundary: bool = False, windows: int = 8) -> Tensor:
        """The mean of the network's probabilities over the test-time transforms, at the size that training used.

        Args:
            batch: uint8 (B, channels, h, w), images from :meth:`prepare`.
            tta: 1, or the mean over 4 flips, or over the 8 flips and quarter turns; None takes the model's default.
            boundary: whether to append β of the shallowest decoder stage, if the network has one.
            windows: number of windows predicted at a time, for patches.

        Returns:
            float32 (B, outputs, h, w), with β behind the outputs; h×w is the input size of the network for whole
            images, and for patches the size of the image with its margin.

        Raises:
            ValueError: a tta that is not 1, 4, 8 or None.
            S2MNetError: one above 1 for a model that must not mirror.
        """
        preprocessing, transforms = self.config.preprocessing, self.transforms(tta)

        def probabilities(x: Tensor) -> Tensor:
            return self.probabilities(x, boundary)

        device = next(self._network.parameters()).device
        x = torch.from_numpy(_with_margin(batch, preprocessing)).to(device, torch.float32) / 255
        weights = window_weights(preprocessing.size) if preprocessing.extent == "patches" else None
        total = torch.zeros(())
        for flip, turns in transforms:
            view = torch.rot90(x.flip(-1) if flip else x, turns, (-2, -1))
            if weights is None:
                maps = probabilities(view)
            else:
                from monai.inferers import sliding_window_inference

                tiled = sliding_window_inference(
                    view, preprocessing.size, windows, probabilities, overlap=OVERLAP, roi_weight_map=weights
                )
                maps = cast(Tensor, tiled)
            maps = torch.rot90(maps, -turns, (-2, -1))
            total = total + (maps.flip(-1) if flip else maps)
        return total / len(transforms)

    def transforms(self, tta: int | None) -> list[tuple[bool, int]]:
        """The test-time transforms that :meth:`run` averages over, see :func:`dihedral`; its errors."""
        preprocessing, tta = self.config.preprocessing, self.config.tta if tta is None else tta
        if tta not in (1, 4, 8):
            raise ValueError(f"tta must be 1, 4 or 8; it is {tta}")
        if tta > 1 and not self.config.mirrors:
            problem = f"is {tta}, but mirrored views would swap classes of this model that differ in their side"
            raise S2MNetError("--tta", problem, "Omit it, or use 1.")
        square = preprocessing.size[0] == preprocessing.size[1]
        return dihedral(tta if square else min(tta, 4))

    def probabilities(self, x: Tensor, boundary: bool = False) -> Tensor:
        """Probabilities, and β behind them, of inputs (B, channels, h, w) in 0..1 that have the size of the network."""
        x = normalise(x, self.config.preprocessing).contiguous(memory_format=torch.channels_last)
        logits, boundaries = self._network(x, return_boundaries=True) if boundary else (self._network(x), [])
        logits = logits.float()
        maps = [logits.softmax(1) if self.config.labels.exclusive else logits.sigmoid()]
        maps += [F.interpolate(b.float(), size=logits.shape[2:], mode="bilinear") for b in boundaries[-1:]]
        return torch.cat(maps, 1)

    def at_own_size(self, maps: Tensor, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Probabilities (outputs, H, W) and β (H, W) or None, float32, of one image of :meth:`run`'s batch."""
        if self.config.preprocessing.extent == "patches":
            margin = margin_of(self.config.preprocessing)
            maps = maps[:, margin : margin + size[0], margin : margin + size[1]]
        elif tuple(maps.shape[1:]) != tuple(size):
            maps = F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
        array, outputs = maps.cpu().numpy(), self.config.labels.num_outputs
        return array[:outputs], array[outputs] if len(array) > outputs else None

    def finish(self, maps: Tensor, size: tuple[int, int], where: str | Path = "The image") -> Prediction:
        """The prediction for an image of ``size`` (H, W) from its maps, one image of :meth:`run`'s batch.

        Raises:
            S2MNetError: the network gave values that are not finite, of which any mask would be made up.
        """
        probabilities, boundary = self.at_own_size(maps, size)
        if not np.isfinite(probabilities).all():
            problem = "makes the network give values that are infinite or not a number"
            raise S2MNetError(where, problem, "Check the image, or train the model again with a lower --lr.")
        labels = self.config.labels
        indices = to_labels(probabilities, labels, self.config.threshold)
        return Prediction(labels.decode(indices), indices, probabilities, boundary)


def prepare_image(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Select the channels, apply CLAHE if the plan says so, and resize whole images to the input of the network.

    Args:
        image: uint8 (H, W), (H, W, 3) or a stack (H, W, n).

    Returns:
        uint8 (channels, h, w): h×w is ``preprocessing.size`` for whole images, H×W for patches.
    """
    grey = image.ndim == 2 or image.shape[2] == 1
    colours = (grey or image.shape[2] == 3) and not preprocessing.stored and set(preprocessing.channels) <= set(COLOURS)
    if preprocessing.extent == "whole" and colours and not preprocessing.clahe:
        # The same as below, where each channel is resized on its own, but faster. Grey images too, so that an image
        # gives the same result in grey and in three equal channels.
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if grey else image
        return select_channels(resized(image, preprocessing.size), preprocessing.channels)
    planes = select_channels(image, preprocessing.channels, preprocessing.stored)
    if preprocessing.clahe:
        planes = np.stack([clahe(plane) for plane in planes])
    if preprocessing.extent == "patches":
        return planes
    return np.stack([resized(plane, preprocessing.size) for plane in planes])


def prepare_mask(mask: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Resize a mask as :func:`prepare_image` does its image, by nearest neighbour: uint8 (H, W) → uint8 (h, w)."""
    if preprocessing.extent == "patches":
        return mask
    height, width = preprocessing.size
    return np.array(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def normalise(planes: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Scale (…, channels, h, w) in 0..1 to zero mean and unit variance per channel, by the input or by the data set."""
    if preprocessing.normalisation == "image":
        centred = planes - planes.mean((-2, -1), keepdim=True)
        # planes.std() takes fifteen times as long, a noticeable part of the time per image.
        std = centred.square().mean((-2, -1), keepdim=True).sqrt()
    else:
        mean, std = (planes.new_tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        centred = planes - mean
    return centred / std.clamp_min(1e-3)


def margin_of(preprocessing: Preprocessing) -> int:
    """Pixels mirrored on each side of an image before it is cut into windows; 0 for whole images."""
    return int(min(preprocessing.size) * MARGIN) if preprocessing.extent == "patches" else 0


def _with_margin(batch: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Mirror images (B, C, h, w) at their edges, as in training, by the margin and until they fill a window."""
    if preprocessing.extent == "whole":
        return batch
    margin = margin_of(preprocessing)
    sides = [
        (margin, margin + max(0, window - side - 2 * margin))
        for window, side in zip(preprocessing.size, batch.shape[2:], strict=True)
    ]
    return np.pad(batch, [(0, 0), (0, 0), *sides], mode="symmetric")


def window_weights(size: tuple[int, int]) -> Tensor:
    """The weight of each pixel of a window in the mean over overlapping windows: a centred Gaussian.

    It has no floor, so along a row the weights of two windows have the same ratio in every row. MONAI's own
    ``mode="gaussian"`` is clipped at 1e-3: near the edges of an image, where weights are smaller, windows had equal
    weights and the mask jumped where a window ended. The corners keep exp(−16) at any size, far above float32's zero.

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
    """The test-time transforms as (mirror, quarter turns): the identity, the 4 flips, or the whole group of 8.

    Example:
        >>> dihedral(4)  # identity, mirrored, half turn, mirrored half turn
        [(False, 0), (True, 0), (False, 2), (True, 2)]
    """
    return [(flip, turns) for turns in {1: [0], 4: [0, 2], 8: [0, 1, 2, 3]}[tta] for flip in (False, True)][
        : max(tta, 1)
    ]


def to_labels(probabilities: np.ndarray, labels: LabelMap, threshold: float = 0.5) -> np.ndarray:
    """Class indices uint8 (H, W) from probabilities (outputs, H, W).

    With one output, a pixel is foreground above the threshold. Of exclusive classes, the most probable wins. Of
    regions, the class with the largest product Π p over its regions · Π (1 − p) over the others wins.
    """
    if labels.regions:
        p = np.clip(probabilities, 1e-6, 1 - 1e-6)
        inside, outside = np.log(p), np.log1p(-p)
        member = labels.membership.T.astype(np.float32)  # (classes, regions)
        scores = np.tensordot(member, inside - outside, 1)  # log Π, up to a term common to all classes
        return scores.argmax(0).astype(np.uint8)
    if probabilities.shape[0] == 1:
        return (probabilities[0] > threshold).astype(np.uint8)
    return probabilities.argmax(0).astype(np.uint8)
