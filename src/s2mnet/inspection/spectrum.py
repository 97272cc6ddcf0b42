"""How much of an image's energy lies within its central K×K frequencies."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

KS = (16, 24, 32, 48)
SIDE = 256


def energy_within(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Energy ratio Σ|central K×K|² / Σ|all|² of the 2-D FFT, mean over channels (SPEC 3.3), in float64.

    "Within K" is the band of the spectral branch (SPEC 1.1): frequencies −(K//2) … K−1−K//2 cycles per image, K
    clamped to the sides of the image. Sides above 256 px are first reduced to 256 by area averaging, smaller ones
    left as they are.

    Args:
        image: (H, W) or (H, W, 3) uint8.

    Returns:
        (4, 2): K = 16, 24, 32, 48; with the DC term and without it. NaN without DC if every channel is constant,
        and with it if the image is black. Channels without any energy are left out of the mean.

    Example:
        >>> wave = 128 + 100 * np.cos(2 * np.pi * 10 * np.arange(100) / 100)
        >>> energy_within(np.tile(wave.round().astype(np.uint8), (100, 1)))[:2, 1].round(2).tolist()
        [0.0, 1.0]
    """
    planes = [image] if image.ndim == 2 else [image[..., channel] for channel in range(image.shape[2])]
    ratios = np.stack([_of_plane(plane) for plane in planes])
    known = ~np.isnan(ratios)
    return np.where(
        known.any(axis=0), np.where(known, ratios, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.nan
    )


def _of_plane(plane: NDArray[np.uint8]) -> NDArray[np.float64]:
    from scipy.fft import fft2, fftshift

    if plane.min() == plane.max():
        return np.array([[1.0 if plane.max() else math.nan, math.nan]] * len(KS))
    power = np.abs(fftshift(fft2(_reduced(plane)))) ** 2
    rows, columns = power.shape[0] // 2, power.shape[1] // 2
    constant = power[rows, columns]
    power[rows, columns] = 0
    total = power.sum()
    found = []
    for k in KS:
        k = min(k, *power.shape)
        inside = power[rows - k // 2 :, columns - k // 2 :][:k, :k].sum()
        # Area averaging can leave a pattern of single pixels without any variation.
        found.append([(inside + constant) / (total + constant), inside / total if total > 0 else math.nan])
    return np.array(found)


def _reduced(plane: NDArray[np.uint8]) -> NDArray[np.float64]:
    height, width = (min(side, SIDE) for side in plane.shape)
    values = plane.astype(np.float32)
    if (height, width) != plane.shape:
        values = np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BOX))
    return values.astype(np.float64)
