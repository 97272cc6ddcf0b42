"""Metrics against closed forms, brute force over all pixel pairs, MONAI, and DRIVE's two observers."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from direct import image_metrics
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label
from scipy.spatial.distance import cdist
from skimage.draw import disk
from skimage.segmentation import find_boundaries

from s2mnet.evaluation.metrics import METRIC_NAMES, metrics_in, surface_dice_nikolov

RATIOS = [metric.name for metric in metrics_in("px") if not metric.unit]


def binary(prediction: np.ndarray, truth: np.ndarray, **options) -> dict[str, float]:
    return image_metrics(prediction.astype(np.uint8), truth.astype(np.uint8), {"x": [1]}, **options)["x"]


def by_class(prediction: np.ndarray, truth: np.ndarray, num_classes: int, **options) -> dict[int, dict[str, float]]:
    """Metrics by class index."""
    structures = {str(index): [index] for index in range(1, num_classes)}
    return {int(name): held for name, held in image_metrics(prediction, truth, structures, **options).items()}


SPACINGS = st.sampled_from([None, (0.7, 2.5, 1.1)])


@st.composite
def label_pairs(draw: st.DrawFn, ignore: bool = True) -> tuple[np.ndarray, np.ndarray, int]:
    """(prediction, truth, number of classes): often with a class that one or both masks lack."""
    shape = draw(st.tuples(*[st.integers(1, 24)] * 2) | st.tuples(*[st.integers(1, 9)] * 3))
    num_classes = draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def labels() -> np.ndarray:
        density = draw(st.sampled_from([0.0, 0.03, 0.5, 1.0]))
        return np.where(rng.random(shape) < density, rng.integers(1, num_classes, shape), 0)

    dtype = draw(st.sampled_from([np.uint8, np.int16, np.int64]))
    prediction, truth = labels().astype(dtype), labels().astype(dtype)
    if ignore:
        truth[rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = 255
    return prediction, truth, num_classes


def surface(mask: np.ndarray) -> np.ndarray:
    """Coordinates of the surface pixels, by scikit-image; padded so that the image border counts as outside."""
    return np.argwhere(find_boundaries(np.pad(mask, 1), connectivity=1, mode="inner")).astype(float)


def element_size(window: np.ndarray, spacing: np.ndarray) -> float:
    """Length or area of the surface in a window of two pixels a side, in closed form from its parts.

    The smaller set of pixels, in parts that share faces, is cut off half-way to the other pixels.
    """
    few = window if window.sum() <= window.size / 2 else ~window
    if window.ndim == 2:
        whole = {1: np.linalg.norm(spacing) / 2, 2: float(spacing[int(few[0].all() or few[1].all())])}
        parts, count = label(few)
        return float(sum(whole[int((parts == part).sum())] for part in range(1, count + 1)))
    faces = np.prod(spacing) / spacing  # area of a voxel's face across each axis
    parts, count = label(few)
    total = 0.0
    for part in range(1, count + 1):
        places = np.argwhere(parts == part)
        spans = np.ptp(places, axis=0) > 0
        if len(places) == 1:
            total += np.linalg.norm(faces) / 8
        elif len(places) == 2:
            total += np.linalg.norm(faces[~spans]) / 2
        elif len(places) == 3:
            total += faces[~spans][0] / 2 + 3 / 8 * np.linalg.norm(faces)
        elif not spans.all():
            total += faces[~spans][0]
        elif max(sum((a != b).sum() == 1 for b in places) for a in places) == 3:  # a corner and its three neighbours
            total += 6 / 8 * np.linalg.norm(faces)
        else:  # a path along all three axes
            ends = [a for a in places if sum((a != b).sum() == 1 for b in places) == 1]
            along = [int(np.argmax(a != b)) for a in ends for b in places if (a != b).sum() == 1]
            total += np.linalg.norm(faces) / 2 + sum(np.linalg.norm(np.delete(faces, axis)) for axis in along) / 4
    return float(total)


def nikolov(p: np.ndarray, t: np.ndarray, spacing: np.ndarray, tolerance: float = 2) -> float:
    """Surface Dice by length or area, window by window, distances from all pairs."""
    held = []
    for mask in (np.pad(p, 1), np.pad(t, 1)):
        windows = np.lib.stride_tricks.sliding_window_view(mask, (2,) * mask.ndim)
        places = [place for place in np.ndindex(windows.shape[: mask.ndim]) if 0 < windows[place].mean() < 1]
        sizes = [element_size(windows[place], spacing) for place in places]
        held.append((np.array(places) * spacing, np.array(sizes)))
    (first, sizes), (second, other) = held
    apart = cdist(first, second)
    limit = tolerance * (1 + 1e-6)
    near = sizes[apart.min(1) <= limit].sum() + other[apart.min(0) <= limit].sum()
    return float(near / (sizes.sum() + other.sum()))


def brute_force(p: np.ndarray, t: np.ndarray, spacing=None) -> dict[str, float]:
    """Every metric of two non-empty masks from its definition, distances from all pairs of surface pixels."""
    spacing = np.asarray(spacing or (1.0,) * p.ndim)
    scaled = cdist(surface(p) * spacing, surface(t) * spacing)
    near = np.concatenate([scaled.min(1), scaled.min(0)]) <= 2 * (1 + 1e-6)
    tp, fp, fn = (p & t).sum(), (p & ~t).sum(), (~p & t).sum()
    return {
        "dice": 2 * tp / (2 * tp + fp + fn),
        "iou": tp / (tp + fp + fn),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "hd95": max(np.quantile(scaled.min(1), 0.95), np.quantile(scaled.min(0), 0.95)),
        "surface_dice": near.mean(),
        "surface_dice_nikolov": nikolov(p, t, spacing),
    }


def monai_distances(p: np.ndarray, t: np.ndarray, spacing=None) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.metrics import compute_hausdorff_distance, compute_surface_dice

        a, b = (torch.from_numpy(np.ascontiguousarray(m))[None, None] for m in (p, t))
        hd95 = compute_hausdorff_distance(a, b, include_background=True, percentile=95, spacing=spacing)
        return hd95.item(), compute_surface_dice(a, b, [2.0], True, spacing=spacing).item()


# Closed forms


@pytest.mark.parametrize(("side", "shift"), [(10, 0), (10, 3), (16, 8), (7, 6)])
def test_overlap_of_a_shifted_square(side: int, shift: int) -> None:
    truth, prediction = np.zeros((2, 40, 40), bool)
    truth[5 : 5 + side, 5 : 5 + side] = True
    prediction[5 : 5 + side, 5 + shift : 5 + shift + side] = True
    got = binary(prediction, truth)
    share = (side - shift) / side
    assert got["dice"] == pytest.approx(share) == got["precision"] == got["recall"]
    assert got["iou"] == pytest.approx((side - shift) / (side + shift))


@pytest.mark.parametrize("gap", [1, 2, 3, 11])
def test_two_parallel_lines(gap: int) -> None:
    truth, prediction = np.zeros((2, 20, 30), bool)
    truth[:, 4] = True
    prediction[:, 4 + gap] = True
    # A line has two edges, of which one is a pixel nearer to the other line.
    edges = ((gap <= 2) + (gap - 1 <= 2)) / 2
    distances = {"surface_dice": float(gap <= 2), "surface_dice_nikolov": edges, "hd95": gap}
    assert binary(prediction, truth) == dict.fromkeys(RATIOS, 0.0) | distances
    # Millimetres change distances along the axis of the shift only; the tolerance is 2 of them, then.
    assert binary(prediction, truth, spacing=(9.0, 0.5))["hd95"] == pytest.approx(gap * 0.5)
    assert binary(prediction.T, truth.T, spacing=(9.0, 0.5))["hd95"] == pytest.approx(gap * 9)
    for size in (0.15, 0.7, 9.0):
        assert binary(prediction, truth, spacing=(9.0, size))["surface_dice"] == float(gap * size <= 2)


@pytest.mark.parametrize(("radius", "offset"), [(40, 5), (40, 20), (60, 45)])
def test_two_discs(radius: int, offset: int) -> None:
    truth, prediction = np.zeros((2, 200, 260), bool)
    truth[disk((100, 90), radius)] = True
    prediction[disk((100, 90 + offset), radius)] = True
    got = binary(prediction, truth)
    half = offset / (2 * radius)
    lens = 2 * radius**2 * math.acos(half) - offset / 2 * math.sqrt(4 * radius**2 - offset**2)
    assert got["dice"] == pytest.approx(lens / (math.pi * radius**2), abs=0.01)
    # A point of one circle at angle θ lies |√(r² + d² + 2 r d cos θ) − r| from the other circle.
    theta = np.linspace(0, 2 * np.pi, 100_001)
    away = np.abs(np.sqrt(radius**2 + offset**2 + 2 * radius * offset * np.cos(theta)) - radius)
    assert got["hd95"] == pytest.approx(np.quantile(away, 0.95), abs=0.75)
    assert got["surface_dice"] == pytest.approx((away <= 2).mean(), abs=0.06)


@pytest.mark.parametrize("spacing", [0.1, 0.2, 0.25, 0.4, 0.7, 1 / 3, 1.0])
def test_a_square_moved_by_exactly_the_tolerance_is_within_it_everywhere(spacing: float) -> None:
    pixels = round(2 / spacing)
    tolerance_is_hit = math.isclose(pixels * spacing, 2)
    scores = set()
    for start in range(0, 60, 7):
        truth, prediction = np.zeros((2, 30, 120), bool)
        truth[5:20, start : start + 15] = True
        prediction[5:20, start + pixels : start + pixels + 15] = True
        got = binary(prediction, truth, spacing=(spacing, spacing))
        scores.add((got["surface_dice"], got["surface_dice_nikolov"], got["hd95"]))
    assert len(scores) == 1  # wherever it is
    if tolerance_is_hit:
        assert scores.pop()[:2] == (1.0, 1.0)


@pytest.mark.parametrize("spacing", [(2.0, 1.0), (3.0, 2.0, 1.0)])
def test_nikolov_of_two_pixels_two_away(spacing: tuple[float, ...]) -> None:
    """A case of DeepMind's own: half of the elements around each pixel are 1 mm from the other's, half 2 mm."""
    truth, prediction = np.zeros((2, *[20] * len(spacing)), bool)
    truth[..., 5, 10], prediction[..., 5, 12] = True, True
    if len(spacing) == 3:
        truth[:5], truth[6:], prediction[:5], prediction[6:] = False, False, False, False
    assert surface_dice_nikolov(prediction, truth, spacing, tolerance=1) == pytest.approx(0.5)
    assert surface_dice_nikolov(prediction, truth, spacing, tolerance=2) == 1.0
    assert surface_dice_nikolov(prediction, truth, spacing, tolerance=0.9) == 0.0


def test_nikolov_of_two_squares_of_different_length() -> None:
    """Another case of theirs, by hand: pixels of 2 mm × 1 mm, 2×2 and 3×2 of them."""
    truth, prediction = np.zeros((2, 6, 6), bool)
    truth[1:3, 1:3], prediction[1:4, 1:3] = True, True
    diagonal = math.sqrt(5) / 2
    length, other = 4 * diagonal + 2 * 1 + 2 * 2, 4 * diagonal + 2 * 1 + 4 * 2
    # The shorter one's corners lie on the other's sides, and the middle of its lower edge is 1 mm from these. The
    # longer one's lower edge is 2 mm from the other.
    expected = (length + other - (2 * diagonal + 1)) / (length + other)
    assert surface_dice_nikolov(prediction, truth, (2, 1), tolerance=1) == pytest.approx(expected)


def test_nikolov_of_two_slabs() -> None:
    """Theirs again: 50 and 51 layers of 100 × 100 voxels of 2 × 1 × 1 mm. 1 mm from the other's end is too far."""
    truth, prediction = np.zeros((2, 100, 100, 100), bool)
    truth[:50], prediction[:51] = True, True

    def area(layers: int) -> float:
        edge, corner = math.sqrt(2) / 2, math.hypot(1, 2, 2) / 8
        side, ridge = 2 * (layers - 1) * 99, math.sqrt(1 + 4) / 2 * 99
        return 2 * 99**2 + 4 * side + 8 * ridge + 4 * 2 * (layers - 1) * edge + 8 * corner

    # The shorter one's end has 99 × 99 elements, of which the outermost are 1 mm from the other's sides.
    end, outer = 97**2, 99**2 + 4 * math.sqrt(5) / 2 * 99 + 4 * math.hypot(1, 2, 2) / 8
    expected = 1 - (end + outer) / (area(50) + area(51))
    got = surface_dice_nikolov(prediction, truth, (2, 1, 1), tolerance=1)
    assert got == pytest.approx(expected, rel=1e-6)
    assert got == pytest.approx(0.836, abs=0.0005)


def test_hd95_is_the_larger_direction() -> None:
    """A second blob in one mask alone, a tenth of its surface: only the direction from that mask sees it."""
    truth, prediction = np.zeros((2, 8, 100), bool)
    truth[0, :18] = prediction[0, :18] = True
    prediction[0, 98:] = True
    for got in (binary(prediction, truth), binary(truth, prediction)):
        assert got["hd95"] == pytest.approx(np.quantile([0] * 18 + [81, 82], 0.95))


@pytest.mark.parametrize("spacing", [None, (10.0, 1.5, 1.5), (0.3, 2.0, 1.0)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_boxes_in_space(axis: int, spacing: tuple[float, float, float] | None) -> None:
    """A box moved by two voxels along one axis: the overlap is that of the axis, most of the surface stays near."""
    truth = np.zeros((20, 22, 24), bool)
    truth[4:12, 5:15, 6:18] = True
    prediction = np.roll(truth, 2, axis)
    got = binary(prediction, truth, spacing=spacing)
    side = (8, 10, 12)[axis]
    assert got["dice"] == pytest.approx((side - 2) / side)
    assert got["iou"] == pytest.approx((side - 2) / (side + 2))
    # The face that moved ahead and lies outside the other box is farthest from it: by the shift. It and the one it left
    # are more than 5 % of the surface, and no voxel is farther.
    shift = 2 * (spacing or (1.0, 1.0, 1.0))[axis]
    assert got["hd95"] == pytest.approx(shift)
    if shift <= 2:
        assert got["surface_dice"] == 1.0
    else:
        assert got == pytest.approx(brute_force(prediction, truth, spacing))
        assert got["surface_dice"] < 1.0


def test_structures_are_unions_that_may_overlap() -> None:
    """The regions of BraTS: their masks made here by hand."""
    rng = np.random.default_rng(5)
    prediction, truth = rng.integers(0, 4, (2, 12, 11, 10))
    truth[0] = 255
    got = image_metrics(prediction, truth, {"whole": [1, 2, 3], "core": [1, 3], "enhancing": [3]})
    known = truth != 255
    for name, p, t in (
        ("whole", prediction > 0, truth > 0),
        ("core", prediction % 2 == 1, truth % 2 == 1),
        ("enhancing", prediction == 3, truth == 3),
    ):
        assert got[name] == pytest.approx(brute_force(p & known, t & known))


# Conventions


def test_empty_masks() -> None:
    empty, spot = np.zeros((2, 30, 40), bool)
    spot[3, 3] = True
    agreement = dict.fromkeys(RATIOS, 1.0) | {"hd95": 0.0}
    miss = dict.fromkeys(RATIOS, 0.0) | {"hd95": 50.0}
    assert binary(empty, empty) == agreement
    assert binary(empty, spot) == binary(spot, empty) == miss
    assert binary(empty, spot, spacing=(2.0, 2.0))["hd95"] == 100.0
    solid = np.ones((2, 3, 6), bool)
    assert binary(~solid, solid)["hd95"] == 7.0 and binary(~solid, solid, spacing=(10, 5, 5))["hd95"] == math.hypot(
        20, 15, 30
    )


def test_classes_are_scored_apart() -> None:
    truth = np.zeros((6, 6), np.uint8)
    truth[:3], truth[3:] = 1, 2
    got = by_class(np.where(truth == 2, 3, truth), truth, 4)
    assert list(got) == [1, 2, 3]
    assert [got[index]["dice"] for index in got] == [1.0, 0.0, 0.0]


def test_every_metric_has_a_direction() -> None:
    assert METRIC_NAMES == ("dice", "iou", "precision", "recall", "hd95", "surface_dice", "surface_dice_nikolov")
    assert [m.name for m in metrics_in("mm") if not m.higher_is_better] == ["hd95"]


@pytest.mark.parametrize(
    ("prediction", "truth", "options", "message"),
    [
        (np.zeros((3, 4), int), np.zeros((4, 3), int), {}, "one shape"),
        (np.zeros((3, 4)), np.zeros((3, 4), int), {}, "integer"),
        (np.zeros((1, 1, 3, 4), int), np.zeros((1, 1, 3, 4), int), {}, r"\(H, W\)"),
        (np.zeros((0, 4), int), np.zeros((0, 4), int), {}, "non-empty"),
        (np.full((3, 4), 255), np.zeros((3, 4), int), {}, r"prediction holds \[255\]"),
        (np.zeros((3, 4), int), np.full((3, 4), 2), {}, r"truth holds \[2\]"),
        (np.zeros((3, 4), int), np.full((3, 4), -1), {}, r"truth holds \[-1\]"),
        (np.zeros((3, 4), int), np.zeros((3, 4), int), {"structures": {"x": []}}, "above 0"),
        (np.zeros((3, 4), int), np.zeros((3, 4), int), {"structures": {"x": [-1, 1]}}, "above 0"),
        (np.zeros((3, 4), int), np.zeros((3, 4), int), {"spacing": (0.0, 1.0)}, "2 positive"),
        (np.zeros((2, 3, 4), int), np.zeros((2, 3, 4), int), {"spacing": (1.0, 1.0)}, "3 positive"),
    ],
)
def test_refuses(prediction: np.ndarray, truth: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_metrics(prediction, truth, **({"structures": {"x": [1]}} | options))


# Properties


@given(label_pairs())
def test_always_finite_and_in_range(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    prediction, truth, num_classes = pair
    got = by_class(prediction, truth, num_classes)
    assert list(got) == list(range(1, num_classes))
    for values in got.values():
        assert tuple(values) == METRIC_NAMES
        assert all(type(value) is float for value in values.values())
        assert all(0 <= values[name] <= 1 for name in RATIOS)
        assert 0 <= values["hd95"] <= math.hypot(*truth.shape)
        assert values["dice"] == pytest.approx(2 * values["iou"] / (1 + values["iou"]))


@given(label_pairs(ignore=False))
def test_exchanging_the_masks_exchanges_precision_and_recall(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    prediction, truth, num_classes = pair
    there, back = by_class(prediction, truth, num_classes), by_class(truth, prediction, num_classes)
    for index, values in there.items():
        assert values["precision"] == back[index]["recall"]
        for name in ("dice", "iou", "hd95", "surface_dice", "surface_dice_nikolov"):
            assert values[name] == pytest.approx(back[index][name])


@given(label_pairs())
def test_ignored_pixels_do_not_matter(pair: tuple[np.ndarray, np.ndarray, int]) -> None:
    prediction, truth, num_classes = pair
    ignored = truth == 255
    other = np.where(ignored, 1 - (prediction == 1), prediction)
    got = by_class(prediction, truth, num_classes)
    assert got == by_class(other, truth, num_classes)
    assert got == by_class(np.where(ignored, 0, prediction), np.where(ignored, 0, truth), num_classes)


@given(label_pairs(), SPACINGS)
def test_equals_the_definitions(pair: tuple[np.ndarray, np.ndarray, int], spacing: tuple[float, ...] | None) -> None:
    prediction, truth, num_classes = pair
    spacing = spacing and spacing[: truth.ndim]
    counted = truth != 255
    for index, values in by_class(prediction, truth, num_classes, spacing=spacing).items():
        p, t = (prediction == index) & counted, (truth == index) & counted
        if p.any() and t.any():
            assert values == pytest.approx(brute_force(p, t, spacing))


@given(label_pairs(ignore=False), SPACINGS)
def test_distances_equal_monai(pair: tuple[np.ndarray, np.ndarray, int], spacing: tuple[float, ...] | None) -> None:
    prediction, truth, num_classes = pair
    spacing = spacing and spacing[: truth.ndim]
    got = by_class(prediction, truth, num_classes, spacing=spacing)
    both = [index for index in got if (prediction == index).any() and (truth == index).any()]
    assume(both)
    for index in both:
        hd95, surface_dice = monai_distances(prediction == index, truth == index, spacing)
        assert got[index]["hd95"] == pytest.approx(hd95, rel=1e-5)
        assert got[index]["surface_dice"] == pytest.approx(surface_dice, rel=1e-5)


# Real masks


def test_second_observer_of_drive(shared_data: Path) -> None:
    """The published agreement of DRIVE's two observers on the test set is a Dice of about 0.79."""
    test = shared_data / "DRIVE" / "test"
    dice = []
    for number in range(1, 21):
        first, second, field = (
            np.asarray(Image.open(test / path)) > 0
            for path in (
                f"1st_manual/{number:02d}_manual1.gif",
                f"2nd_manual/{number:02d}_manual2.gif",
                f"mask/{number:02d}_test_mask.gif",
            )
        )
        got = binary(second, np.where(field, first, 255))
        dice.append(got["dice"])
        if number <= 2:
            hd95, surface_dice = monai_distances(second & field, first & field)
            assert (got["hd95"], got["surface_dice"]) == pytest.approx((hd95, surface_dice), rel=1e-5)
    assert 0.78 <= np.mean(dice) <= 0.80
