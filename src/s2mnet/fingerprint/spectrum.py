"""The share of an image's energy within its central K×K frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

KS = (16, 24, 32, 48)
SIDE = 256


def energy_within(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Energy ratio Σ|central K×K|² / Σ|all|² of the 2-D FFT, mean over channels (SPEC 3.3), in float64.

    "Within K" is the band of the spectral branch (SPEC 1.1): frequencies −(K//2) … K−1−K//2 cycles per image, K
    clamped to the sides of the image. Sides above 256 px are first reduced to 256 by area averaging; smaller ones
    stay unchanged.

    Args:
        image: (H, W) or (H, W, 3) uint8.

    Returns:
        (4, 2): K = 16, 24, 32, 48; with the DC term and without it. NaN without DC if every channel is constant,
        and with it if the image is black. The mean skips channels without energy.

    Example:
        >>> wave = 128 + 100 * np.cos(2 * np.pi * 10 * np.arange(100) / 100)
        >>> energy_within(np.tile(wave.round().astype(np.uint8), (100, 1)))[:2, 1].round(2).tolist()
        [0.0, 1.0]
    """
    planes = [image] if image.ndim == 2 else [image[..., channel] for channel in range(image.shape[2])]
    return np.array(list(energy_shares(np.stack([_reduced(plane) for plane in planes]), KS).values()))


def energy_shares(image: NDArray[Any], ks: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Σ|central K×K|² / Σ|all|² of the 2-D FFT, mean over channels (SPEC 3.3), in float64, at the image's own size.

    The band is that of the spectral branch (SPEC 1.1): frequencies −(K//2) … (K−1)//2 cycles per image, K clamped to
    min(H, W).

    Args:
        image: (C, H, W) or (H, W), real.
        ks: each at least 1.

    Returns:
        K → (with the DC term, without it), each in 0..1. A channel without energy is left out of the mean, as a
        constant one is of the second; NaN if none is left.

    Example:
        >>> wave = 1 + np.cos(2 * np.pi * 10 * np.arange(64) / 64)
        >>> {k: np.round(pair, 3).tolist() for k, pair in energy_shares(np.tile(wave, (64, 1)), (16, 24)).items()}
        {16: [0.667, 0.0], 24: [1.0, 1.0]}
    """
    planes = np.asarray(image, np.float64).reshape(-1, *image.shape[-2:])
    height, width = planes.shape[1:]
    power = np.abs(np.fft.fft2(planes)) ** 2
    constant = power[:, 0, 0].copy()
    power[:, 0, 0] = 0
    power[np.ptp(planes, axis=(1, 2)) == 0] = 0  # rounding errors
    total = power.sum(axis=(1, 2))
    ratios = {}
    for k in ks:
        size = min(k, height, width)
        inside = power[:, central(height, size)][:, :, central(width, size)].sum(axis=(1, 2))
        ratios[k] = _mean_ratio(inside + constant, total + constant), _mean_ratio(inside, total)
    return ratios


def central(size: int, k: int) -> NDArray[np.bool_]:
    """Whether each of ``size`` frequencies, in FFT order, is within −(k//2) … (k−1)//2."""
    frequency = (np.arange(size) + size // 2) % size - size // 2
    return (frequency >= -(k // 2)) & (frequency <= (k - 1) // 2)


def _mean_ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    known = whole > 0
    return float((part[known] / whole[known]).mean()) if known.any() else float("nan")


def _reduced(plane: NDArray[np.uint8]) -> NDArray[np.float64]:
    height, width = (min(side, SIDE) for side in plane.shape)
    values = plane.astype(np.float32)
    if (height, width) != plane.shape:
        values = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))
    return values.astype(np.float64)
