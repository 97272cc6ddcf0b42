"""Descriptors of the true mask: tubularity, compactness, irregularity and size (SPEC 2.1)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from s2mnet.loss.geometry import compactness, perimeter

# Constants of the irregularity (**ours**), tuned on discs, ellipses, stars and waves from 64² to 512². Large shapes are
# reduced to area/perimeter = 4 px (a disc of radius 8), where smoothing by 1.5 px removes the staircase of the pixels
# and keeps the shape. Smaller shapes are not enlarged: their smoothing shrinks instead, down to 0.7 px.
REDUCED_WIDTH = 4.0
SMOOTHING = 1.5
LEAST_SMOOTHING = 0.7
# The outline is where the gradient exceeds this fraction of its maximum; in flat regions curvature is noise.
OUTLINE_GRADIENT = 0.2
# Boundary energy (1 for a disc) at which the irregularity is 1/2.
HALF_ENERGY = 9.0


class Descriptors(NamedTuple):
    """The shape of each true mask (SPEC 2.1). Each field is (B, foreground classes), in [0, 1]; 0 if empty.

    Example:
        >>> one = torch.ones(1, 1)
        >>> Descriptors(one, one, one, one)._fields
        ('tubularity', 'compactness', 'irregularity', 'size')
    """

    tubularity: Tensor
    """τ: skeleton area / area. 1/w for a line of width w, near 0 for a large disc."""
    compactness: Tensor
    """c: 4π·area / perimeter². 1 for a disc, near 0 for a vessel tree."""
    irregularity: Tensor
    """ι: curvature energy of the outline, scale-free. 0.1 for a disc, 0.6 for a star, near 1 for a vessel tree."""
    size: Tensor
    """s: area / number of pixels that are not ignored."""


def describe(truth: Tensor, valid: Tensor) -> Descriptors:
    """Describe each mask independently of the rest of the batch (SPEC 2.1). No descriptor has a gradient.

    Skeleton and irregularity are always computed on the CPU.

    Args:
        truth: (B, F, H, W) bool, the foreground; False where ignored.
        valid: (B, F or 1, H, W) bool, False where ignored.

    Returns:
        four float32 tensors (B, F) on the device of `truth`.

    Example:
        >>> bar = torch.zeros(1, 1, 40, 40, dtype=torch.bool); bar[..., 18:22, 2:38] = True
        >>> shapes = describe(bar, torch.ones_like(bar))
        >>> round(shapes.tubularity.item(), 2), round(shapes.size.item(), 2)
        (0.23, 0.09)
    """
    with torch.no_grad(), torch.autocast("cpu", enabled=False):  # irregularity needs float32
        f = truth.float()
        area, outline = f.sum((-2, -1)), perimeter(f)
        roundness = compactness(f, outline)
        size = area / valid.sum((-2, -1)).clamp(min=1)
        masks = truth.flatten(0, 1).cpu().numpy()
        shapes = zip(masks, area.flatten().tolist(), outline.flatten().tolist(), strict=True)
        measured = [_tubularity_irregularity(*shape) for shape in shapes]
        tau, iota = torch.tensor(measured, dtype=torch.float32, device=truth.device).unflatten(0, area.shape).unbind(-1)
    return Descriptors(tau, roundness, iota, size)


def _tubularity_irregularity(mask: np.ndarray, area: float, outline: float) -> tuple[float, float]:
    if area == 0:
        return 0.0, 0.0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    shape = np.ascontiguousarray(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return tubularity(shape, area), irregularity(torch.from_numpy(shape).float(), area, outline)


def tubularity(shape: np.ndarray, area: float) -> float:
    """τ = skeleton area / area (SPEC 2.1).

    Args:
        shape: (h, w) bool, one mask; it may be cropped to its bounding box.
        area: number of its pixels, above 0.

    Returns:
        a value in (0, 1].

    Example:
        >>> tubularity(np.ones((1, 30), bool), 30.0)
        1.0
    """
    from skimage.morphology import skeletonize

    return float(np.count_nonzero(skeletonize(shape)) / area)


def irregularity(shape: Tensor, area: float, outline: float) -> float:
    """ι = x / (x + 9), x = area/π · mean of κ² along the outline (SPEC 2.1; this reading is **ours**).

    κ is the curvature of the level sets of the smoothed mask u, κ = (u_xx u_y² − 2 u_xy u_x u_y + u_yy u_x²) / |∇u|³.
    The mean along the outline weights each pixel by |∇u|. For a disc of any radius κ² = π/area, so x = 1. Because the
    mask is first reduced in proportion to area/perimeter, the same shape drawn larger has the same ι and costs little
    more.

    Args:
        shape: (h, w) float32, one mask; it may be cropped to its bounding box.
        area: number of its pixels, above 0.
        outline: its perimeter in pixels.

    Returns:
        a value in [0, 1).

    Example:
        >>> round(irregularity(torch.ones(40, 40), 1600.0, 150.0), 2)  # a square
        0.23
    """
    ratio = area / outline / REDUCED_WIDTH
    if ratio > 1:
        shape = _shrink(shape, ratio)
    u = _smooth(shape, max(LEAST_SMOOTHING, SMOOTHING * min(ratio, 1.0)))
    # Central differences. First differences come out doubled and u_xy fourfold; the factors below correct for that.
    left, right, above, below = u[1:-1, :-2], u[1:-1, 2:], u[:-2, 1:-1], u[2:, 1:-1]
    centre2 = 2 * u[1:-1, 1:-1]
    u_x, u_y = right - left, below - above
    u_xy = u[2:, 2:] - u[2:, :-2] - u[:-2, 2:] + u[:-2, :-2]
    xx, yy = u_x.square(), u_y.square()
    steep2 = xx + yy
    bend = (left + right - centre2) * yy + (above + below - centre2) * xx - u_x * u_y * u_xy * 0.5
    steep = steep2.sqrt()
    on_outline = steep2 > OUTLINE_GRADIENT**2 * steep2.max()
    energy = torch.where(on_outline, (2 * bend).square() / (steep2 * steep2 * steep), 0).sum()
    x = float(shape.sum()) / math.pi * float(energy / torch.where(on_outline, steep, 0).sum())
    return x / (x + HALF_ENERGY)


def _shrink(shape: Tensor, factor: float) -> Tensor:
    """Reduce by area averaging with any factor above 1: one matrix product per side."""
    by_rows, by_columns = (_averaging(n, factor) for n in shape.shape)
    return by_rows @ shape @ by_columns.T


def _averaging(n: int, factor: float) -> Tensor:
    start = torch.arange(math.ceil(n / factor))[:, None] * factor
    pixel = torch.arange(n)
    overlap = torch.minimum(start + factor, pixel + 1) - torch.maximum(start, pixel)
    return overlap.clamp(min=0) / factor


def _smooth(shape: Tensor, sigma: float) -> Tensor:
    """Smooth with a Gaussian, padded so that the outline fades out inside the result."""
    reach = math.ceil(3 * sigma)
    kernel = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    u = F.pad(shape, [2 * reach + 1] * 4)
    for axis in (0, 1):
        length = u.shape[axis] - 2 * reach
        smoothed = u.narrow(axis, reach, length) / sum(kernel)
        for k, value in enumerate(kernel):
            if k != reach:
                smoothed.add_(u.narrow(axis, k, length), alpha=value / sum(kernel))
        u = smoothed
    return u
