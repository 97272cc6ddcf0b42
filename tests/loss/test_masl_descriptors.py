"""SPEC 2.1 on shapes with a known answer and on real masks; items 5 to 8 of SPEC 4 as regressions."""

from __future__ import annotations

from pathlib import Path

import masl_oracle as oracle
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import integrate, ndimage, stats
from skimage.draw import polygon2mask
from skimage.measure import perimeter_crofton

from s2mnet.loss import MASL, Descriptors
from s2mnet.loss.geometry import compactness, level_sets, perimeter

ANGLE = 0.3


def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:n, :n] + 0.5 - n / 2
    return x * np.cos(ANGLE) + y * np.sin(ANGLE), y * np.cos(ANGLE) - x * np.sin(ANGLE)


def ellipse(n: int, a: float, b: float) -> np.ndarray:
    x, y = grid(n)
    return (x / a) ** 2 + (y / b) ** 2 <= 1


def disc(n: int, radius: float) -> np.ndarray:
    return ellipse(n, radius, radius)


def star(n: int, outer: float, inner: float, points: int = 5) -> np.ndarray:
    angle = np.arange(2 * points) * np.pi / points + ANGLE
    radius = np.where(np.arange(2 * points) % 2, inner, outer)
    return polygon2mask((n, n), n / 2 - 0.5 + np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1))


def line(n: int, width: int, length: int) -> np.ndarray:
    mask = np.zeros((n, n), bool)
    mask[n // 2 : n // 2 + width, (n - length) // 2 : (n + length) // 2] = True
    return mask


def measure(*masks: np.ndarray) -> Descriptors:
    return MASL().descriptors(torch.from_numpy(np.stack(masks)).long())


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_tubularity_of_a_line_is_one_over_its_width(width: int) -> None:
    for n in (128, 256):
        assert measure(line(n, width, n - 16)).tubularity.item() == pytest.approx(1 / width, rel=0.12)


def test_tubularity_is_small_for_blobs_and_large_for_vessels() -> None:
    """SPEC 4, item 5: the released code gives 0.94 for this disc and 0.33 for this line."""
    tau = measure(disc(256, 40), line(256, 3, 200)).tubularity.flatten()
    assert tau[0] < 0.03 and tau[1] > 0.3


@pytest.mark.parametrize("radius", [10, 15, 25, 40, 60])
def test_a_disc_is_compact_whatever_the_size_of_the_image(radius: int) -> None:
    """SPEC 4, item 6: the released code gives 0.66 in a 128² image and 0.21 in a 512² one."""
    values = [measure(disc(n, radius)).compactness.item() for n in (128, 256, 512)]
    assert values[0] == pytest.approx(1, abs=0.1)
    assert max(values) - min(values) < 1e-6


def test_irregularity_does_not_depend_on_the_size_of_the_image() -> None:
    """SPEC 4, items 6 and 7: the released code averages over all pixels of the image: 0.079 and 0.005."""
    values = [measure(np.pad(star(64, 28, 12), pad)).irregularity.item() for pad in (0, 32, 224)]
    assert values[0] > 0.5
    assert max(values) - min(values) < 1e-5


SHAPES = {
    "disc": lambda n: disc(n, 0.3 * n),
    "small disc": lambda n: disc(n, 0.16 * n),
    "ellipse": lambda n: ellipse(n, 0.4 * n, 0.2 * n),
    "long ellipse": lambda n: ellipse(n, 0.45 * n, 0.15 * n),
    "star": lambda n: star(n, 0.4 * n, 0.17 * n),
    "small star": lambda n: star(n, 0.3 * n, 0.12 * n),
    "blunt star": lambda n: star(n, 0.45 * n, 0.25 * n, 7),
    "many-pointed star": lambda n: star(n, 0.45 * n, 0.3 * n, 12),
}


@pytest.mark.parametrize("name", SHAPES)
def test_irregularity_of_the_same_shape_drawn_larger(name: str) -> None:
    small, medium, large, huge = (measure(SHAPES[name](n)).irregularity.item() for n in (64, 128, 256, 512))
    for other in (medium, large, huge):
        assert abs(other - small) / max(other, small) < 0.15


@pytest.mark.parametrize("n", [64, 128, 256])
def test_irregularity_ranks_star_above_ellipse_above_disc(n: int) -> None:
    of_disc, of_ellipse, of_star = measure(disc(n, 0.3 * n), ellipse(n, 0.4 * n, 0.2 * n), star(n, 0.4 * n, 0.17 * n))[
        2
    ]
    assert of_disc > 0.05
    assert of_ellipse > 1.2 * of_disc
    assert of_star > 2 * of_ellipse


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
def test_irregularity_of_ellipses_is_near_the_closed_form(ratio: float) -> None:
    """ι = x/(x + 9), x = area/π · ∮κ²ds / ∮ds, by numerical integration over the ellipse."""

    def speed(t: float) -> float:
        return np.hypot(ratio * np.sin(t), np.cos(t))

    bending = integrate.quad(lambda t: (ratio / speed(t) ** 3) ** 2 * speed(t), 0, 2 * np.pi)[0]
    x = ratio * bending / integrate.quad(speed, 0, 2 * np.pi)[0]
    for n in (96, 256):
        iota = measure(ellipse(n, 0.4 * n, 0.4 * n / ratio)).irregularity.item()
        assert iota == pytest.approx(x / (x + 9), rel=0.15)


@pytest.mark.parametrize("length", [1, 20, 100])
def test_irregularity_of_a_straight_vessel_one_pixel_wide_is_the_closed_form(length: int) -> None:
    """Smoothed by 0.7 px it is a product: a Gaussian across, its running sums along; so are all its derivatives."""
    across = np.exp(-0.5 * (np.arange(-3, 4) / 0.7) ** 2)
    along = np.convolve(np.ones(length), across / across.sum() ** 2)  # the normalisation of both directions
    (g0, g1, g2), (s0, s1, s2) = (
        (f[1:-1], (f[2:] - f[:-2]) / 2, f[2:] - 2 * f[1:-1] + f[:-2]) for f in (np.pad(across, 2), np.pad(along, 2))
    )
    u_x, u_y, u_xx, u_yy, u_xy = (np.outer(*pair) for pair in ((s1, g0), (s0, g1), (s2, g0), (s0, g2), (s1, g1)))
    slope = np.hypot(u_x, u_y)
    edge = slope > 0.2 * slope.max()
    turn = (u_xx * u_y**2 - 2 * u_xy * u_x * u_y + u_yy * u_x**2)[edge] / slope[edge] ** 3
    x = length / np.pi * (turn**2 * slope[edge]).sum() / slope[edge].sum()
    assert measure(line(128, 1, length)).irregularity.item() == pytest.approx(x / (x + 9), rel=1e-5)


def test_size_counts_the_pixels_that_are_not_ignored() -> None:
    target = torch.zeros(1, 10, 10, dtype=torch.long)
    target[0, :3, :4] = 1
    assert MASL().descriptors(target).size.item() == pytest.approx(0.12)
    target[0, 5:] = 255
    assert MASL().descriptors(target).size.item() == pytest.approx(0.24)


def test_empty_full_and_one_pixel_masks() -> None:
    one = np.zeros((32, 32), bool)
    one[5, 7] = True
    shapes = torch.stack(measure(np.zeros((32, 32), bool), np.ones((32, 32), bool), one))
    assert torch.equal(shapes[:, 0], torch.zeros(4, 1))
    assert bool(((shapes >= 0) & (shapes <= 1)).all())
    assert shapes[3, 1].item() == 1
    assert shapes[0, 2].item() == 1


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**31))
def test_any_mask_against_scikit_image(height: int, width: int, density: float, seed: int) -> None:
    masks = np.random.default_rng(seed).random((3, height, width)) < density
    measured = measure(*masks)
    assert all(bool(((d >= 0) & (d <= 1)).all()) for d in measured)
    for i, mask in enumerate(masks):
        for name, value in oracle.shape(mask, np.ones_like(mask)).items():
            assert getattr(measured, name)[i].item() == pytest.approx(value, abs=1e-5), name


def test_nothing_depends_on_the_rest_of_the_batch() -> None:
    """SPEC 4, item 7."""
    masks = [disc(64, 20), star(64, 25, 10), line(64, 2, 50), np.zeros((64, 64), bool)]
    together = torch.stack(measure(*masks))
    alone = torch.cat([torch.stack(measure(mask)) for mask in masks], 1)
    assert torch.equal(together, alone)


def test_classes_are_measured_one_by_one() -> None:
    """SPEC 4, item 8: exclusive classes from labels, overlapping ones from channels; the background is no class."""
    left, right = disc(128, 20), line(128, 3, 120)
    right &= ~left
    single = torch.stack(measure(left, right)).squeeze(-1)
    labels = torch.from_numpy(left + 2 * right)[None]
    exclusive = MASL(num_classes=4).descriptors(labels)
    assert exclusive.size.shape == (1, 3)
    assert torch.equal(torch.stack(exclusive)[:, 0, :2], single)
    assert torch.equal(torch.stack(exclusive)[:, 0, 2], torch.zeros(4))
    channels = torch.from_numpy(np.stack([left, right]))[None]
    assert torch.equal(torch.stack(MASL(num_classes=2, multilabel=True).descriptors(channels))[:, 0], single)


def test_area_and_perimeter_of_a_soft_map_are_the_means_of_its_level_sets() -> None:
    """Every threshold by scikit-image, weighted by what a Beta(4, 4) distribution has between two values of the map."""
    soft = ndimage.gaussian_filter(np.random.default_rng(0).random((14, 17)), 1.0)
    soft = (soft - soft.min()) / np.ptp(soft)
    values = np.unique(soft)
    weights = np.diff(stats.beta(4, 4).cdf(values))
    sets = [np.pad(soft > t, 1) for t in values[:-1]]
    f = level_sets(torch.from_numpy(soft))
    assert f.sum().item() == pytest.approx(weights @ [s.sum() for s in sets], rel=1e-9)
    outlines = [perimeter_crofton(s, directions=4) for s in sets]
    assert perimeter(f).item() == pytest.approx(weights @ outlines, rel=1e-9)


def test_a_blurred_outline_is_as_round_as_a_sharp_one() -> None:
    rows, columns = np.mgrid[:128, :128]
    sharp = (np.hypot((rows - 64) / 1.6, columns - 64) < 24).astype(float)
    roundness = []
    for blur in (0, 1, 3, 5):
        f = level_sets(torch.from_numpy(ndimage.gaussian_filter(sharp, blur) if blur else sharp))
        roundness.append(compactness(f, perimeter(f)).item())
    assert max(roundness) - min(roundness) < 0.05


def real_mask(path: Path, side: int = 256) -> np.ndarray:
    return np.array(Image.open(path).convert("L").resize((side, side), Image.Resampling.NEAREST)) > 127


def test_real_vessels_are_tubular_and_real_polyps_are_compact(shared_data: Path) -> None:
    vessels = measure(*map(real_mask, sorted(shared_data.glob("DRIVE/*/1st_manual/*.gif"))))
    polyps = measure(*map(real_mask, sorted(shared_data.glob("Kvasir-SEG/masks/*.jpg"))[::25]))
    assert len(vessels.size) == 40 and len(polyps.size) == 40
    more_tubular = (vessels.tubularity > polyps.tubularity.T).float().mean()
    more_compact = (polyps.compactness > vessels.compactness.T).float().mean()
    assert more_tubular >= 0.95 and more_compact >= 0.95
    assert vessels.compactness.max() < 0.1


def test_real_masks_against_scikit_image(shared_data: Path) -> None:
    files = (
        sorted(shared_data.glob("DRIVE/test/1st_manual/*.gif"))[:2]
        + sorted(shared_data.glob("Kvasir-SEG/masks/*.jpg"))[:4]
    )
    masks = [real_mask(file) for file in files]
    measured = measure(*masks)
    for i, mask in enumerate(masks):
        for name, value in oracle.shape(mask, np.ones_like(mask)).items():
            assert getattr(measured, name)[i].item() == pytest.approx(value, abs=1e-5), name
