"""From an image to probabilities: against a pipeline made by hand, and with networks whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.special import expit, softmax
from skimage.transform import resize
from tiny import module_of, predict_probabilities
from torch import Tensor, nn

from s2mnet import S2MNet
from s2mnet.data import Case, LabelMap
from s2mnet.data.channels import clahe
from s2mnet.data.resize import resized
from s2mnet.inference import dihedral, normalise, prepare_image, prepare_mask, to_labels, window_weights
from s2mnet.plan import Plan, Preprocessing
from s2mnet.training.module import mean_dice, validation_dice
from s2mnet.training.store import PreparedCases


def preprocessing(extent: str = "whole", size: tuple[int, int] = (32, 32), channels: int = 1) -> Preprocessing:
    return Preprocessing(extent=extent, size=size, channels=channels, mean=[0.0] * channels, std=[1.0] * channels)


TWO = LabelMap(kind="classes", values=[0, 255])
THREE = LabelMap(kind="classes", values=[0, 1, 2])
ONE, BOTH = [(1,)], [(1,), (2,)]  # structures to measure


class Known(nn.Module):
    """A network with a known answer: ``function`` of the input (B, C, H, W) in 0..1 gives logits."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def logit_of_grey(x: Tensor) -> Tensor:
    return x.mean(1, keepdim=True).clamp(0.001, 0.999).logit()


def narrow(channels: int, classes: int) -> S2MNet:
    return S2MNet(channels, classes, channels=(8, 8, 8, 8, 8), num_frequencies=4, stem_channels=8).eval()


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 253, shape).astype(np.uint8)


@pytest.mark.parametrize("normalisation", ["dataset", "image"])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("shape", [(48, 64, 3), (47, 33, 3), (20, 25, 3), (48, 64)])
def test_whole_images_equal_the_pipeline_made_by_hand(classes: int, shape: tuple[int, ...], normalisation: str) -> None:
    network, image = narrow(3, classes), noise(*shape)
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    settings = Preprocessing(
        extent="whole", size=(32, 40), channels=3, normalisation=normalisation, mean=mean.tolist(), std=std.tolist()
    )
    found = predict_probabilities(network, [image], settings, THREE if classes == 3 else TWO)[0][0]

    # Resizing has its own tests.
    colour = resized(image if image.ndim == 3 else np.stack([image] * 3, axis=-1), (32, 40))
    if normalisation == "image":
        mean, std = (colour / 255).mean((0, 1)), (colour / 255).std((0, 1))
    x = ((colour / 255 - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
    with torch.no_grad():
        logits = network(torch.from_numpy(x))[0].numpy()
    small = expit(logits) if classes == 1 else softmax(logits, axis=0)
    # Bilinear with pixel centres at half integers, done by scikit-image.
    expected = np.stack([resize(plane, shape[:2], order=1, mode="edge", anti_aliasing=False) for plane in small])
    assert found.shape == (classes, *shape[:2]) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_windows_are_normalised_each_by_itself() -> None:
    """So a darker image is the same image, and a corner that changes changes nothing in windows elsewhere."""
    settings = preprocessing("patches", channels=3).model_copy(update={"normalisation": "image"})
    network, image = narrow(3, 1), noise(100, 120, 3) // 2 * 2
    bright, dark = (predict_probabilities(network, [x], settings, TWO, tta=4)[0][0] for x in (image, image // 2))
    np.testing.assert_allclose(dark, bright, atol=1e-4)
    corner = image.copy()
    corner[:10, :10] = 0
    changed, same = (predict_probabilities(network, [x], settings, TWO)[0][0] for x in (corner, image))
    assert np.abs(changed - same)[:, :20, :20].max() > 1e-3
    np.testing.assert_allclose(changed[:, 64:, 64:], same[:, 64:, 64:], atol=1e-6)


def test_a_batch_of_sizes_equals_one_at_a_time() -> None:
    network, images = narrow(3, 1), [noise(40, 50, 3), noise(64, 33, 3, seed=1), noise(32, 32, seed=2)]
    settings = preprocessing(channels=3)
    together = predict_probabilities(network, images, settings, TWO, tta=4, batch_size=2)
    for image, (found, beta) in zip(images, together, strict=True):
        assert found.shape == (1, *image.shape[:2]) and beta is None
        np.testing.assert_allclose(
            found, predict_probabilities(network, [image], settings, TWO, tta=4)[0][0], atol=1e-5
        )


def test_boundaries_are_those_of_the_shallowest_stage() -> None:
    network = narrow(1, 1)
    for extent, margin in (("whole", 0), ("patches", 2)):
        image, settings = noise(32 - 2 * margin, 32 - 2 * margin), preprocessing(extent)
        window = np.pad(image, margin, mode="symmetric")
        probabilities, beta = predict_probabilities(network, [image], settings, TWO, boundaries=True)[0]
        with torch.no_grad():
            logits, maps = network(torch.from_numpy(window)[None, None] / 255, return_boundaries=True)
        inside = (slice(margin, 32 - margin), slice(margin, 32 - margin))
        np.testing.assert_allclose(probabilities[0], expit(logits[0, 0].numpy())[inside], atol=1e-5)
        expected = resize(maps[-1][0, 0].numpy(), (32, 32), order=1, mode="edge", anti_aliasing=False)
        np.testing.assert_allclose(beta, expected[inside], atol=1e-5)
    without = S2MNet(1, channels=(8, 8, 8, 8, 8), num_frequencies=4, decoder="conv").eval()
    assert predict_probabilities(without, [image], preprocessing(), TWO, boundaries=True)[0][1] is None


@pytest.mark.parametrize("classes", [1, 3])
def test_a_patch_of_one_window_is_the_network_itself(classes: int) -> None:
    network, image = narrow(3, classes), noise(44, 36, 3)  # with a margin of 40/16 = 2 px on each side it is a window
    settings, labels = preprocessing("patches", (48, 40), 3), THREE if classes == 3 else TWO
    found = predict_probabilities(network, [image], settings, labels)[0][0]
    window = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="symmetric")
    with torch.no_grad():
        logits = network(torch.from_numpy(window.transpose(2, 0, 1).copy())[None] / 255)[0].numpy()[:, 2:-2, 2:-2]
    np.testing.assert_allclose(found, expit(logits) if classes == 1 else softmax(logits, axis=0), atol=1e-5)


@given(
    st.integers(1, 100), st.integers(1, 100), st.sampled_from([(32, 32), (40, 32)]), st.sampled_from([1, 4, 8]),
    st.booleans(), st.sampled_from([1, 3]),
)  # fmt: skip
def test_windows_put_every_pixel_in_its_place(
    height: int, width: int, size: tuple[int, int], tta: int, colour: bool, channels: int
) -> None:
    # A network that answers each pixel by its own intensity must give the image back, smaller than a window or not.
    image = noise(height, width, 3) if colour else noise(height, width)
    settings = preprocessing("patches", size, channels)
    found = predict_probabilities(Known(logit_of_grey), [image], settings, TWO, tta)[0][0]
    if not colour:
        expected = image / 255
    elif channels == 1:
        expected = np.asarray(Image.fromarray(image).convert("L")) / 255
    else:
        expected = image.mean(2) / 255
    assert found.shape == (1, height, width)
    np.testing.assert_allclose(found[0], np.clip(expected, 0.001, 0.999), atol=1e-4)


def test_windows_never_differ_from_the_size_of_training() -> None:
    seen = set()

    def remember(x: Tensor) -> Tensor:
        seen.add(tuple(x.shape[1:]))
        return x[:, :1] * 0 + 1.5

    for shape in ((97, 71), (20, 90), (9, 11)):
        settings = preprocessing("patches", (48, 32))
        found = predict_probabilities(Known(remember), [noise(*shape)], settings, TWO, 4)[0][0]
        np.testing.assert_allclose(found, expit(1.5), atol=1e-5)
    assert seen == {(1, 48, 32)}


def test_a_small_image_is_mirrored_as_in_training() -> None:
    image, seen = noise(20, 25), []

    def remember(x: Tensor) -> Tensor:
        seen.append(x[0, 0].numpy() * 255)
        return x[:, :1]

    predict_probabilities(Known(remember), [image], preprocessing("patches", (48, 32)), TWO)
    np.testing.assert_allclose(seen[0], np.pad(image, ((2, 26), (2, 5)), mode="symmetric"), atol=1e-3)


def test_the_edge_of_a_window_never_decides_about_the_edge_of_the_image() -> None:
    # This network says foreground on the outermost pixels of its window, whatever it sees, and background elsewhere.
    def frame(x: Tensor) -> Tensor:
        logits = torch.full_like(x[:, :1], 9.0)
        logits[..., 1:-1, 1:-1] = -9.0
        return logits

    settings = preprocessing("patches", (64, 64))
    for shape in ((64, 64), (90, 150), (40, 130)):
        found = predict_probabilities(Known(frame), [noise(*shape)], settings, TWO, 4)[0][0][0]
        edge = np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]])
        assert edge.max() <= 0.5  # without the margin it is 1


def gaussian(side: int) -> np.ndarray:
    """Weights along one side of a window: deviation an eighth of it."""
    return np.exp(-((np.arange(side) - (side - 1) / 2) ** 2) / (2 * (side / 8) ** 2))


@given(st.tuples(st.integers(1, 1024), st.integers(1, 1024)))
def test_the_weights_of_a_window_are_a_gaussian_without_a_floor(size: tuple[int, int]) -> None:
    found = window_weights(size).numpy()
    assert found.dtype == np.float32 and found.shape == size
    np.testing.assert_allclose(found, np.outer(*map(gaussian, size)), rtol=1e-5)
    assert found.min() > 1e-7  # a mean of one corner alone is not 0/0


@given(st.integers(1, 130), st.integers(1, 130), st.sampled_from([(32, 32), (32, 48), (64, 32)]))
def test_overlapping_windows_are_their_weighted_mean(height: int, width: int, size: tuple[int, int]) -> None:
    # What the network says of a pixel depends on the pixel and, much more, on its place in the window.
    rng = np.random.default_rng(3)
    image, by_place = noise(height, width), rng.normal(size=size) * 3
    known = Known(lambda x: 2 * x + torch.from_numpy(by_place).float())
    found = predict_probabilities(known, [image], preprocessing("patches", size), TWO)[0][0][0]

    margin = min(size) // 16
    sides = [(margin, margin + max(0, n - side - 2 * margin)) for n, side in zip(size, image.shape, strict=True)]
    padded = np.pad(image / 255, sides, mode="symmetric")
    # Windows start every three quarters of their side, the last one where it ends with the image.
    rows, columns = (
        sorted({min(start, length - n) for start in range(0, length, 3 * n // 4)})
        for length, n in zip(padded.shape, size, strict=True)
    )
    total, weight = np.zeros(padded.shape), np.zeros(padded.shape)
    for top in rows:
        for left in columns:
            window = (slice(top, top + size[0]), slice(left, left + size[1]))
            w = np.outer(*map(gaussian, size))
            total[window] += w * expit(2 * padded[window] + by_place)
            weight[window] += w
    expected = (total / weight)[margin : margin + height, margin : margin + width]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_no_seam_shows_near_the_edge_of_the_image() -> None:
    # This network says one thing of a whole window: how bright it is. The image grows brighter from left to right, so
    # that neighbouring windows disagree; every row must pass from one to the next as smoothly as the middle one.
    image = np.tile(np.linspace(0, 255, 160).astype(np.uint8), (160, 1))
    known = Known(lambda x: x.mean((-2, -1), keepdim=True).clamp(0.001, 0.999).logit().expand_as(x))
    found = predict_probabilities(known, [image], preprocessing("patches", (64, 64)), TWO)[0][0][0]
    np.testing.assert_allclose(found, np.tile(found[80], (160, 1)), atol=1e-4)
    assert np.ptp(found) > 0.4 and np.abs(np.diff(found)).max() < 0.1  # with jumps to the plain mean 0.15


@pytest.mark.parametrize("tta", [1, 4, 8])
def test_every_transform_is_undone(tta: int) -> None:
    image = noise(32, 32)
    found = predict_probabilities(Known(logit_of_grey), [image], preprocessing(), TWO, tta)[0][0]
    np.testing.assert_allclose(found[0], image / 255, atol=1e-5)


def all_views(x: np.ndarray, tta: int) -> list[tuple[int, bool, np.ndarray]]:
    """Quarter turns, mirrored or not, and the view; for 4: identity, both flips and their product."""
    turns = {1: [0], 4: [0, 2], 8: [0, 1, 2, 3]}[tta]
    return [
        (k, m, np.rot90(x[:, ::-1] if m else x, k)) for k in turns for m in ((False, True) if tta > 1 else (False,))
    ]


@pytest.mark.parametrize("tta", [1, 4, 8])
def test_the_mean_is_over_distinct_transforms(tta: int) -> None:
    # The answer depends on the place, so each of the transforms adds something of its own.
    ramp = np.random.default_rng(5).normal(size=(32, 32))
    image = noise(32, 32)
    known = Known(lambda x: x * torch.from_numpy(ramp).float() * 4)
    found = predict_probabilities(known, [image], preprocessing(), TWO, tta)[0][0][0]
    views = all_views(image / 255, tta)
    assert len({view.tobytes() for _, _, view in views}) == tta
    undone = []
    for turns, mirrored, view in views:
        answer = np.rot90(expit(view * ramp * 4), -turns)
        undone.append(answer[:, ::-1] if mirrored else answer)
    np.testing.assert_allclose(found, np.mean(undone, 0), atol=1e-5)


@pytest.mark.parametrize("extent", ["whole", "patches"])
@pytest.mark.parametrize("tta", [4, 8])
def test_transforms_change_nothing_for_a_network_that_commutes_with_them(extent: str, tta: int) -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ELU(), nn.Conv2d(6, 3, 1)).eval()
    image, settings = noise(45, 70, 3), preprocessing(extent, (32, 32), 3)
    alone = predict_probabilities(network, [image], settings, TWO, 1)[0][0]
    np.testing.assert_allclose(predict_probabilities(network, [image], settings, TWO, tta)[0][0], alone, atol=1e-5)


def test_quarter_turns_are_left_out_where_the_input_is_not_square() -> None:
    seen = set()

    def remember(x: Tensor) -> Tensor:
        seen.add(tuple(x.shape[2:]))
        return x

    predict_probabilities(Known(remember), [noise(50, 60)], preprocessing("whole", (32, 48)), TWO, 8)
    assert seen == {(32, 48)}


def test_the_groups() -> None:
    assert dihedral(1) == [(False, 0)]
    assert set(dihedral(4)) == {(False, 0), (True, 0), (False, 2), (True, 2)}
    assert set(dihedral(8)) == {(mirrored, turns) for mirrored in (False, True) for turns in range(4)}


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([["red", "green", "blue"], ["green"], ["blue", "red"]]))
def test_colours_are_resized_together_as_each_by_itself(height: int, width: int, names: list[str]) -> None:
    image, none = 108 + noise(height, width, 3) % 40, [0.0] * len(names)
    settings = Preprocessing(extent="whole", size=(33, 40), channels=names, mean=none, std=none)
    places = [("red", "green", "blue").index(name) for name in names]
    planes = [Image.fromarray(image[..., place].copy()) for place in places]
    expected = [np.asarray(plane.resize((40, 33), Image.Resampling.LANCZOS)) for plane in planes]
    found = prepare_image(image, settings)
    # The tests of resized say how near: two levels from the exact one where nothing is clipped, as here.
    assert found.dtype == np.uint8 and np.abs(found.astype(int) - expected).max() <= 3


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 3]), st.booleans())
def test_preparing_keeps_image_and_mask_together(height: int, width: int, channels: int, colour: bool) -> None:
    image, mask = noise(height, width, 3) if colour else noise(height, width), noise(height, width) % 3
    whole, patches = preprocessing(size=(33, 40), channels=channels), preprocessing("patches", channels=channels)
    assert prepare_image(image, whole).shape == (channels, 33, 40)
    assert set(np.unique(prepare_mask(mask, whole))) <= set(np.unique(mask))
    assert prepare_mask(mask, whole).shape == (33, 40) and prepare_mask(mask, whole).flags.writeable
    assert prepare_image(image, patches).shape == (channels, height, width)
    assert np.array_equal(prepare_mask(mask, patches), mask)


@pytest.mark.parametrize("extent", ["whole", "patches"])
def test_contrast_is_equalised_at_full_resolution_if_the_plan_says_so(extent: str) -> None:
    image = 100 + noise(70, 90, 3) % 20
    settings = preprocessing(extent, (33, 40), 3).model_copy(update={"clahe": True})
    planes = [clahe(np.ascontiguousarray(image[..., channel])) for channel in range(3)]
    expected = planes if extent == "patches" else [resized(plane, (33, 40)) for plane in planes]
    assert np.array_equal(prepare_image(image, settings), np.stack(expected))
    assert np.ptp(np.stack(expected)) > 2 * np.ptp(image)


def test_an_image_of_little_contrast_is_normalised_and_one_of_none_is_zero() -> None:
    settings = preprocessing().model_copy(update={"normalisation": "image"})
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 40, 50))).float()
    x = (x - x.mean((-2, -1), keepdim=True)) / x.std((-2, -1), keepdim=True, correction=0)
    for deviation, left in ((0.05, 1.0), (0.002, 1.0), (0.0005, 0.5)):  # below 1e-3, noise is not amplified further
        torch.testing.assert_close(normalise(0.4 + deviation * x, settings), left * x, atol=2e-3, rtol=0)
    assert normalise(torch.full((3, 8, 8), 0.7), settings).abs().max() < 1e-3


def test_labels_of_probabilities() -> None:
    assert to_labels(np.array([[[0.2, 0.5, 0.51]]]), TWO).tolist() == [[0, 0, 1]]
    assert to_labels(np.array([[[0.2, 0.5, 0.51]]]), TWO, threshold=0.1).tolist() == [[1, 1, 1]]
    three = np.array([[[0.5, 0.2]], [[0.3, 0.2]], [[0.2, 0.6]]])
    assert to_labels(three, THREE).tolist() == [[0, 2]] and to_labels(three, THREE).dtype == np.uint8


def test_validation_is_prediction(tmp_path: Path) -> None:
    labels = LabelMap(kind="classes", values=[0, 100, 200])
    settings = Preprocessing(extent="whole", size=(32, 32), channels=3, mean=[0.5] * 3, std=[0.2] * 3)
    network = {"channels": [8] * 5, "num_frequencies": 4}
    plan = Plan(labels=labels, preprocessing=settings, network=network, tta=8)
    images = [noise(48, 64, 3), noise(33, 90, 3, seed=1), noise(40, 40, 3, seed=2)]
    truths = [(noise(*image.shape[:2], seed=9) % 3).astype(np.uint8) for image in images]
    cases = []
    for index, (image, truth) in enumerate(zip(images, truths, strict=True)):
        cases.append(Case(str(index), tmp_path / f"i{index}.png", tmp_path / f"m{index}.png"))
        Image.fromarray(image).save(cases[-1].image)
        Image.fromarray(truth * 100).save(cases[-1].mask)
    prepared = PreparedCases(cases, settings, labels, False, None)
    module = module_of(plan, prepared).eval()
    dices = [dice for part in ([0, 1], [2]) for dice in validation_dice(module.inference, [prepared[n] for n in part])]
    for found, image, truth in zip(dices, images, truths, strict=True):
        indices = predict_probabilities(module.network, [image], settings, labels, tta=1)[0][0].argmax(0)
        dice = [2 * ((indices == c) & (truth == c)).sum() / ((indices == c).sum() + (truth == c).sum()) for c in (1, 2)]
        assert found == pytest.approx(np.mean(dice), abs=1e-9)


def test_mean_dice_of_the_empty_and_the_ignored() -> None:
    nothing, full = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    assert mean_dice(nothing, nothing, ONE) == 1.0
    assert mean_dice(full, nothing, ONE) == 0.0 and mean_dice(nothing, full, ONE) == 0.0
    ignored = full.copy()
    ignored[:2] = 255
    half = full.copy()
    half[:2] = 0
    assert mean_dice(half, ignored, ONE) == 1.0 and mean_dice(full, full * 255, ONE) == 1.0
    assert mean_dice(full, full, BOTH) == 1.0 and mean_dice(full * 2, full, BOTH) == 0.0
