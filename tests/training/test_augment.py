"""Augmentation: image and mask move together, by as much as is stated, and nothing else happens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from s2mnet.plan import PAPER_AUGMENTATION, Augmentation
from s2mnet.training.augment import random_light, random_view, smooth_noise

NOTHING = Augmentation(rotate_p=0, flip_p=0, scale_shift_p=0, elastic_p=0, light_p=0, noise_p=0, dropout_p=0)
GEOMETRY = {
    "rotation": {"rotate_p": 1.0},
    "flips": {"flip_p": 0.5},
    "zoom and shift": {"scale_shift_p": 1.0},
    "elastic": {"elastic_p": 1.0},
    "all": {"rotate_p": 1.0, "flip_p": 0.5, "scale_shift_p": 1.0, "elastic_p": 1.0},
}


class HighestDraw:
    """A generator whose every range gives its upper end and whose every chance above 0 comes true."""

    def random(self) -> float:
        return 0.0

    def uniform(self, low: float, high: float) -> float:
        return high


def centre_of(array: torch.Tensor) -> tuple[float, float]:
    return (array.shape[-2] - 1) / 2, (array.shape[-1] - 1) / 2


def smooth_image(height: int, width: int, seed: int) -> torch.Tensor:
    """(1, H, W) in 0..1 with slow blobs, as many pixels above 0.5 as below."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), 10)
    ranks = field.ravel().argsort().argsort().reshape(field.shape) / (field.size - 1)
    return torch.from_numpy(gaussian_filter(ranks, 2).astype(np.float32))[None]


@pytest.mark.parametrize("changes", GEOMETRY.values(), ids=GEOMETRY.keys())
@pytest.mark.parametrize("size", [(96, 96), (64, 128)], ids=str)
def test_mask_moves_with_the_image(changes: dict[str, float], size: tuple[int, int]) -> None:
    # The mask says where the image is above 0.5, before and so after. Nearest and bilinear look at most half
    # a pixel apart in each direction, so whatever is further from 0.5 than the image changes there must agree.
    image = smooth_image(120, 150, seed=1)
    mask = (image[0] > 0.5).to(torch.uint8)
    reach = float(image.diff(dim=1).abs().max() + image.diff(dim=2).abs().max()) / 2
    moved = 0
    for seed in range(12):
        view, labels = random_view(
            image, mask, (60, 70), size, NOTHING.model_copy(update=changes), np.random.default_rng(seed)
        )
        assert view.shape == (1, *size) and labels.shape == size and labels.dtype == torch.uint8
        clear = (view[0] - 0.5).abs() > reach
        assert clear.float().mean() > 0.6
        assert 0.1 < labels.float().mean() < 0.9
        assert torch.equal(labels[clear], (view[0] > 0.5).to(torch.uint8)[clear])
        still, _ = random_view(image, mask, (60, 70), size, NOTHING, np.random.default_rng(seed))
        moved += bool((view - still).abs().max() > 0.05)
    assert moved >= 8


@given(st.integers(32, 80), st.integers(32, 80), st.sampled_from([1, 3]), st.integers(0, 2**16))
def test_no_change_is_the_identity(height: int, width: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random((channels, height, width), np.float32))
    mask = torch.from_numpy(rng.choice(np.array([0, 1, 2, 255], np.uint8), (height, width)))
    view, labels = random_view(image, mask, centre_of(mask), (height, width), NOTHING, rng)
    assert torch.equal(labels, mask)
    torch.testing.assert_close(view, image, atol=2e-5, rtol=0)  # the grid's coordinates are float32
    assert torch.equal(random_light(image, NOTHING, rng), image)


def test_window_lies_where_it_is_asked_for() -> None:
    image = torch.rand(2, 60, 70)
    mask = torch.randint(0, 4, (60, 70)).to(torch.uint8)
    top, left = 11, 23
    view, labels = random_view(image, mask, (top + 15.5, left + 19.5), (32, 40), NOTHING, np.random.default_rng(0))
    assert torch.equal(labels, mask[top : top + 32, left : left + 40])
    torch.testing.assert_close(view, image[:, top : top + 32, left : left + 40], atol=2e-5, rtol=0)


def test_outside_of_the_image_is_mirrored() -> None:
    image, mask = torch.rand(1, 20, 24), torch.randint(0, 3, (20, 24)).to(torch.uint8)
    view, labels = random_view(image, mask, (15.5, 15.5), (32, 32), NOTHING, np.random.default_rng(0))
    expected = np.pad(mask.numpy(), ((0, 12), (0, 8)), mode="symmetric")
    assert np.array_equal(labels.numpy(), expected)
    np.testing.assert_allclose(view[0], np.pad(image[0].numpy(), ((0, 12), (0, 8)), mode="symmetric"), atol=2e-5)


@pytest.mark.parametrize(("degrees", "turns"), [(90, -1), (180, 2), (-90, 1)])
def test_known_rotation(degrees: float, turns: int) -> None:
    image, mask = torch.rand(3, 48, 48), torch.randint(0, 3, (48, 48)).to(torch.uint8)
    aug = NOTHING.model_copy(update={"rotate_p": 1.0, "rotate_degrees": degrees})
    view, labels = random_view(image, mask, centre_of(mask), (48, 48), aug, HighestDraw())  # type: ignore[arg-type]
    assert np.array_equal(labels.numpy(), np.rot90(mask.numpy(), turns))
    np.testing.assert_allclose(view, np.rot90(image.numpy(), turns, (1, 2)), atol=1e-4)


def test_rotation_angles_are_uniform() -> None:
    # The centroid of a spot right of the centre tells the angle.
    y, x = np.mgrid[:128, :128] - 63.5
    spot = torch.from_numpy(np.exp(-(y**2 + (x - 20) ** 2) / 8).astype(np.float32))[None]
    mask = torch.zeros(128, 128, dtype=torch.uint8)
    y, x = np.mgrid[:64, :64] - 31.5
    rng, angles = np.random.default_rng(0), []
    aug = NOTHING.model_copy(update={"rotate_p": 1.0, "rotate_degrees": 180})
    for _ in range(300):
        view = random_view(spot, mask, (63.5, 63.5), (64, 64), aug, rng)[0][0].numpy()
        row, column = (view * y).sum() / view.sum(), (view * x).sum() / view.sum()
        assert np.hypot(row, column) == pytest.approx(20, abs=0.5)
        angles.append(np.degrees(np.arctan2(row, column)))
    shares = np.histogram(angles, 6, (-180, 180))[0] / len(angles)
    assert shares.min() > 1 / 6 - 0.08 and shares.max() < 1 / 6 + 0.08


def test_flips_are_the_four_mirrorings_equally_often() -> None:
    image, mask = torch.rand(1, 40, 52), torch.randint(0, 3, (40, 52)).to(torch.uint8)
    aug, rng = NOTHING.model_copy(update={"flip_p": 0.5}), np.random.default_rng(0)
    dims = [(), (0,), (1,), (0, 1)]
    counts = [0, 0, 0, 0]
    for _ in range(200):
        view, labels = random_view(image, mask, centre_of(mask), (40, 52), aug, rng)
        matches = [i for i, d in enumerate(dims) if torch.equal(labels, mask.flip(d))]
        assert len(matches) == 1
        counts[matches[0]] += 1
        torch.testing.assert_close(view[0], image[0].flip(dims[matches[0]]), atol=2e-5, rtol=0)
    assert min(counts) > 30


@pytest.mark.parametrize(("axes", "dims"), [(["rows"], (0,)), (["columns"], (1,)), ([], ())])
def test_flips_keep_to_their_axes(axes: list[str], dims: tuple[int, ...]) -> None:
    image, mask = torch.rand(1, 40, 52), torch.randint(0, 3, (40, 52)).to(torch.uint8)
    aug, rng = NOTHING.model_copy(update={"flip_p": 0.5, "flip_axes": axes}), np.random.default_rng(0)
    seen = [random_view(image, mask, centre_of(mask), (40, 52), aug, rng)[1] for _ in range(40)]
    allowed = [mask, mask.flip(dims)]
    assert all(any(torch.equal(view, one) for one in allowed) for view in seen)
    assert all(any(torch.equal(view, one) for view in seen) for one in allowed)


def test_zoom_and_shift_stay_within_their_bounds() -> None:
    y, x = np.mgrid[:96, :96]
    disc = torch.from_numpy((np.hypot(y - 47.5, x - 47.5) < 20).astype(np.uint8))
    aug, rng = NOTHING.model_copy(update={"scale_shift_p": 1.0, "scale": 0.25, "shift": 0.1}), np.random.default_rng(0)
    zooms, shifts = [], []
    for _ in range(200):
        _, labels = random_view(disc[None].float(), disc, (47.5, 47.5), (96, 96), aug, rng)
        rows, columns = np.nonzero(labels.numpy())
        zooms.append(np.sqrt(len(rows) / float(disc.sum())))
        shifts.append((np.array([rows.mean(), columns.mean()]) - 47.5) / 96 / zooms[-1])
    assert 0.74 < min(zooms) < 0.80 and 1.20 < max(zooms) < 1.27
    assert np.mean(zooms) == pytest.approx(1, abs=0.03)
    assert np.abs(shifts).max(0).min() > 0.09 and np.abs(shifts).max() < 0.105


@given(st.integers(0, 2**16))
def test_labels_stay_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    present = rng.choice(np.array([0, 1, 2, 7, 255], np.uint8), 3, replace=False)
    mask = torch.from_numpy(rng.choice(present, (40, 44)))
    aug = Augmentation(rotate_p=1, flip_p=0.5, scale_shift_p=1, elastic_p=1)
    _, labels = random_view(torch.rand(1, 40, 44), mask, (20, 22), (48, 32), aug, rng)
    assert set(labels.unique().tolist()) <= set(mask.unique().tolist())


@pytest.mark.parametrize(("alpha", "sigma"), [(500, 25), (1, 50)])
def test_smooth_noise_is_smoothed_uniform_noise(alpha: float, sigma: float) -> None:
    # The oracle: SciPy's Gaussian over noise in ±alpha, on a torus so large that its own spread averages out.
    rng = np.random.default_rng(0)
    oracle = gaussian_filter(rng.uniform(-alpha, alpha, (40 * sigma, 40 * sigma)), sigma, mode="wrap")
    size = (3 * sigma, 4 * sigma)
    drawn = np.concatenate([smooth_noise(size, alpha, sigma, rng).numpy() for _ in range(300)])
    assert drawn.std() == pytest.approx(oracle.std(), rel=0.08)
    assert abs(drawn.mean()) < 0.2 * oracle.std()
    everywhere = np.sqrt((drawn**2).mean(0))  # no weaker between knots or at the edges
    assert 0.85 * oracle.std() < everywhere.min() and everywhere.max() < 1.15 * oracle.std()
    for lag in (sigma, 2 * sigma):
        expected = (oracle * np.roll(oracle, lag, 1)).mean() / oracle.var()
        found = (drawn[..., lag:] * drawn[..., :-lag]).mean() / (drawn**2).mean()
        assert found == pytest.approx(expected, abs=0.08)


def test_the_two_displacements_are_independent() -> None:
    rng = np.random.default_rng(1)
    drawn = np.stack([smooth_noise((40, 40), 500, 25, rng).numpy()[:, 20, 20] for _ in range(500)])
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.15


@given(st.integers(0, 2**16), st.sampled_from([1, 3]), st.booleans())
def test_light_keeps_the_range_and_the_image_given(seed: int, channels: int, paper: bool) -> None:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random((channels, 33, 40), np.float32))
    before = image.clone()
    every = {"light_p": 1, "noise_p": 1, "dropout_p": 1}
    lit = random_light(image, (PAPER_AUGMENTATION if paper else Augmentation()).model_copy(update=every), rng)
    assert lit.shape == image.shape and lit.dtype == torch.float32
    assert lit.min() >= 0 and lit.max() <= 1
    assert torch.equal(image, before)
    assert not torch.equal(lit, before)


def test_light_is_affine_in_each_channel_and_within_its_strengths() -> None:
    image = torch.linspace(0.4, 0.6, 64).reshape(1, 8, 8)  # far from 0 and 1, so that nothing is cut off
    aug = NOTHING.model_copy(update={"light_p": 1.0, "brightness": 0.2, "contrast": 0.3})
    rng, gains, offsets = np.random.default_rng(0), [], []
    for _ in range(200):
        gain, offset = np.polyfit(image.ravel(), random_light(image, aug, rng).ravel(), 1)
        gains.append(gain)
        offsets.append(gain * 0.5 + offset - 0.5)
    assert 0.7 <= min(gains) < 0.75 and 1.25 < max(gains) <= 1.3001
    assert -0.2001 <= min(offsets) < -0.17 and 0.17 < max(offsets) <= 0.2001


def test_dropout_covers_few_small_rectangles_with_the_mean() -> None:
    image = torch.rand(1, 64, 80)
    aug, rng = NOTHING.model_copy(update={"dropout_p": 1.0}), np.random.default_rng(0)
    for _ in range(50):
        lit = random_light(image, aug, rng)
        changed = lit != image
        assert 0 < changed.sum() <= 8 * 8 * 10
        torch.testing.assert_close(lit[changed], image.mean().expand(int(changed.sum())))
