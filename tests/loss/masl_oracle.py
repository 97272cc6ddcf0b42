"""MASL in NumPy, SciPy and scikit-image, one sample and class at a time, from SPEC 2; independent of the package.

NaN marks what does not count: ignored pixels and everything outside the image.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special
from skimage.measure import perimeter_crofton
from skimage.morphology import skeletonize

START = {"core": 1.0, "bnd": 1.0, "str": 1.0, "sca": 0.5, "tex": 0.5}


def shifted(f: np.ndarray, rows: int, columns: int) -> np.ndarray:
    return ndimage.shift(f, (-rows, -columns), order=0, mode="constant", cval=np.nan)


def perimeter(f: np.ndarray) -> float:
    """Crofton, four directions, of absolute differences; 0 outside the image."""
    f = np.pad(f, 1)
    total = sum(np.abs(np.diff(f, axis=a)).sum() for a in (0, 1)) * np.pi / 8
    for flipped in (f, f[:, ::-1]):
        lines = [np.diagonal(flipped, k) for k in range(-f.shape[0] + 1, f.shape[1])]
        total += sum(np.abs(np.diff(line)).sum() for line in lines) * np.pi / 8 / np.sqrt(2)
    return total


def kappa(p: np.ndarray) -> float:
    """Of the level sets {p > t}, t from a Beta(4, 4) distribution: mean area over squared mean perimeter."""
    f = special.betainc(4, 4, p)
    return min(1.0, 4 * np.pi * f.sum() / max(1.0, perimeter(f) ** 2))


def mean_differences(y: np.ndarray, p: np.ndarray, difference) -> float:
    both = [np.abs(difference(y, *step) - difference(p, *step)).ravel() for step in ((1, 0), (0, 1))]
    counted = np.concatenate(both)
    counted = counted[~np.isnan(counted)]
    return float(counted.mean()) if counted.size else 0.0


def first(delta: int):
    return lambda f, r, c: shifted(f, delta * r, delta * c) - f


def second(f: np.ndarray, r: int, c: int) -> np.ndarray:
    return shifted(f, r, c) - 2 * f + shifted(f, -r, -c)


def five_terms(log_p: np.ndarray, log_not_p: np.ndarray, y: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """The five terms of one sample and class; `y` and `valid` are bool, the logarithms those of p and 1 − p."""
    p, n = np.exp(log_p), valid.sum()
    both, p_sum, y_sum = (p * y)[valid].sum(), p[valid].sum(), y[valid].sum()
    dice = 1 - (2 * both + 1e-3) / (p_sum + y_sum + 1e-3)
    iou = 1 - (both + 1e-3) / (p_sum + y_sum - both + 1e-3)
    dilated = ndimage.maximum_filter(np.where(valid, y, 0).astype(int), 5, mode="constant", cval=0)
    eroded = ndimage.minimum_filter(np.where(valid, y, 1).astype(int), 5, mode="constant", cval=1)
    log_true = np.where(y, log_p, log_not_p)
    cross_entropy = (-(1 + 5 * (dilated - eroded)) * log_true)[valid].sum() / n

    s = y_sum / n
    gamma = 3.0 if s < 0.05 else 2.0 if s < 0.20 else 1.5
    focal = (-((1 - np.exp(log_true)) ** gamma) * log_true)[valid].sum() / n

    y_nan, p_nan = np.where(valid, y, np.nan), np.where(valid, p, np.nan)
    scales = ((1, 0.5), (2, 0.3), (4, 0.2))
    return {
        "core": 0.4 * dice + 0.3 * iou + 0.3 * cross_entropy,
        "bnd": sum(weight * mean_differences(y_nan, p_nan, first(delta)) for delta, weight in scales),
        "str": abs(kappa(np.where(valid, y, 0.0)) - kappa(np.where(valid, p, 0.0))) if y_sum else 0.0,
        "sca": focal,
        "tex": mean_differences(y_nan, p_nan, second),
    }


def shape(y: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """The four descriptors by scikit-image and SciPy (`y` is bool, False where ignored)."""
    area = y.sum()
    if not area:
        return dict.fromkeys(("tubularity", "compactness", "irregularity", "size"), 0.0)
    compactness = 4 * np.pi * area / perimeter_crofton(np.pad(y, 1), directions=4) ** 2
    return {
        "tubularity": skeletonize(y).sum() / area,
        "compactness": min(1.0, compactness),
        "irregularity": irregularity(y),
        "size": area / valid.sum(),
    }


def irregularity(y: np.ndarray) -> float:
    """ι of a mask that is not empty, from its definition: x = area/π · mean κ² of the level sets along the outline."""
    f = y[ndimage.find_objects(y.astype(int))[0]].astype(float)
    ratio = f.sum() / perimeter(f) / 4
    if ratio > 1:
        f = area_averages(area_averages(f, ratio).T, ratio).T
    sigma = max(0.7, 1.5 * min(ratio, 1.0))
    u = ndimage.gaussian_filter(np.pad(f, 20), sigma, radius=int(np.ceil(3 * sigma)))
    (u_y, u_x), (u_yy, u_xx) = np.gradient(u), (ndimage.correlate1d(u, [1, -2, 1], axis) for axis in (0, 1))
    u_xy = np.gradient(u_x, axis=0)
    slope = np.hypot(u_x, u_y)
    outline = slope > 0.2 * slope.max()
    turn = (u_xx * u_y**2 - 2 * u_xy * u_x * u_y + u_yy * u_x**2)[outline] / slope[outline] ** 3
    x = f.sum() / np.pi * np.average(turn**2, weights=slope[outline])
    return x / (x + 9)


def area_averages(f: np.ndarray, width: float) -> np.ndarray:
    """Means over consecutive strips of `width` rows, 0 beyond the last row: differences of the running integral."""
    integral = np.pad(f.cumsum(0), ((1, 0), (0, 0)))
    cuts = np.arange(np.ceil(len(f) / width) + 1) * width
    at_cuts = [np.interp(cuts, np.arange(len(integral)), column) for column in integral.T]
    return np.diff(at_cuts, axis=1).T / width


def alphas(tau: float, c: float, iota: float) -> dict[str, float]:
    return {"core": 1 + 0.5 * c, "bnd": 1 + 1.5 * tau + c, "str": 1 + tau, "sca": 1 + 1.5 * iota, "tex": 1 + iota}


def log_probabilities(logits: np.ndarray, multilabel: bool) -> tuple[np.ndarray, np.ndarray]:
    """log p and log(1 − p) of each foreground class for the logits (C, H, W) of one sample."""
    if multilabel or len(logits) == 1:
        return special.log_expit(logits), special.log_expit(-logits)
    log_p = special.log_softmax(logits, axis=0)
    return log_p[1:], np.log1p(-np.exp(log_p[1:]))
