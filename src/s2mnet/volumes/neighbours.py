"""Slices with their neighbours as channels (2.5-D)."""

from __future__ import annotations

import numpy as np


def with_neighbours(pixels: np.ndarray, count: int) -> np.ndarray:
    """Add the neighbours of each slice as channels. The first and the last slice are repeated beyond the ends.

    Args:
        pixels: (slices, H, W) or (slices, H, W, C).
        count: neighbours on either side.

    Returns:
        (slices, H, W, C · (2 · count + 1)): for each channel the slices from ``count`` below to ``count`` above. With
        a count of 0, the pixels unchanged.

    Example:
        >>> with_neighbours(np.array([1, 2, 3]).reshape(3, 1, 1), 1).reshape(3, 3).tolist()
        [[1, 1, 2], [1, 2, 3], [2, 3, 3]]
    """
    if count == 0:
        return pixels
    volume = pixels[..., None] if pixels.ndim == 3 else pixels
    numbers = np.arange(len(volume))
    shifted = [volume[np.clip(numbers + offset, 0, len(volume) - 1)] for offset in range(-count, count + 1)]
    return np.stack(shifted, axis=-1).reshape(*volume.shape[:3], -1)
