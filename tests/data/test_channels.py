"""Channels by name, stacks of channels in a TIFF, and CLAHE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from s2mnet.data import find_cases, read_image, read_mask
from s2mnet.data.channels import COLOURS, clahe, select_channels, to_show
from s2mnet.data.dataset import Dataset
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import read_folder
from s2mnet.fingerprint.shapes import contrast

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (19, 31, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def write_stack(path: Path, array: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack", **options)
    return path


def test_channels_by_name() -> None:
    assert np.array_equal(select_channels(RGB, COLOURS), np.moveaxis(RGB, -1, 0))
    assert np.array_equal(select_channels(RGB, ["blue", "green"]), np.moveaxis(RGB, -1, 0)[[2, 1]])
    assert np.array_equal(select_channels(GREY, COLOURS), [GREY] * 3)
    assert np.array_equal(select_channels(GREY, ["grey"]), [GREY])
    luma = RGB @ np.array([0.299, 0.587, 0.114])
    assert np.abs(select_channels(RGB, ["grey"])[0] - luma).max() <= 1
    # Three stored channels are no colours, even if the file holds them as such.
    assert np.array_equal(select_channels(RGB, ["t2", "t1"], ["t1", "flair", "t2"]), np.moveaxis(RGB, -1, 0)[[2, 0]])


@pytest.mark.parametrize(("image", "stored"), [(RGB, list("abcd")), (GREY, list("ab")), (np.zeros((4, 4, 5)), [])])
def test_another_number_of_channels_is_refused(image: np.ndarray, stored: list[str]) -> None:
    with pytest.raises(S2MNetError, match="channel"):
        select_channels(image, stored or ["grey"], stored)


@pytest.mark.parametrize("channels", [2, 4, 7])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_stack_is_read_as_it_was_written(tmp_path: Path, channels: int, planar: str) -> None:
    stack = RNG.integers(0, 256, (12, 9, channels), dtype=np.uint8)
    written = stack if planar == "contig" else np.moveaxis(stack, -1, 0)
    file = write_stack(tmp_path / "a.tif", written, planarconfig=planar, compression="zlib")
    assert np.array_equal(read_image(file), stack)
    with pytest.raises(S2MNetError, match=f"stack of {channels} channels"):
        read_mask(file)
    assert np.array_equal(to_show(stack), stack[..., channels // 2])


def test_the_channels_of_a_deep_stack_are_windowed_each_by_itself(tmp_path: Path) -> None:
    base = RNG.permutation(10_000).reshape(100, 100)
    stack = np.stack([base, base * 6, base + 50_000, np.zeros_like(base)], -1).astype(np.uint16)
    found = read_image(write_stack(tmp_path / "a.tif", stack, planarconfig="contig"))
    low, high = np.percentile(base, (0.5, 99.5))
    expected = np.clip((base - low) / (high - low), 0, 1) * 255
    for channel in range(3):
        assert np.abs(found[..., channel] - expected).max() <= 1
    assert not found[..., 3].any()


def test_alpha_is_no_channel(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, GREY])).save(tmp_path / "rgba.tif")
    assert np.array_equal(read_image(tmp_path / "rgba.tif"), RGB)
    Image.fromarray(np.dstack([GREY, GREY]), "LA").save(tmp_path / "la.tif")
    assert read_image(tmp_path / "la.tif").ndim == 2


def test_more_channels_than_can_be_meant_are_refused(tmp_path: Path) -> None:
    most = RNG.integers(0, 256, (4, 4, 64), dtype=np.uint8)
    assert np.array_equal(read_image(write_stack(tmp_path / "b.tif", most, planarconfig="contig")), most)
    colour = np.zeros((4, 4, 5), np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", colour, photometric="rgb", planarconfig="contig")
    with pytest.raises(S2MNetError, match=r"c\.tif has 5 channels; at most 4 are supported"):
        read_image(tmp_path / "c.tif")
    with pytest.raises(S2MNetError, match="65 channels"):
        read_image(write_stack(tmp_path / "a.tif", np.zeros((4, 4, 65), np.uint8), planarconfig="contig"))


def write_folder(root: Path, channels: list[int]) -> Path:
    """One pair for each number of channels."""
    for number, count in enumerate(channels):
        for split in ("train", "val"):
            name, mask = f"{split}{number}", np.zeros((40, 40), np.uint8)
            mask[10:20, 10:20] = 1
            stack = RNG.integers(0, 256, (40, 40, count), dtype=np.uint8)
            write_stack(root / split / "images" / f"{name}.tif", stack, planarconfig="contig")
            (root / split / "masks").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / split / "masks" / f"{name}.png")
    return root


def test_a_folder_of_stacks(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", [4, 4, 4])
    fingerprint = read_folder(find_cases(folder))
    assert fingerprint.channels == 4 and fingerprint.stored == [f"channel {n}" for n in (1, 2, 3, 4)]
    pixels = np.stack([read_image(file) for file in sorted((folder / "train" / "images").iterdir())]) / 255
    np.testing.assert_allclose([c.mean for c in fingerprint.intensity], pixels.mean((0, 1, 2)))
    np.testing.assert_allclose([c.std for c in fingerprint.intensity], pixels.std((0, 1, 2)))
    Dataset(channels=["flair", "t1", "t1ce", "t2"], neighbours=0).save(folder)
    assert read_folder(find_cases(folder)).stored == ["flair", "t1", "t1ce", "t2"]
    Dataset(channels=["flair", "t1"]).save(folder)
    with pytest.raises(S2MNetError, match=r"4 channels; dataset\.yaml names 2 \(flair, t1\)"):
        read_folder(find_cases(folder))
    with pytest.raises(S2MNetError, match=r"train1\.tif has 2 channels; most images have 4 channels"):
        read_folder(find_cases(write_folder(tmp_path / "b", [4, 2, 4])))


@given(st.integers(9, 20), st.integers(9, 20), st.integers(0, 2**31))
def test_without_a_limit_it_equalises_the_histogram_of_each_tile(height: int, width: int, seed: int) -> None:
    pattern = np.random.default_rng(seed).integers(40, 90, (height, width)).astype(np.uint8)
    found = clahe(np.tile(pattern, (8, 8)), clip=256)[height : 7 * height, width : 7 * width] / 255
    rank = np.searchsorted(np.sort(pattern.ravel()), pattern, side="right") / pattern.size  # the cumulative histogram
    stretched = (rank - rank.min()) / np.ptp(rank)
    np.testing.assert_allclose(found, np.tile(stretched, (6, 6)), atol=0.03)


def test_the_clip_limit_bounds_the_gain() -> None:
    # In an even slope nothing is to be equalised; a faint step on a flat ground is raised by at most the limit.
    step = np.full((128, 128), 100, np.uint8)
    step[:, 64:] = 102
    step[0, 0], step[0, 1] = 0, 255  # so that the stretching before it changes nothing
    gain = float(np.ptp(clahe(step)[32:96, 32:96].astype(float))) / 2
    assert gain <= 2 * 3  # the excess above the limit is spread over all levels, which adds to it
    assert np.array_equal(clahe(np.full((20, 20), 7, np.uint8)), np.full((20, 20), 7, np.uint8))


def test_contrast_is_the_difference_over_the_deviation() -> None:
    foreground = np.zeros((60, 60), bool)
    foreground[25:35, 25:35] = True
    noise = np.random.default_rng(0).normal(0, 10, (60, 60, 2))
    image = np.clip(100 + noise + foreground[..., None] * (0, 40), 0, 255).astype(np.uint8)
    none, clear = contrast(image, foreground)
    assert none < 0.5 and clear == pytest.approx(4, rel=0.15)
    assert contrast(image, np.zeros((60, 60), bool)) == [0, 0] == contrast(image, np.ones((60, 60), bool))


def test_the_thickness_is_that_of_the_thinnest_class(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(3):
            mask = np.zeros((80, 80), np.uint8)
            mask[10:40, 10:40], mask[60 + number : 64 + number, 5:75] = 1, 2
            for kind in ("images", "masks"):
                (tmp_path / split / kind).mkdir(parents=True, exist_ok=True)
                array = mask if kind == "masks" else RNG.integers(0, 255, (80, 80), dtype=np.uint8)
                Image.fromarray(array).save(tmp_path / split / kind / f"{split}{number}.png")
    Dataset(classes={0: "background", 1: "square", 2: "bar"}).save(tmp_path)
    fingerprint = read_folder(find_cases(tmp_path))
    assert fingerprint.thinnest == "bar" and fingerprint.thickness_px == pytest.approx(4, abs=0.6)
