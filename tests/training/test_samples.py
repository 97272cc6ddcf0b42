"""Samples are a function of (seed, epoch, index) and of nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import HEIGHT, WIDTH, tiny_plan
from torch.utils.data import DataLoader

from s2mnet.data import find_cases, read_image, read_mask
from s2mnet.plan import Augmentation, Plan
from s2mnet.training.samples import EpochSampler, TrainingSamples, patch_centre

STILL = Augmentation(rotate_p=0, flip_p=0, scale_shift_p=0, elastic_p=0, light_p=0, noise_p=0)


def samples_of(data: Path, **changes: object) -> tuple[TrainingSamples, Plan]:
    plan = tiny_plan(data, epochs=1, **changes)
    return TrainingSamples(find_cases(data).splits["train"], plan), plan


@pytest.mark.parametrize("extent", ["whole", "patches"])
def test_an_item_depends_on_seed_epoch_and_index_alone(tiny_data: Path, extent: str) -> None:
    samples, _ = samples_of(tiny_data, extent=extent)
    again, _ = samples_of(tiny_data, extent=extent)
    other_seed, _ = samples_of(tiny_data, extent=extent, seed=43)
    first = samples[(3, 5)]
    torch.rand(7), np.random.random(7)  # no global generator takes part
    samples[(0, 0)]
    for twin in (samples[(3, 5)], again[(3, 5)]):
        assert torch.equal(first[0], twin[0]) and torch.equal(first[1], twin[1])
    # 13 is the same image as 5 (8 images, 2 repeats), at another turn.
    for other in (samples[(4, 5)], samples[(3, 13)], other_seed[(3, 5)]):
        assert not torch.equal(first[0], other[0])
    assert first[0].shape == (3, 32, 32) and first[0].dtype == torch.float32
    assert first[1].shape == (32, 32) and first[1].dtype == torch.int64


def test_each_image_comes_as_often_as_the_plan_says(tiny_data: Path) -> None:
    samples, _ = samples_of(tiny_data, repeats=3, augmentation=STILL)
    assert len(samples) == 24
    seen = [samples[(0, index)][0] for index in range(24)]
    for index in range(8):
        assert torch.equal(seen[index], seen[index + 8]) and torch.equal(seen[index], seen[index + 16])
        assert sum(torch.equal(seen[index], other) for other in seen) == 3


def test_workers_change_nothing(tiny_data: Path) -> None:
    samples, plan = samples_of(tiny_data)

    def epochs(workers: int) -> list[torch.Tensor]:
        sampler = EpochSampler(len(samples), plan.training.seed)
        loader = DataLoader(samples, 4, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
        found = []
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            found += [part.float().flatten() for batch in loader for part in batch]
        return found

    alone, helped = epochs(0), epochs(2)
    assert len(alone) == len(helped) == 16
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


@given(st.integers(1, 200), st.integers(0, 2**31), st.integers(0, 1000))
def test_the_sampler_visits_each_index_once(length: int, seed: int, epoch: int) -> None:
    sampler = EpochSampler(length, seed)
    sampler.set_epoch(epoch)
    items = list(sampler)
    assert len(sampler) == length
    assert sorted(items) == [(epoch, index) for index in range(length)]
    assert items == list(sampler)


def test_the_order_differs_by_epoch_and_seed() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(50, seed)
        sampler.set_epoch(epoch)
        return [index for _, index in sampler]

    assert order(1, 0) != order(1, 1) and order(1, 0) != order(2, 0) and order(1, 0) != list(range(50))


@pytest.mark.parametrize("normalisation", ["image", "dataset"])
def test_a_still_whole_sample_is_the_resized_normalised_file(tiny_data: Path, normalisation: str) -> None:
    from PIL import Image

    samples, plan = samples_of(tiny_data, augmentation=STILL)
    assert plan.preprocessing.normalisation == "image"
    preprocessing = plan.preprocessing.model_copy(update={"normalisation": normalisation})
    samples.plan = plan.model_copy(update={"preprocessing": preprocessing})
    case = find_cases(tiny_data).splits["train"][2]
    pixels = np.asarray(Image.open(case.image).resize((32, 32), Image.Resampling.LANCZOS)) / 255
    mean, std = np.array(plan.preprocessing.mean), np.array(plan.preprocessing.std)
    if normalisation == "image":
        mean, std = pixels.mean((0, 1)), pixels.std((0, 1))
    expected = ((pixels - mean) / std).transpose(2, 0, 1)
    mask = np.asarray(Image.open(case.mask).resize((32, 32), Image.Resampling.NEAREST)) > 127
    found, labels = samples[(0, 2)]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.array_equal(labels, mask)


def test_a_still_patch_is_a_piece_of_the_file(tiny_data: Path) -> None:
    samples, plan = samples_of(tiny_data, extent="patches", augmentation=STILL)
    case = find_cases(tiny_data).splits["train"][0]
    mask = read_mask(case.mask) > 127
    scaled = (read_image(case.image) / 255 - plan.preprocessing.mean) / plan.preprocessing.std
    for epoch in range(10):
        found, labels = samples[(epoch, 0)]
        matches = [
            (top, left)
            for top in range(HEIGHT - 31)
            for left in range(WIDTH - 31)
            if np.allclose(found.numpy().transpose(1, 2, 0), scaled[top : top + 32, left : left + 32], atol=1e-3)
        ]
        assert len(matches) == 1
        top, left = matches[0]
        assert np.array_equal(labels, mask[top : top + 32, left : left + 32])


@given(st.integers(10, 90), st.integers(10, 90), st.integers(0, 2**16))
def test_patches_lie_inside_the_image(height: int, width: int, seed: int) -> None:
    mask = np.zeros((height, width), np.uint8)
    row, column = patch_centre(mask, (32, 40), np.random.default_rng(seed))
    for centre, side, window in ((row, height, 32), (column, width, 40)):
        start = centre - (window - 1) / 2
        assert start == int(start)
        assert (0 <= start <= side - window) if side >= window else start == 0


def test_patches_show_foreground() -> None:
    # A bar along the middle: by chance a window of rows 27 … 59 and no other sees it, 33 of 89.
    mask = np.zeros((120, 64), np.uint8)
    mask[58:60] = 1

    def share_with_foreground(mask: np.ndarray, index: int) -> float:
        seen = 0
        for seed in range(400):
            row, column = patch_centre(mask, (32, 32), np.random.default_rng(seed))
            window = mask[int(row - 15.5) :][:32, int(column - 15.5) :][:, :32]
            seen += (window == index).mean() >= 0.005
        return seen / 400

    assert share_with_foreground(mask, 1) > 0.97  # ten tries: 1 − (56/89)¹⁰ = 0.990
    # 255 is no foreground: nothing draws the windows to it.
    assert share_with_foreground(mask * 255, 255) == pytest.approx(33 / 89, abs=0.1)


def test_patches_are_spread_over_the_image() -> None:
    mask = np.ones((200, 300), np.uint8)
    centres = np.array([patch_centre(mask, (32, 32), np.random.default_rng(seed)) for seed in range(400)])
    starts = (centres - 15.5) / (168, 268)
    for share in (0.25, 0.5, 0.75):
        np.testing.assert_allclose((starts < share).mean(0), share, atol=0.08)
    assert starts.min() < 0.02 and starts.max() > 0.98
