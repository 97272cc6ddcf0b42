"""Lanczos against Pillow's, and what must hold of any resizing."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from s2mnet.data import resize
from s2mnet.data.resize import resized

SIDES, SIZES = st.integers(1, 300), st.tuples(st.integers(1, 70), st.integers(1, 70))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def by_pillow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def weights(long: int, short: int) -> np.ndarray:
    """What each of ``long`` pixels adds to each of ``short``: sinc(x) sinc(x/3), as wide as a new pixel if that is
    the wider one, float64 (short, long)."""
    scale = long / short
    x = ((np.arange(long) + 0.5) - scale * (np.arange(short)[:, None] + 0.5)) / max(1, scale)
    lobes = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return lobes / lobes.sum(1, keepdims=True)


@given(SIDES, SIDES, SIZES, st.sampled_from([(), (3,)]))
def test_it_is_lanczos(height: int, width: int, size: tuple[int, int], colours: tuple[int, ...]) -> None:
    # Middle grey, so that nothing is clipped in between.
    image = (108 + noise(height, width, *colours) % 40).astype(np.uint8)
    across = np.einsum("yh,xw,hw...->yx...", weights(height, size[0]), weights(width, size[1]), image, optimize=True)
    found = resized(image, size)
    assert found.dtype == np.uint8 and found.shape == (*size, *colours)
    difference = np.abs(found - across)
    assert difference.max() < 2 and difference.mean() < 0.6


def test_colours_of_a_photograph_are_pillows() -> None:
    photograph = Image.fromarray(noise(36, 50, 3)).resize((640, 480), Image.Resampling.BICUBIC)
    image = np.asarray(photograph)
    difference = np.abs(resized(image, (352, 352)).astype(int) - by_pillow(image, (352, 352)))
    assert difference.max() <= 2 and difference.mean() < 0.02


@given(SIDES, SIDES, SIZES)
def test_grey_is_pillows(height: int, width: int, size: tuple[int, int]) -> None:
    image = noise(height, width)
    assert np.array_equal(resized(image, size), by_pillow(image, size))


@given(SIDES, SIDES, SIZES, st.integers(0, 255))
def test_a_flat_image_stays_as_it_is(height: int, width: int, size: tuple[int, int], level: int) -> None:
    assert (resized(np.full((height, width, 3), level, np.uint8), size) == level).all()


@given(SIDES, SIDES)
def test_an_image_of_that_size_stays_as_it_is(height: int, width: int) -> None:
    image = noise(height, width, 3)
    assert np.array_equal(resized(image, (height, width)), image)


def test_views_are_images_too() -> None:
    image = noise(90, 70, 3)
    locked = image.copy()
    locked.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = resized(locked, (40, 50))
    assert np.array_equal(found, resized(image, (40, 50)))
    for view in (image[::-1], image[:, ::2], image[..., ::-1], image.transpose(1, 0, 2)):
        assert np.array_equal(resized(view, (40, 50)), resized(view.copy(), (40, 50)))


def test_a_pytorch_without_lanczos_leaves_it_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **options: object) -> torch.Tensor:
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor")

    image = noise(90, 70, 3)
    monkeypatch.setattr(resize.F, "interpolate", unknown)
    resize.resizes_in_torch.cache_clear()
    found = resized(image, (40, 50))
    resize.resizes_in_torch.cache_clear()
    assert np.array_equal(found, by_pillow(image, (40, 50)))
