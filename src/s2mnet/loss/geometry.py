"""Perimeter and compactness κ of a map in [0, 1]: a true mask (SPEC 2.1) or a prediction (SPEC 2.3)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

# In px². One pixel has 7.2, so no true mask is affected; the κ of a nearly empty soft map fades to 0.
LEAST_SQUARED_PERIMETER = 1.0


def level_sets(p: Tensor) -> Tensor:
    """φ(p), the fraction of the level sets {p > t} that contain a pixel; makes κ differentiable (SPEC 2.3; **ours**).

    The levels t follow a Beta(4, 4) distribution, with 95 % of its mass between 0.18 and 0.82, so φ(p) =
    p⁴ (35 − 84 p + 70 p² − 20 p³). By the co-area formula, Σφ(p) and the total variation of φ(p) are the mean area and
    perimeter of {p > t}. A blurred outline is therefore as long as a sharp one, ripples of p near 0 or 1 hardly count,
    and a binary map does not change.

    Args:
        p: values in [0, 1].

    Returns:
        φ(p), of the same shape, in [0, 1].

    Example:
        >>> import torch
        >>> [round(x, 3) for x in level_sets(torch.tensor([0.0, 0.1, 0.5, 1.0])).tolist()]
        [0.0, 0.003, 0.5, 1.0]
    """
    return p**4 * (35 + p * (-84 + p * (70 - 20 * p)))


def perimeter(f: Tensor) -> Tensor:
    """Perimeter by the Cauchy–Crofton formula in four directions (**ours**; SPEC 2.1 does not say how).

    P = π/8 · (n_h + n_v + (n_d1 + n_d2)/√2), where n sums the absolute differences of neighbours in one direction. The
    map is 0 outside the image. For a binary mask this equals scikit-image's `perimeter_crofton(directions=4)` of the
    padded mask. Empty image around a shape adds nothing (in the released code it does: SPEC 4, item 6).

    Args:
        f: (..., H, W), in [0, 1]: a mask, or `level_sets` of a prediction.

    Returns:
        P, (...), in pixels.

    Example:
        >>> import torch
        >>> square = torch.zeros(20, 20); square[5:15, 5:15] = 1
        >>> round(perimeter(square).item(), 1)  # its sides measure 40: Crofton cuts the corners
        36.8
    """
    f = F.pad(f, (1, 1, 1, 1))
    across = _total(f[..., :, 1:] - f[..., :, :-1]) + _total(f[..., 1:, :] - f[..., :-1, :])
    diagonal = _total(f[..., 1:, 1:] - f[..., :-1, :-1]) + _total(f[..., 1:, :-1] - f[..., :-1, 1:])
    return math.pi / 8 * (across + diagonal / math.sqrt(2))


def compactness(f: Tensor, outline: Tensor) -> Tensor:
    """κ(f) = 4π · Σf / P(f)², in [0, 1] (SPEC 2.1).

    1 for a disc. κ is clamped at 1: a digital perimeter can fall slightly short of the true one, and a faint map has
    a shorter perimeter than its shape, so L_str has no gradient until an outline appears. An empty map has κ = 0 and a
    zero gradient.

    Args:
        f: (..., H, W), in [0, 1]: a mask, or `level_sets` of a prediction.
        outline: (...), `perimeter(f)`.

    Returns:
        κ, (...), in [0, 1].

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
