"""NIfTI in and out, and windows, against nibabel and closed forms."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension
from niftis import affine_of, grid, shown, write

from s2mnet import S2MNetError
from s2mnet.volumes import Volume, read_volume, to_uint8, write_nifti_mask


def test_the_scale_of_the_header_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(grid(4, 5, 6), affine_of((1, 1, 3)))
    image.header.set_slope_inter(0.5, -1000)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, shown(nibabel.load(tmp_path / "a.nii.gz"), 2), atol=1e-4)
    write_nifti_mask(np.full(volume.array.shape, 3), volume, tmp_path / "m.nii.gz")
    assert (nibabel.load(tmp_path / "m.nii.gz").get_fdata() == 3).all()  # the scale is not the mask's


def test_colour_and_nifti_2_and_a_single_slice(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3)).astype(np.uint8)
    stored = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    volume = read_volume(write(tmp_path / "rgb.nii", stored, affine_of((4, 1, 1)), nibabel.Nifti2Image))
    assert volume.is_rgb and np.array_equal(volume.array, colours[:, ::-1, ::-1].transpose(0, 2, 1, 3))
    assert np.array_equal(to_uint8(volume, (3, 4)), volume.array)
    write_nifti_mask(volume.array[..., 0].astype(np.int64) + 300, volume, tmp_path / "m.nii")
    mask = nibabel.load(tmp_path / "m.nii")
    assert isinstance(mask, nibabel.Nifti2Image) and mask.get_data_dtype() == np.uint16
    assert np.array_equal(np.asarray(mask.dataobj), colours[..., 0].astype(int) + 300)

    flat = read_volume(write(tmp_path / "flat.nii", grid(7, 5), affine_of((1, 1, 1))))
    assert np.array_equal(flat.array, grid(7, 5)[::-1, ::-1].T[None])
    write_nifti_mask(flat.array, flat, tmp_path / "m.nii")
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "m.nii").dataobj), grid(7, 5))


def test_the_mask_takes_over_neither_extensions_nor_the_display_range(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(grid(4, 5, 6), affine_of((1, 1, 3)))
    image.header.extensions.append(Nifti1Extension("comment", b"Doe, Jane"))
    image.header["cal_max"] = 4000
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    write_nifti_mask(volume.array > 3, volume, tmp_path / "m.nii")
    assert b"Doe" in (tmp_path / "a.nii").read_bytes() and b"Doe" not in (tmp_path / "m.nii").read_bytes()
    mask = nibabel.load(tmp_path / "m.nii")
    assert mask.header["cal_max"] == 0 and mask.header.get_intent()[0] == "label"
    assert len(nibabel.load(tmp_path / "a.nii").header.extensions) == len(volume.header.extensions) == 1


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    whole = gzip.compress(nibabel.Nifti1Image(noise, affine_of((1, 1, 3))).to_bytes())
    flat = gzip.decompress(whole)
    header = nibabel.Nifti1Header()
    header.set_data_shape((1000, 1000, 1001))
    header["vox_offset"] = 352
    cases = {
        "cut.nii.gz": (whole[: len(whole) // 2], "damaged"),
        "cut_early.nii.gz": (whole[:40], "damaged"),
        "cut.nii": (flat[: len(flat) // 2], "damaged"),
        "page.nii": (b"<html>Please log in</html>" * 40, "damaged"),
        "empty.nii.gz": (b"", "0 bytes"),
        "huge.nii": (header.binaryblock + bytes(100), "million"),
        "notes.txt": (b"hello", "another kind"),
        "a.png": (b"\x89PNG" + bytes(200), "another kind"),
    }
    for name, (content, word) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(S2MNetError, match=word) as caught:
            read_volume(tmp_path / name)
        assert name in caught.value.where
    with pytest.raises(S2MNetError, match="no such file"):
        read_volume(tmp_path / "nowhere.nii")


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        (grid(4, 5, 6, 2), "4 × 5 × 6 × 2"),
        (grid(4, 5, 1, 1, 3), "5 axes"),
        (grid(7), "1 axes"),
        (np.array([[[1.0, np.nan], [np.inf, 0.0]]], np.float32), "2 of 4 values"),
        (np.zeros((3, 3, 3), np.complex64), "complex64"),
    ],
    ids=["4-D", "5-D", "1-D", "not finite", "complex"],
)
def test_what_is_no_grey_or_colour_volume_is_refused(tmp_path: Path, stored: np.ndarray, word: str) -> None:
    with pytest.raises(S2MNetError, match=word):
        read_volume(write(tmp_path / "a.nii", stored, np.eye(4)))


@pytest.mark.parametrize("name", ["flat.nii.gz", "zipped.nii", "zipped.NII"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_the_content_says_whether_a_file_is_compressed(tmp_path: Path, name: str, kind: type) -> None:
    content = kind(grid(4, 5, 6), affine_of((1, 1, 3))).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.startswith("zipped") else content)
    (tmp_path / "right.nii").write_bytes(content)
    volume, right = read_volume(tmp_path / name), read_volume(tmp_path / "right.nii")
    assert np.array_equal(volume.array, right.array) and np.array_equal(volume.affine, right.affine)


def test_colours_in_a_fifth_axis_are_read(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 1, 3)).astype(np.uint8)
    volume = read_volume(write(tmp_path / "a.nii", colours, affine_of((1, 1, 3))))
    assert volume.is_rgb and np.array_equal(volume.in_file_order(volume.array[..., 1]), colours[..., 0, 1])
    write_nifti_mask(volume.array[..., 0], volume, tmp_path / "m.nii")
    mask = nibabel.load(tmp_path / "m.nii")
    assert mask.shape == (4, 5, 6) and np.array_equal(np.asarray(mask.dataobj), colours[..., 0, 0])


@pytest.mark.parametrize("shape", [(4, 5, 6, 2), (4, 5, 6, 1, 3), (4, 5, 1, 1, 3)])
def test_the_way_to_one_volume_that_the_message_shows_works(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(S2MNetError) as caught:
        read_volume(write(tmp_path / "a.nii", grid(*shape), affine_of((1, 1, 3))))
    code = caught.value.fix.partition("e.g. ")[2].removesuffix(".")
    image = eval(code, {"nibabel": nibabel, "np": np, "image": nibabel.load(tmp_path / "a.nii")})
    nibabel.save(image, tmp_path / "b.nii")
    assert read_volume(tmp_path / "b.nii").shape == shape[:3]


def test_masks_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    volume = read_volume(write(tmp_path / "a.nii", grid(4, 5, 6), affine_of((1, 1, 3))))
    good = np.zeros(volume.array.shape, np.uint8)
    (tmp_path / "file").write_text("")
    for mask, path, word in [
        (good.transpose(2, 1, 0), "m.nii", "shape"),
        (good.astype(np.float32), "m.nii", "float32"),
        (good.astype(int) - 1, "m.nii", "-1"),
        (good.astype(int) + 65536, "m.nii", "65536"),
        (good, "m.png", "m.png"),
        (good, "file/m.nii", "written to"),
    ]:
        with pytest.raises(S2MNetError, match=word):
            write_nifti_mask(mask, volume, tmp_path / path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nii", "file"]


def volume_of(array: np.ndarray, window: tuple[float, float] | None = None) -> Volume:
    return Volume(Path("a.nii"), array, (1, 1, 1), (2, 1, 0), array.shape[:3][::-1], None, None, window)


def test_a_window_is_a_clipped_line() -> None:
    values = np.random.default_rng(0).normal(0, 500, (3, 20, 30)).astype(np.float32)
    assert np.array_equal(
        to_uint8(volume_of(values), (40, 400)), np.rint(np.interp(values, [-160, 240], [0, 255])).astype(np.uint8)
    )
    assert np.array_equal(to_uint8(volume_of(values, (40, 400))), to_uint8(volume_of(values), (40, 400)))
    assert np.array_equal(to_uint8(volume_of(values, (0, 9)), (40, 400)), to_uint8(volume_of(values), (40, 400)))
    limits = [np.quantile(values, 0.005), np.quantile(values, 0.995)]
    expected = np.interp(values, limits, [0, 255])
    np.testing.assert_allclose(to_uint8(volume_of(values)), expected, atol=0.51)
    wide = np.array([-(2**31), 0, 2**31 - 1], np.int32).reshape(1, 1, 3)
    assert to_uint8(volume_of(wide), (0, 2.0**32)).tolist() == [[[0, 128, 255]]]


def test_volumes_that_need_no_window() -> None:
    assert not to_uint8(volume_of(np.full((2, 3, 4), 900, np.int16))).any()
    mostly = np.zeros((1, 100, 100), np.int16)
    mostly[0, 0, 0] = 7
    assert to_uint8(volume_of(mostly)).max() == 255  # percentiles alone would make it constant
    eight = np.array([[[3, 100, 104]]], np.uint8)
    assert np.array_equal(to_uint8(volume_of(eight)), eight)
    assert to_uint8(volume_of(eight), (100, 8)).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("window", [(0, 0), (0, -1), (float("nan"), 1), (0, float("inf"))])
def test_windows_of_no_width_are_refused(window: tuple[float, float]) -> None:
    with pytest.raises(S2MNetError, match="width above 0"):
        to_uint8(volume_of(np.zeros((1, 2, 2), np.int16)), window)
