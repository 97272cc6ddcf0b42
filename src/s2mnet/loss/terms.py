"""The five terms of MASL (SPEC 2.3): functions from binary maps to one number per sample and class, (B, F).

Ignored pixels count nowhere (SPEC 2.5; **ours**): pixel terms are means over valid pixels, a difference counts only if
all its pixels are valid, and κ treats ignored pixels as 0 in both maps. Without a valid pixel every term is 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from s2mnet.loss.geometry import compactness, level_sets, perimeter
from s2mnet.loss.maps import BinaryMaps

BOUNDARY_WINDOW = 5
BOUNDARY_WEIGHT = 5.0
SCALES = ((1, 0.5), (2, 0.3), (4, 0.2))
FOCAL = ((0.05, 3.0), (0.20, 2.0), (1.0, 1.5))
# In pixels, in Dice and IoU (**ours**): an empty prediction of an empty truth costs 0; other cases hardly change.
OVERLAP_EPS = 1e-3


def core(maps: BinaryMaps) -> Tensor:
    """L_core = 0.4·Dice loss + 0.3·IoU loss + 0.3·BCE weighted by 1 + 5·boundary(y) (SPEC 2.3).

    Args:
        maps: prediction and truth.

    Returns:
        (B, F), at least 0.

    Example:
        >>> y = torch.zeros(1, 1, 8, 8); y[..., 2:6, 2:6] = 1
        >>> z = 100 * (y - 0.5)
        >>> round(core(BinaryMaps(z, z.sigmoid(), y, None)).item(), 4)
        0.0
    """
    p, y = maps.probs, maps.truth
    both, either = (p * y).sum((-2, -1)), p.sum((-2, -1)) + y.sum((-2, -1))
    dice = 1 - (2 * both + OVERLAP_EPS) / (either + OVERLAP_EPS)
    iou = 1 - (both + OVERLAP_EPS) / (either - both + OVERLAP_EPS)
    cross_entropy = F.binary_cross_entropy_with_logits(maps.logits, y, reduction="none")
    return 0.4 * dice + 0.3 * iou + 0.3 * _mean(cross_entropy * (1 + BOUNDARY_WEIGHT * boundary(maps)), maps.valid)


def boundary(maps: BinaryMaps) -> Tensor:
    """Dilation − erosion of the truth with a 5×5 window (SPEC 2.3); no boundary at the image border or ignored pixels.

    Args:
        maps: only truth and valid are read.

    Returns:
        (B, F, H, W), bool.

    Example:
        >>> y = torch.zeros(1, 1, 1, 8); y[..., 4:] = 1
        >>> boundary(BinaryMaps(y, y, y, None)).flatten().int().tolist()
        [0, 0, 1, 1, 1, 1, 0, 0]
    """
    foreground = maps.truth > 0
    background = ~foreground if maps.valid is None else ~foreground & maps.valid
    return _dilate(foreground) & _dilate(background)


def multiscale_boundary(maps: BinaryMaps) -> Tensor:
    """L_bnd = Σ_δ w_δ · mean |d_δ y − d_δ p|, d_δ f = f[i+δ] − f[i], δ = 1, 2, 4, w = 0.5, 0.3, 0.2 (SPEC 2.3).

    The mean pools the differences of both directions. A map of side δ or less has none in that direction.

    Args:
        maps: prediction and truth.

    Returns:
        (B, F), in [0, 2].

    Example:
        >>> y = torch.zeros(1, 1, 1, 2); p = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
        >>> multiscale_boundary(BinaryMaps(p, p, y, None)).item()
        0.5
    """
    error = maps.truth - maps.probs  # differences are linear: d y − d p = d (y − p)
    parts = [weight * _mean_difference(error, maps.valid, step, order=1) for step, weight in SCALES]
    return torch.stack(parts).sum(0)


def texture(maps: BinaryMaps) -> Tensor:
    """L_tex = mean |d² y − d² p|, d² f = f[i+1] − 2 f[i] + f[i−1], both directions pooled (SPEC 2.3).

    Args:
        maps: prediction and truth.

    Returns:
        (B, F), in [0, 4].

    Example:
        >>> y = torch.zeros(1, 1, 1, 3); p = torch.tensor([0.0, 1.0, 0.0]).view(1, 1, 1, 3)
        >>> texture(BinaryMaps(p, p, y, None)).item()
        2.0
    """
    return _mean_difference(maps.truth - maps.probs, maps.valid, step=1, order=2)


def structure(maps: BinaryMaps, true_compactness: Tensor) -> Tensor:
    """L_str = |κ(y) − κ(p)|, with κ(p) from the level sets of p; 0 where y is empty (SPEC 2.3; **ours**).

    An empty mask has no shape to match. Its κ = 0 (SPEC 2.1) would reward a long outline: on BUSI, where one image in
    six has no tumour, that filled every prediction with speckle (docs/decisions.md).

    Args:
        maps: prediction and truth.
        true_compactness: κ(y), (B, F): the descriptor c.

    Returns:
        (B, F), in [0, 1].

    Example:
        >>> p, y = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
        >>> structure(BinaryMaps(p, p, y, None), torch.full((1, 1), 0.25)).item()
        0.25
    """
    f = level_sets(maps.probs)
    error = (true_compactness - compactness(f, perimeter(f))).abs()
    return torch.where((maps.truth > 0).flatten(2).any(2), error, 0)


def scale(maps: BinaryMaps, size: Tensor) -> Tensor:
    """L_sca = mean of −(1 − p_t)^γ · log p_t, γ = 3 if s < 5 %, 2 if s < 20 %, else 1.5 (SPEC 2.3).

    Args:
        maps: prediction and truth.
        size: s, the relative size of the true mask, (B, F).

    Returns:
        (B, F), at least 0.

    Example:
        >>> z = torch.zeros(1, 1, 2, 2)
        >>> round(scale(BinaryMaps(z, z.sigmoid(), z, None), torch.zeros(1, 1)).item(), 4)  # 0.5³ · ln 2
        0.0866
    """
    gamma = focal_exponent(size)[..., None, None]
    towards_truth = maps.logits * (2 * maps.truth - 1)
    surprise = F.softplus(-towards_truth)  # −log p_t; −log(1 − p_t) is this plus towards_truth
    return _mean(surprise * torch.exp(-gamma * (surprise + towards_truth)), maps.valid)


def focal_exponent(size: Tensor) -> Tensor:
    """γ of L_sca for masks of a relative size (SPEC 2.3).

    Example:
        >>> focal_exponent(torch.tensor([0.01, 0.1, 0.5])).tolist()
        [3.0, 2.0, 1.5]
    """
    (small, steepest), (medium, steep), (_, gentle) = FOCAL
    return torch.where(size < small, steepest, torch.where(size < medium, steep, gentle))


def _mean(x: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return x.mean((-2, -1))
    return torch.where(valid, x, 0).sum((-2, -1)) / valid.sum((-2, -1)).clamp(min=1)


def _mean_difference(error: Tensor, valid: Tensor | None, step: int, order: int) -> Tensor:
    """Mean of |first or second differences|, both directions pooled; all pixels of a difference must be valid."""
    total, count = error.new_zeros(error.shape[:-2]), error.new_zeros(error.shape[:-2])
    for axis in (-2, -1):
        length = error.shape[axis] - step * order
        if length <= 0:
            continue
        parts = [error.narrow(axis, k * step, length) for k in range(order + 1)]
        difference = (parts[1] - parts[0] if order == 1 else parts[2] - 2 * parts[1] + parts[0]).abs()
        if valid is None:
            count = count + difference[0, 0].numel()
        else:
            counted = valid.narrow(axis, 0, length)
            for k in range(1, order + 1):
                counted = counted & valid.narrow(axis, k * step, length)
            difference = torch.where(counted, difference, 0)
            count = count + counted.sum((-2, -1))
        total = total + difference.sum((-2, -1))
    return total / count.clamp(min=1)


def _dilate(x: Tensor) -> Tensor:
    """Dilate bool maps with a square window; ten times as fast as max-pooling on a CPU."""
    reach = BOUNDARY_WINDOW // 2
    for axis in (-2, -1):
        grown = x.clone()
        for step in range(1, min(reach, x.shape[axis] - 1) + 1):
            length = x.shape[axis] - step
            grown.narrow(axis, 0, length).logical_or_(x.narrow(axis, step, length))
            grown.narrow(axis, step, length).logical_or_(x.narrow(axis, 0, length))
        x = grown
    return x
