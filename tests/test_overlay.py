"""Overlays against scikit-image's boundaries, error pictures against counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import colormaps
from skimage.segmentation import find_boundaries

from s2mnet.errors import S2MNetError
from s2mnet.overlay import (
    BOTH,
    ONLY_PREDICTED,
    ONLY_TRUE,
    OTHER_CLASS,
    PALETTE,
    TRUTH,
    errors,
    heat,
    overlay,
)

SHAPES = st.tuples(st.integers(2, 24), st.integers(2, 24))


def masks(values: tuple[int, ...], shape: tuple[int, int]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.uint8, shape, elements=st.sampled_from(values))


def is_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(colour)).all(axis=-1)


@given(SHAPES.flatmap(lambda shape: masks((0, 1, 2), shape)), st.booleans())
def test_contour_lies_exactly_on_the_boundary(mask: np.ndarray, grey: bool) -> None:
    image = np.full(mask.shape if grey else (*mask.shape, 3), 120, np.uint8)
    picture = overlay(image, mask)
    boundary = find_boundaries(mask, mode="inner")
    for index in (1, 2):
        assert np.array_equal(is_colour(picture, PALETTE[index - 1]), boundary & (mask == index))
    assert (picture[mask == 0] == 120).all()
    inside = (mask > 0) & ~boundary
    assert not is_colour(picture, (120, 120, 120))[inside].any()


@given(SHAPES.flatmap(lambda shape: st.tuples(masks((0, 1), shape), masks((0, 1, 255), shape))))
def test_truth_is_a_contour_and_shares_coinciding_pixels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = pair
    picture = overlay(np.zeros(truth.shape, np.uint8), prediction, truth)
    true = find_boundaries(truth == 1, mode="inner")
    predicted = find_boundaries(prediction == 1, mode="inner")
    yellow, blue = is_colour(picture, TRUTH), is_colour(picture, PALETTE[0])
    assert np.array_equal(yellow | blue, true | predicted)
    assert yellow[true & ~predicted].all()
    assert blue[predicted & ~true].all()
    untouched = (prediction == 0) & ~true
    assert (picture[untouched] == 0).all()


def test_both_contours_stay_visible_where_they_coincide() -> None:
    disc = np.hypot(*np.mgrid[-30:31, -30:31]) < 25
    picture = overlay(np.zeros(disc.shape, np.uint8), disc, disc)
    boundary = find_boundaries(disc, mode="inner")
    assert 0.25 < is_colour(picture, TRUTH)[boundary].mean() < 0.75


def test_thickness_grows_inwards() -> None:
    mask = np.zeros((40, 40), int)
    mask[5:35, 8:30] = 1
    expected = np.zeros_like(mask, bool)
    peeled = mask
    for _ in range(3):
        rim = find_boundaries(peeled, mode="inner")
        expected |= rim
        peeled = np.where(rim, 0, peeled)
    assert np.array_equal(is_colour(overlay(np.zeros(mask.shape, np.uint8), mask, thickness=3), PALETTE[0]), expected)


def test_palette_starts_again_after_the_last_colour() -> None:
    mask = np.full((4, 4), 9)
    mask[:, 2:] = 0
    assert is_colour(overlay(np.zeros((4, 4), np.uint8), mask), PALETTE[0]).any()
    assert len(set(PALETTE) | {TRUTH}) == 9


def test_input_is_left_alone() -> None:
    image, mask = np.zeros((6, 6, 3), np.uint8), np.ones((6, 6), np.uint8)
    overlay(image, mask, mask)
    errors(image, mask, mask)
    assert not image.any() and mask.all()


@given(SHAPES.flatmap(lambda shape: st.tuples(masks((0, 1, 2, 255), shape), masks((0, 1, 2, 255), shape))))
def test_error_picture_counts(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = pair
    image = np.full((*truth.shape, 3), (255, 255, 255), np.uint8)  # the brightest ground must not pass for a mark
    picture = errors(image, prediction, truth)
    known = truth != 255
    p, t = (prediction > 0) & (prediction != 255) & known, (truth > 0) & known
    assert is_colour(picture, BOTH).sum() == np.sum(p & t & (prediction == truth))
    assert is_colour(picture, OTHER_CLASS).sum() == np.sum(p & t & (prediction != truth))
    assert is_colour(picture, ONLY_PREDICTED).sum() == np.sum(p & ~t)
    assert is_colour(picture, ONLY_TRUE).sum() == np.sum(t & ~p)


def test_heat_is_magma() -> None:
    values = np.linspace(0, 1, 12).reshape(3, 4)
    expected = [[[round(255 * c) for c in colormaps["magma"](v)[:3]] for v in row] for row in values]
    assert np.abs(heat(values).astype(int) - np.array(expected)).max() <= 1
    assert heat(values.astype(np.float32)).dtype == np.uint8


@pytest.mark.parametrize(
    "call",
    [
        lambda: overlay(np.zeros((4, 4)), np.zeros((4, 4), int)),
        lambda: overlay(np.zeros((1, 4, 4, 3), np.uint8), np.zeros((4, 4), int)),
        lambda: overlay(np.zeros((4, 4), np.uint8), np.zeros((4, 5), int)),
        lambda: overlay(np.zeros((4, 4), np.uint8), np.full((4, 4), 0.5)),
        lambda: errors(np.zeros((4, 4), np.uint8), np.zeros((4, 4), int), np.zeros((5, 4), int)),
        lambda: heat([[0.0, 1.5]]),
        lambda: heat([[0.0, float("nan")]]),
        lambda: heat([0.5]),
    ],
)
def test_bad_arrays_are_named(call) -> None:
    with pytest.raises(S2MNetError):
        call()
