"""Augmentation of training samples (SPEC 3); every random number comes from the generator that is passed in."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from s2mnet.fingerprint.record import AXES
from s2mnet.plan import Augmentation


def random_view(
    image: Tensor,
    mask: Tensor,
    centre: tuple[float, float],
    size: tuple[int, int],
    aug: Augmentation,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """One window of an image and its mask: rotated, flipped, scaled, shifted and deformed in a single interpolation.

    Whole images and patches are treated alike, as a window of ``size`` around ``centre``. Image and mask are mirrored
    beyond their edges.

    Args:
        image: (C, H, W), any dtype; only the part inside the window is read.
        mask: uint8 (H, W) class indices, 255 ignore.
        centre: row and column of the window's centre, in pixels, pixel centres at integers.
        size: height and width of the window.

    Returns:
        image float32 (C, h, w), bilinear; mask uint8 (h, w), nearest.
    """
    height, width = size
    angle = math.radians(rng.uniform(-aug.rotate_degrees, aug.rotate_degrees)) if rng.random() < aug.rotate_p else 0.0
    flips = [-1.0 if rng.random() < aug.flip_p and axis in aug.flip_axes else 1.0 for axis in AXES]
    scale, shift = 1.0, [0.0, 0.0]
    if rng.random() < aug.scale_shift_p:
        scale = 1 / rng.uniform(1 - aug.scale, 1 + aug.scale)
        shift = [rng.uniform(-aug.shift, aug.shift) * side for side in size]
    rows = (torch.arange(height) - (height - 1) / 2)[:, None] * flips[0]
    columns = (torch.arange(width) - (width - 1) / 2)[None] * flips[1]
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    y = centre[0] + shift[0] + cos * rows - sin * columns
    x = centre[1] + shift[1] + sin * rows + cos * columns
    if rng.random() < aug.elastic_p:
        bend = smooth_noise(size, aug.elastic_alpha, aug.elastic_sigma, rng)
        y, x = y + bend[0], x + bend[1]
    y, x = (_mirrored(places, side) for places, side in zip(torch.broadcast_tensors(y, x), mask.shape, strict=True))
    top, left = int(y.min()), int(x.min())
    seen = image[:, top : int(y.max()) + 2, left : int(x.max()) + 2].float()
    # grid_sample counts pixel edges from −1 to 1.
    grid = torch.stack([(2 * (x - left) + 1) / seen.shape[2] - 1, (2 * (y - top) + 1) / seen.shape[1] - 1], -1)
    view = F.grid_sample(seen[None], grid[None].float(), mode="bilinear", padding_mode="border", align_corners=False)[0]
    return view, mask[y.round().long(), x.round().long()]


def _mirrored(places: Tensor, side: int) -> Tensor:
    """Pixel positions reflected into 0 … side − 1, for an image that is mirrored at its edges."""
    wrapped = (places + 0.5).remainder(2 * side)
    return (torch.minimum(wrapped, 2 * side - wrapped) - 0.5).clamp(0, side - 1)


def smooth_noise(size: tuple[int, int], alpha: float, sigma: float, rng: np.random.Generator) -> Tensor:
    """Two displacement maps (2, h, w) in pixels: noise in ±alpha, smoothed by a Gaussian of ``sigma`` pixels.

    Smoothed white noise of variance alpha²/3 has a standard deviation of alpha/√3 / (2√π σ) and a correlation of
    exp(−d²/4σ²) at distance d. White noise on a grid with one knot per σ, interpolated by the same Gaussian, has both,
    at a hundredth of the cost.
    """
    deviation = alpha / math.sqrt(3) / (2 * math.sqrt(math.pi) * sigma)
    spread = []
    for side in size:
        knots = np.arange(-3 * sigma, side + 3 * sigma, sigma)
        weights = np.exp(-(((np.arange(side)[:, None] - knots) / sigma) ** 2) / 2)
        spread.append(weights / np.linalg.norm(weights, axis=1, keepdims=True))
    coarse = rng.standard_normal((2, spread[0].shape[1], spread[1].shape[1])) * deviation
    return torch.from_numpy((spread[0] @ coarse @ spread[1].T).astype(np.float32))


def random_light(image: Tensor, aug: Augmentation, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, tint, noise and coarse dropout of an image (C, h, w) in 0..1; the result stays in 0..1."""
    channels, height, width = image.shape
    if rng.random() < aug.light_p:
        mean = image.mean()
        image = mean + (image - mean) * rng.uniform(1 - aug.contrast, 1 + aug.contrast)
        image = image + rng.uniform(-aug.brightness, aug.brightness)
        if channels > 1 and aug.tint:
            gains = rng.uniform(1 - aug.tint, 1 + aug.tint, (channels, 1, 1)).astype(np.float32)
            image = image * torch.from_numpy(gains)
    if rng.random() < aug.noise_p:
        noise = rng.standard_normal((channels, height, width), dtype=np.float32) * rng.uniform(0, aug.noise)
        image = image + torch.from_numpy(noise.astype(np.float32))
    if rng.random() < aug.dropout_p:
        image = image.clone()
        fill = image.mean((1, 2), keepdim=True)
        for _ in range(rng.integers(1, 9)):
            h, w = (int(rng.integers(1, max(2, side // 8 + 1))) for side in (height, width))
            top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            image[:, top : top + h, left : left + w] = fill
    return image.clamp(0, 1)
