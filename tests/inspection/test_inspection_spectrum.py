"""Energy within K against a direct sum over NumPy's FFT in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2mnet.fingerprint.spectrum import KS, energy_within


def oracle(image: np.ndarray, k: int, with_dc: bool) -> float:
    """SPEC 3.3, frequency by frequency: the band is −(K//2) … K−1−K//2 cycles per image in both directions."""
    image = image.astype(np.float64)
    planes = [image] if image.ndim == 2 else list(image.transpose(2, 0, 1))
    height, width = planes[0].shape
    k = min(k, height, width)
    down, across = np.rint(np.fft.fftfreq(height) * height), np.rint(np.fft.fftfreq(width) * width)
    # For an even size NumPy calls the highest frequency negative, as fftshift places it.
    inside = [(f >= -(k // 2)) & (f <= k - 1 - k // 2) for f in (down, across)]
    ratios = []
    for plane in planes:
        power = np.abs(np.fft.fft2(plane)) ** 2
        if not with_dc:
            power[0, 0] = 0
        ratios.append(power[np.ix_(*inside)].sum() / power.sum())
    return float(np.mean(ratios))


@given(st.integers(2, 90), st.integers(2, 90), st.booleans(), st.integers(0, 2**32 - 1))
def test_it_is_the_sum_over_the_central_frequencies(height: int, width: int, colour: bool, seed: int) -> None:
    shape = (height, width, 3) if colour else (height, width)
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    image.reshape(-1, 3 if colour else 1)[:2] = [[0], [255]]  # never constant
    expected = [[oracle(image, k, with_dc) for with_dc in (True, False)] for k in KS]
    np.testing.assert_allclose(energy_within(image), expected, rtol=1e-6)


def test_a_large_image_is_averaged_over_areas_first() -> None:
    large = np.random.default_rng(1).integers(0, 256, (768, 512)).astype(np.uint8)
    averaged = large.astype(np.float64).reshape(256, 3, 256, 2).mean(axis=(1, 3))
    expected = [[oracle(averaged, k, with_dc) for with_dc in (True, False)] for k in KS]
    np.testing.assert_allclose(energy_within(large), expected, rtol=1e-4)


def test_white_noise_has_the_share_of_its_frequencies() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (256, 256)).astype(np.uint8)
    np.testing.assert_allclose(energy_within(noise)[:, 1], [(k / 256) ** 2 for k in KS], rtol=0.1)


@pytest.mark.parametrize("frequency", [7, 8, 11, 12, 13, 23, 24, 25])
def test_a_wave_is_inside_the_band_up_to_half_of_k(frequency: int) -> None:
    wave = 100 * np.cos(2 * np.pi * frequency * np.arange(256) / 256)
    found = energy_within(np.tile((128 + wave).round().astype(np.uint8), (256, 1)))[:, 1]
    # At K/2 itself an even band holds one of the two conjugate frequencies, as SPEC 1.1 says.
    expected = [1.0 if frequency < k // 2 else 0.5 if frequency == k // 2 else 0.0 for k in KS]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_constant_channels_have_no_energy_without_dc() -> None:
    assert np.isnan(energy_within(np.full((40, 40), 9, np.uint8))[:, 1]).all()
    assert (energy_within(np.full((40, 40), 9, np.uint8))[:, 0] == 1).all()
    assert np.isnan(energy_within(np.zeros((40, 40), np.uint8))).all()
    noise = np.random.default_rng(3).integers(0, 256, (40, 40)).astype(np.uint8)
    red = np.stack([noise, np.zeros_like(noise), np.zeros_like(noise)], axis=2)
    np.testing.assert_allclose(energy_within(red), energy_within(noise))
