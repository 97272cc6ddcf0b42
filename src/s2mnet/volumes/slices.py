"""The slices of a volume as images for a network: in 8 bits, and with their neighbours as channels (2.5-D)."""

from __future__ import annotations

import math

import numpy as np

from s2mnet.data.images import window_limits
from s2mnet.errors import S2MNetError
from s2mnet.volumes.volume import Volume


def to_uint8(volume: Volume, window: tuple[float, float] | None = None) -> np.ndarray:
    """Convert the slices to 8 bits, with one window for the whole volume.

    The window is the one given, else the one in the DICOM file, else the 0.5 and 99.5 percentiles of the volume. RGB
    stays as it is, and so does uint8 grey without a window, as in :func:`s2mnet.data.read_image`.

    Args:
        volume: from :func:`s2mnet.volumes.read_volume`.
        window: (centre, width) in the intensities of the volume: centre − width/2 becomes 0, centre + width/2 becomes
            255, values outside are clipped. For CT, (50, 400) shows soft tissue in Hounsfield units.

    Returns:
        uint8 (n, H, W) or (n, H, W, 3). A constant volume gives zeros.

    Raises:
        S2MNetError: the width is not above 0, or a number is not finite.

    Example:
        >>> from pathlib import Path
        >>> hounsfield = np.array([-1000, -150, 50, 250, 3000], np.int16).reshape(1, 1, 5)
        >>> volume = Volume(Path("ct.nii"), hounsfield, (5.0, 1.0, 1.0), (2, 1, 0), (5, 1, 1), np.eye(4))
        >>> to_uint8(volume, (50, 400)).tolist()
        [[[0, 0, 128, 255, 255]]]
    """
    if volume.is_rgb:
        return volume.array
    if window is not None and not (all(map(math.isfinite, window)) and window[1] > 0):
        raise S2MNetError("The window", f"is {tuple(window)}", "Give a centre, and a width above 0.")
    window = window or volume.window
    if window is None and volume.array.dtype == np.uint8:
        return volume.array
    low, high = (
        window_limits(volume.array) if window is None else (window[0] - window[1] / 2, window[0] + window[1] / 2)
    )
    result = np.zeros(volume.array.shape, np.uint8)
    if high > low:
        for values, out in zip(volume.array, result, strict=True):  # by slices: float64 of a whole volume is large
            out[:] = np.rint(255 * np.clip((values.astype(np.float64) - low) / (high - low), 0, 1))
    return result


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
