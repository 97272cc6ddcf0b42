"""How much of an image lies within its central K×K frequencies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from s2mnet.data.channels import COLOURS, GREY
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.records import Summary, summarise_values
from s2mnet.fingerprint.spectrum import central, energy_shares
from s2mnet.inference import prepare_image
from s2mnet.plan import Preprocessing
from s2mnet_lab.study.spectrum.result import KS, Band, ImageSpectrum

SIDE = 352
PEAK = 255


class Reconstruction(NamedTuple):
    """An image made of some of its frequencies.

    Attributes:
        image: float64, of the original's size.
        psnr: in dB with a peak of 255; infinite if it equals the original, near 300 if they differ only by rounding.
        relative_error: rms error over the rms deviation of the original from the mean of each channel; 0 if constant.
    """

    image: NDArray[np.float64]
    psnr: float
    relative_error: float


def reconstruction(image: NDArray[Any], k: int | None) -> Reconstruction:
    """The image from its central K×K frequencies alone: Re(IFFT2D(Pad(Crop_K(FFT2D)))), as in SPEC 1.1 with W = 1.

    For an even K, taking the real part halves the coefficients at −K/2, whose mirror is outside the band.

    Args:
        image: (H, W) or (C, H, W), in 0..255.
        k: at least 1, clamped to min(H, W); None for all frequencies.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 256, (3, 40, 60))
        >>> np.allclose(reconstruction(image, None).image, image)
        True
        >>> reconstruction(np.full((8, 8), 7), 4)[1:]
        (inf, 0.0)
    """
    original = np.asarray(image, np.float64)
    height, width = original.shape[-2:]
    size = None if k is None else min(k, height, width)
    rows, columns = (np.full(n, True) if size is None else central(n, size) for n in (height, width))
    made = np.fft.ifft2(np.fft.fft2(original) * np.outer(rows, columns)).real
    deviation = original - original.mean(axis=(-2, -1), keepdims=True)
    varies = np.ptp(original, axis=(-2, -1), keepdims=True) > 0
    made = np.where(varies, made, original)
    error, spread = (float(np.sqrt(np.mean(values**2))) for values in (made - original, deviation * varies))
    psnr = 20 * float(np.log10(PEAK / error)) if error else float("inf")
    return Reconstruction(made, psnr, error / spread if spread else 0.0)


def image_spectrum(images: Iterable[NDArray[np.uint8]], ks: Sequence[int] = KS, side: int = SIDE) -> ImageSpectrum:
    """:func:`energy_shares` and :func:`reconstruction` over images at side×side pixels, 352 as in SPEC 3.3.

    :func:`s2mnet.inference.prepare_image` resizes the images (Lanczos). The intervals are the 95 % bootstrap intervals
    over images of :func:`s2mnet.evaluation.records.summarise_values`.

    Args:
        images: uint8 (H, W), (H, W, 3) or (H, W, n), as :func:`s2mnet.data.read_image` returns them, read once.
        side: at least 32.

    Raises:
        S2MNetError: there is no image.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
        >>> spectrum = image_spectrum(noise, ks=[16], side=64)
        >>> spectrum.images, round(spectrum.bands[0].without_dc.mean, 2)
        (2, 0.06)
    """
    rows = []
    for image in images:
        planes = _prepared(image, side)
        shares = energy_shares(planes, ks)
        rows.append([(*shares[k], *reconstruction(planes, k)[1:]) for k in ks])
    if not rows:
        raise S2MNetError("the data set", "has no image to take a spectrum of", "Check the folder or the split.")
    values = np.array(rows).transpose(1, 2, 0)  # (K, quantity, image)
    quantities = ("with_dc", "without_dc", "psnr", "relative_error")
    bands = [
        Band(k=k, **{name: _summary(of_images) for name, of_images in zip(quantities, of_k, strict=True)})
        for k, of_k in zip(ks, values, strict=True)
    ]
    return ImageSpectrum(images=len(rows), side=side, bands=bands)


def _summary(values: NDArray[np.float64]) -> Summary | None:
    known = values[np.isfinite(values)]
    return summarise_values(known[None])[0] if known.size else None


def _prepared(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """uint8 (C, side, side)."""
    held = 1 if image.ndim == 2 else image.shape[2]
    stored = [] if held in (1, 3) else [f"channel {number}" for number in range(held)]
    names = stored or ([GREY] if held == 1 else list(COLOURS))
    return prepare_image(
        image,
        Preprocessing(extent="whole", size=(side, side), channels=names, stored=stored, normalisation="image"),
    )
