"""Perimeter and compactness κ of a map in [0, 1], for true masks (SPEC 2.1) and predictions (SPEC 2.3) alike."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

# In px². The smallest binary mask has 7.2, so a true mask never notices; a nearly empty soft map fades to κ = 0.
LEAST_SQUARED_PERIMETER = 1.0


def level_sets(p: Tensor) -> Tensor:
    """φ(p), the share of the level sets {p > t} that hold a pixel: as a map it has their mean area and outline.

    Σφ(p) and the total variation of φ(p) are the area and the perimeter of {p > t}, averaged over the levels t (the
    co-area formula) with the weights of a Beta(4, 4) distribution, which has 95 % of its mass between 0.18 and 0.82:
    φ(p) = p⁴ (35 − 84 p + 70 p² − 20 p³). A blurred outline is as long as a sharp one, a ripple of p near 0 or 1
    hardly counts, and a binary map stays what it is (**ours**; SPEC 2.3 only asks for a κ differentiable in p).

    Args:
        p: values in [0, 1].

    Returns:
        the same shape, values in [0, 1].

    Example:
        >>> import torch
        >>> [round(x, 3) for x in level_sets(torch.tensor([0.0, 0.1, 0.5, 1.0])).tolist()]
        [0.0, 0.003, 0.5, 1.0]
    """
    return p**4 * (35 + p * (-84 + p * (70 - 20 * p)))


def perimeter(f: Tensor) -> Tensor:
    """Length of the outline by the Cauchy–Crofton formula in four directions (**ours**; SPEC 2.1 leaves it open).

    P = π/8 · (n_h + n_v + (n_d1 + n_d2)/√2), where n sums the absolute differences of neighbours in one direction. The
    map counts as 0 outside the image. On a binary mask this is scikit-image's `perimeter_crofton(directions=4)` of the
    padded mask. The empty image around a shape adds nothing (the released code's perimeter grows with it: SPEC 4,
    item 6).

    Args:
        f: (..., H, W), values in [0, 1]: a mask, or the `level_sets` of a prediction.

    Returns:
        (...), in pixels.

    Example:
        >>> import torch
        >>> square = torch.zeros(20, 20); square[5:15, 5:15] = 1
        >>> round(perimeter(square).item(), 1)  # 40 by hand: Crofton cuts the corners
        36.8
    """
    f = F.pad(f, (1, 1, 1, 1))
    across = _total(f[..., :, 1:] - f[..., :, :-1]) + _total(f[..., 1:, :] - f[..., :-1, :])
    diagonal = _total(f[..., 1:, 1:] - f[..., :-1, :-1]) + _total(f[..., 1:, :-1] - f[..., :-1, 1:])
    return math.pi / 8 * (across + diagonal / math.sqrt(2))


def compactness(f: Tensor, outline: Tensor) -> Tensor:
    """κ(f) = 4π · Σf / P(f)², in [0, 1] (SPEC 2.1).

    1 for a disc. It is clamped at 1: a digital perimeter may fall a little short of the true one, and a faint map has
    less of it than its shape, so that L_str exerts no force until there is an outline to speak of. An empty map
    gives 0, with a zero gradient.

    Args:
        f: (..., H, W), values in [0, 1]: a mask, or the `level_sets` of a prediction.
        outline: (...), `perimeter(f)`.

    Returns:
        (...), in [0, 1].

    Example:
        >>> import torch
        >>> y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        >>> disc = ((y - 32).hypot(x - 32) <= 20).float()
        >>> 0.9 < compactness(disc, perimeter(disc)).item() <= 1.0
        True
    """
    return (4 * math.pi * _total(f) / outline.square().clamp(min=LEAST_SQUARED_PERIMETER)).clamp(max=1)


def _total(x: Tensor) -> Tensor:
    return x.abs().sum((-2, -1))
