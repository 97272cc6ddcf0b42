"""Fast form of the gradients of MASL's terms: each in closed form, instead of five backward passes.

The values and slopes equal those of :mod:`s2mnet.loss.terms` under autograd, which ``S2MNET_PLAIN=1`` takes instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from s2mnet.loss.geometry import LEAST_SQUARED_PERIMETER, compactness, level_sets, perimeter
from s2mnet.loss.maps import BinaryMaps
from s2mnet.loss.terms import BOUNDARY_WEIGHT, OVERLAP_EPS, SCALES, boundary, focal_exponent


class ClosedForms:
    """The terms of a batch and their gradients ∂L_i/∂z with respect to the logits, without a graph.

    Args:
        maps: prediction and truth.
        true_compactness: κ(y), (B, F).
        size: s, the relative size of the true mask, (B, F).

    Example:
        >>> y = torch.zeros(1, 1, 8, 8); y[..., 2:6, 2:6] = 1
        >>> z = torch.randn(1, 1, 8, 8)
        >>> forms = ClosedForms(BinaryMaps.of(z, y, None), torch.ones(1, 1), torch.full((1, 1), 0.25))
        >>> value, slope = forms.of("sca")
        >>> value.shape, slope.shape
        (torch.Size([1, 1]), torch.Size([1, 1, 8, 8]))
    """

    def __init__(self, maps: BinaryMaps, true_compactness: Tensor, size: Tensor) -> None:
        self.maps, self.true_compactness, self.size = maps, true_compactness, size
        p, y, valid = maps.probs, maps.truth, maps.valid
        self.error = p - y
        self.steepness = p * (1 - p)  # ∂p/∂z; 0 where ignored, as p is
        if valid is None:
            self.count = torch.full(p.shape[:2], float(p.shape[-2] * p.shape[-1]), dtype=p.dtype, device=p.device)
        else:
            self.count = valid.sum((-2, -1)).clamp(min=1).to(p.dtype)

    def of(self, term: str) -> tuple[Tensor, Tensor]:
        """The value (B, F) and the slope (B, F, H, W) of a term, by its name in `s2mnet.loss.TERMS`."""
        forms = {"core": self._core, "bnd": self._boundary, "str": self._structure, "sca": self._scale,
                 "tex": self._texture}  # fmt: skip
        return forms[term]()

    def _core(self) -> tuple[Tensor, Tensor]:
        p, y = self.maps.probs, self.maps.truth
        both, either = (p * y).sum((-2, -1)), p.sum((-2, -1)) + y.sum((-2, -1))
        twice, whole, union = 2 * both + OVERLAP_EPS, either + OVERLAP_EPS, either - both + OVERLAP_EPS
        joint = both + OVERLAP_EPS
        weight = 1 + BOUNDARY_WEIGHT * boundary(self.maps)
        entropy = F.binary_cross_entropy_with_logits(self.maps.logits, y, reduction="none")
        value = 0.4 * (1 - twice / whole) + 0.3 * (1 - joint / union) + 0.3 * self._mean(entropy * weight)
        # ∂/∂p of both overlaps is one number where y = 1, and another where y = 0.
        outside = 0.4 * twice / whole**2 + 0.3 * joint / union**2
        inside = outside - (0.8 / whole + 0.3 / union + 0.3 * joint / union**2)
        overlap = torch.where(y > 0, inside[..., None, None], outside[..., None, None])
        return value, overlap * self.steepness + self.error * weight * self._share(0.3)

    def _boundary(self) -> tuple[Tensor, Tensor]:
        parts = [(weight, *self._differences(step, order=1)) for step, weight in SCALES]
        value = sum(weight * part for weight, part, _ in parts)
        slope = sum(weight * part for weight, _, part in parts)
        return torch.as_tensor(value), torch.as_tensor(slope) * self.steepness

    def _texture(self) -> tuple[Tensor, Tensor]:
        value, slope = self._differences(step=1, order=2)
        return value, slope * self.steepness

    def _structure(self) -> tuple[Tensor, Tensor]:
        p = self.maps.probs
        f = level_sets(p)
        outline = perimeter(f)
        kappa = compactness(f, outline)
        squared, area = outline.square(), f.sum((-2, -1))
        long = squared >= LEAST_SQUARED_PERIMETER
        free = 4 * math.pi * area / squared.clamp(min=LEAST_SQUARED_PERIMETER) <= 1  # else κ is clamped
        known = (self.maps.truth > 0).flatten(2).any(2)
        direction = torch.where(known & free, torch.sign(kappa - self.true_compactness), 0)
        by_area = direction * 4 * math.pi / squared.clamp(min=LEAST_SQUARED_PERIMETER)
        by_outline = torch.where(long, -2 * by_area * area / outline.clamp(min=torch.finfo(p.dtype).tiny), 0)
        rise = 140 * (p * (1 - p)) ** 3  # φ'(p)
        slope = (by_area[..., None, None] + by_outline[..., None, None] * _perimeter_slope(f)) * rise * self.steepness
        return torch.where(known, (self.true_compactness - kappa).abs(), 0), slope

    def _scale(self) -> tuple[Tensor, Tensor]:
        gamma = focal_exponent(self.size)[..., None, None]
        side = 2 * self.maps.truth - 1
        towards = self.maps.logits * side
        surprise = F.softplus(-towards)  # −log p_t; with `towards` it is −log(1 − p_t)
        damped = torch.exp(-gamma * (surprise + towards))
        missed = torch.sigmoid(-towards)  # 1 − p_t
        slope = damped * (missed + gamma * surprise * (1 - missed)) * side
        return self._mean(surprise * damped), slope * -self._share(1.0)

    def _differences(self, step: int, order: int) -> tuple[Tensor, Tensor]:
        """The mean of |first or second differences| of the error and its gradient with respect to p."""
        error, valid = self.error, self.maps.valid
        total, count = error.new_zeros(error.shape[:2]), error.new_zeros(error.shape[:2])
        signs = torch.zeros_like(error)
        for axis in (-2, -1):
            length = error.shape[axis] - step * order
            if length <= 0:
                continue
            places = [slice(k * step, k * step + length) for k in range(order + 1)]
            parts = [error.narrow(axis, place.start, length) for place in places]
            difference = parts[1] - parts[0] if order == 1 else parts[2] - 2 * parts[1] + parts[0]
            if valid is None:
                count += difference.shape[-2] * difference.shape[-1]
            else:
                counted = valid.narrow(axis, 0, length)
                for k in range(1, order + 1):
                    counted = counted & valid.narrow(axis, k * step, length)
                difference = torch.where(counted, difference, 0)
                count += counted.sum((-2, -1))
            total += difference.abs().sum((-2, -1))
            sign = difference.sign()
            for k, factor in enumerate((-1, 1) if order == 1 else (1, -2, 1)):
                signs.narrow(axis, k * step, length).add_(sign, alpha=factor)
        count = count.clamp(min=1)
        return total / count, signs / count[..., None, None]

    def _mean(self, x: Tensor) -> Tensor:
        valid = self.maps.valid
        return (x if valid is None else torch.where(valid, x, 0)).sum((-2, -1)) / self.count

    def _share(self, weight: float) -> Tensor:
        """The weight of each pixel in a mean over the valid ones."""
        share = (weight / self.count)[..., None, None]
        return share if self.maps.valid is None else share * self.maps.valid


def _perimeter_slope(f: Tensor) -> Tensor:
    """∂P/∂f of :func:`s2mnet.loss.geometry.perimeter`."""
    f = F.pad(f, (1, 1, 1, 1))
    slope = torch.zeros_like(f)
    height, width = f.shape[-2:]
    straight, diagonal = math.pi / 8, math.pi / 8 / math.sqrt(2)
    for rows, columns, weight in ((0, 1, straight), (1, 0, straight), (1, 1, diagonal), (1, -1, diagonal)):
        left, right = max(0, -columns), max(0, columns)
        first = (..., slice(0, height - rows), slice(left, width - right))
        second = (..., slice(rows, height), slice(right, width - left))
        sign = (f[second] - f[first]).sign()
        slope[second].add_(sign, alpha=weight)
        slope[first].sub_(sign, alpha=weight)
    return slope[..., 1:-1, 1:-1]


def closed_slopes(
    maps: BinaryMaps, true_compactness: Tensor, size: Tensor, terms: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """The terms L_i, (n, B, F), and their gradients ∂L_i/∂z, (n, B, F, H, W)."""
    with torch.no_grad():
        forms = ClosedForms(maps, true_compactness, size)
        values, slopes = zip(*(forms.of(term) for term in terms), strict=True)
        return torch.stack(values), torch.stack(slopes)
