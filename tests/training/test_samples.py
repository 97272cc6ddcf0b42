"""Samples are a function of (seed, epoch, index) and of nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import HEIGHT, WIDTH, tiny_plan
from torch.utils.data import DataLoader

from s2mnet.data import Case, find_cases, load_case, read_image, read_mask
from s2mnet.data.resize import resized
from s2mnet.inference import prepare_image, prepare_mask
from s2mnet.plan import Augmentation, Plan
from s2mnet.training.samples import EpochSampler, TrainingSamples, patch_centre
from s2mnet.training.store import PreparedCases, cache_folder

STILL = Augmentation(rotate_p=0, flip_p=0, scale_shift_p=0, elastic_p=0, light_p=0, noise_p=0)


def samples_of(data: Path, **changes: object) -> tuple[TrainingSamples, Plan]:
    plan = tiny_plan(data, epochs=1, **changes)
    cases = PreparedCases(find_cases(data).splits["train"], plan.preprocessing, plan.labels, True, None)
    return TrainingSamples(cases, plan), plan


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
    samples, plan = samples_of(tiny_data, augmentation=STILL)
    assert plan.preprocessing.normalisation == "image"
    known = {"normalisation": normalisation, "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}
    preprocessing = plan.preprocessing.model_copy(update=known)
    samples.plan = plan.model_copy(update={"preprocessing": preprocessing})
    case = find_cases(tiny_data).splits["train"][2]
    pixels = resized(read_image(case.image), (32, 32)) / 255
    mean, std = np.array(known["mean"]), np.array(known["std"])
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


def test_the_first_of_ten_windows_with_half_a_percent_of_foreground_is_taken() -> None:
    # Windows of 20² px: two pixels are 0.5 %, one is not enough. Two of three windows see none or one.
    mask = (np.random.default_rng(1).random((90, 130)) < 1 / 400).astype(np.uint8)
    taken = []
    for seed in range(60):
        used, drawn = np.random.default_rng(seed), np.random.default_rng(seed)
        row, column = patch_centre(mask if seed % 2 else np.zeros_like(mask), (20, 20), used)
        for attempt in range(1, 11):  # noqa: B007
            top, left = int(drawn.integers(0, 71)), int(drawn.integers(0, 111))
            if seed % 2 and mask[top : top + 20, left : left + 20].sum() >= 2:
                break
        assert (row, column) == (top + 9.5, left + 9.5)
        assert used.bit_generator.state == drawn.bit_generator.state
        taken.append(attempt)
    assert set(taken[::2]) == {10} and len(set(taken[1::2])) > 2


def test_patches_are_spread_over_the_image() -> None:
    mask = np.ones((200, 300), np.uint8)
    centres = np.array([patch_centre(mask, (32, 32), np.random.default_rng(seed)) for seed in range(400)])
    starts = (centres - 15.5) / (168, 268)
    for share in (0.25, 0.5, 0.75):
        np.testing.assert_allclose((starts < share).mean(0), share, atol=0.08)
    assert starts.min() < 0.02 and starts.max() > 0.98


def test_a_stride_visits_the_windows_of_a_grid_that_show_foreground(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "train"
    for number in range(3):
        mask = np.zeros((70, 90), np.uint8)
        mask[40:48, 50:60] = 255
        for kind, array in (("images", rng.integers(0, 255, (70, 90, 3)).astype(np.uint8)), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{number}.png")
    samples, _ = samples_of(tmp_path, extent="patches", stride=16, repeats=1, augmentation=STILL)
    # Tops 0, 16, 32 and lefts 0, 16, 32, 48 lie inside; of these windows of 32² …
    seen = [(top, left) for top in (0, 16, 32) for left in (0, 16, 32, 48) if (mask[top:, left:][:32, :32] > 0).any()]
    shares = {place: (mask[place[0] :, place[1] :][:32, :32] > 0).mean() for place in seen}
    kept = [place for place in seen if shares[place] >= 0.005]
    cases = len(samples.cases)
    assert samples.windows == [(case, *place) for case in range(cases) for place in kept]
    assert len(samples) == cases * len(kept) and 2 <= len(kept) < 12
    found = samples[(0, 1)][1].numpy()
    assert np.array_equal(found, (mask > 0)[kept[1][0] :, kept[1][1] :][:32, :32])


@pytest.mark.parametrize("foreground", ["everywhere", "one pixel"])
def test_a_grid_reaches_the_far_edges_and_is_whole_where_no_window_shows_enough(
    tiny_data: Path, foreground: str
) -> None:
    plan = tiny_plan(tiny_data, epochs=1, extent="patches", stride=16, repeats=1, augmentation=STILL)
    mask = np.full((64, 80), int(foreground == "everywhere"), np.uint8)
    mask[5, 5] = 1
    samples = TrainingSamples([(np.zeros((3, 64, 80), np.uint8), mask)] * 2, plan)  # type: ignore[arg-type]
    places = [(case, top, left) for case in (0, 1) for top in (0, 16, 32) for left in (0, 16, 32, 48)]
    assert samples.windows == places and len(samples) == 24


def test_a_sample_is_brightened_before_it_is_normalised(tiny_data: Path) -> None:
    brighter = STILL.model_copy(update={"light_p": 1.0, "contrast": 0.0, "tint": 0.0, "brightness": 0.1})
    still, plan = samples_of(tiny_data, extent="patches", augmentation=STILL)
    light, _ = samples_of(tiny_data, extent="patches", augmentation=brighter)
    std = torch.tensor(plan.preprocessing.std)[:, None, None]
    mean = torch.tensor(plan.preprocessing.mean)[:, None, None]
    gains = set()
    for index in range(6):
        before, after = (samples[(0, index)][0] * std + mean for samples in (still, light))
        unclipped = (before > 0.1) & (before < 0.9)
        gain = (after - before)[unclipped]
        assert gain.std() < 1e-5 and gain.abs().max() <= 0.1
        gains.add(round(float(gain.mean()), 4))
    assert len(gains) == 6


def test_prepared_cases_are_kept_by_their_content(tiny_data: Path, tmp_path: Path) -> None:
    plan, cache, data = tiny_plan(tiny_data, epochs=1), tmp_path / "cache", tmp_path / "data"
    shutil.copytree(tiny_data, data)

    def prepared(changes: dict[str, object] | None = None, resized: bool = True) -> list[tuple[np.ndarray, np.ndarray]]:
        preprocessing = plan.preprocessing.model_copy(update=changes or {})
        cases = PreparedCases(find_cases(data).splits["train"], preprocessing, plan.labels, resized, cache)
        assert all(isinstance(cases[n][0], np.memmap) for n in range(len(cases)))
        return [cases[n] for n in range(len(cases))]

    def files() -> int:
        return len(list(cache.rglob("*.npy")))

    first = prepared()
    assert files() == 16
    for (image, mask), case in zip(first, find_cases(data).splits["train"], strict=True):
        pixels, truth = load_case(case, plan.labels)
        assert np.array_equal(image, prepare_image(pixels, plan.preprocessing))
        assert np.array_equal(mask, prepare_mask(truth, plan.preprocessing))
    for again, before in zip(prepared(), first, strict=True):
        assert np.array_equal(again[0], before[0]) and np.array_equal(again[1], before[1])
    assert files() == 16
    (data / "train" / "images" / "train_3.png").rename(data / "train" / "images" / "train_3.PNG")
    prepared()
    assert files() == 16  # a name is no content
    assert prepared({"clahe": True}) and files() == 32
    assert prepared({"mean": [0.0] * 3, "normalisation": "dataset"}) and files() == 32  # comes after the cache
    own_size = prepared(resized=False)
    assert files() == 48 and own_size[0][1].shape == (HEIGHT, WIDTH)
    changed = Image.fromarray(255 - np.asarray(Image.open(data / "train" / "images" / "train_0.png")))
    changed.save(data / "train" / "images" / "train_0.png")
    assert not np.array_equal(prepared()[0][0], first[0][0]) and files() == 50
    cut = next(cache.rglob("*.mask.npy"))
    cut.write_bytes(cut.read_bytes()[:100])
    for again, before in zip(prepared()[1:], first[1:], strict=True):
        assert np.array_equal(again[1], before[1])


def test_what_nobody_used_for_a_month_is_taken_away(tiny_data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(tiny_data, epochs=1)
    cases = find_cases(tiny_data).splits["train"]

    def prepare(part: list[Case]) -> None:
        PreparedCases(part, plan.preprocessing, plan.labels, True, tmp_path)

    prepare(cases)
    for path in tmp_path.rglob("*.npy"):
        os.utime(path, (0, 0))
    prepare(cases[:3])
    assert len(list(tmp_path.rglob("*.npy"))) == 6


def test_where_nothing_can_be_written_all_stays_in_memory(tiny_data: Path, tmp_path: Path) -> None:
    plan, cases = tiny_plan(tiny_data, epochs=1), find_cases(tiny_data).splits["train"]
    (tmp_path / "file").write_text("not a folder")
    kept = PreparedCases(cases, plan.preprocessing, plan.labels, True, tmp_path / "file" / "cache")
    alone = PreparedCases(cases, plan.preprocessing, plan.labels, True, None)
    assert kept.write_error is not None and alone.write_error is None
    for index in range(len(cases)):
        for a, b in zip(kept[index], alone[index], strict=True):
            assert np.array_equal(a, b) and not isinstance(a, np.memmap)


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("S2MNET_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.setenv("S2MNET_CACHE", "off")
    assert cache_folder() is None
    monkeypatch.delenv("S2MNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "s2mnet"
