"""NIfTI in and out, the axes of slices, grids and windows, against nibabel and closed forms."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Extension
from scipy.spatial.transform import Rotation

from s2mnet import S2MNetError
from s2mnet.volumes import Volume, check_same_grid, read_volume, to_uint8, write_nifti_mask


def affine_of(spacing: tuple[float, ...], angle: float = 0.0, origin: tuple[float, ...] = (-90, 20, 7)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", [angle, -2 * angle, 3 * angle]).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def write(path: Path, stored: np.ndarray, affine: np.ndarray | None, kind: type = nibabel.Nifti1Image) -> Path:
    nibabel.save(kind(stored, affine), path)
    return path


def grid(*shape: int, dtype: type = np.int16) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def shown(image: nibabel.Nifti1Image, along: int) -> np.ndarray:
    """Slices along an axis of the body (0 left-right, 1 back-front, 2 feet-head) as radiologists see them.

    By way of nibabel's RAS+ order: left at the right; the front at the top of axial slices, else the head.
    """
    canonical = nibabel.as_closest_canonical(image)
    ras = np.asarray(canonical.dataobj).reshape(canonical.shape[:3])
    if along == 2:
        return ras[::-1, ::-1].transpose(2, 1, 0)
    return ras[::-1, ::-1, ::-1].transpose(1, 2, 0) if along == 1 else ras[:, ::-1, ::-1].transpose(0, 2, 1)


@settings(max_examples=40)
@given(
    shape=st.tuples(*[st.integers(2, 6)] * 3),
    spacing=st.permutations([0.7, 1.3, 6.0]),
    angle=st.sampled_from([0.0, 0.3]),
    codes=st.sampled_from([("unknown", "scanner"), ("scanner", "unknown"), ("aligned", "scanner"), (0, 0)]),
    dtype=st.sampled_from([np.uint8, np.int16, np.float32, np.int32, ">i2"]),
    suffix=st.sampled_from([".nii", ".nii.gz", ".NII.GZ"]),
    extra=st.sampled_from([(), (1,)]),
)
def test_any_axis_order_there_and_back(
    tmp_path_factory: pytest.TempPathFactory, shape, spacing, angle, codes, dtype, suffix, extra
) -> None:
    folder = tmp_path_factory.mktemp("nifti")
    stored, affine = grid(*shape, dtype=dtype), affine_of(spacing, angle)
    image = nibabel.Nifti1Image(stored.reshape(shape + extra), affine)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1])
    nibabel.save(image, folder / f"a{suffix}")
    before = nibabel.load(folder / f"a{suffix}")

    volume = read_volume(folder / f"a{suffix}")
    along = spacing.index(6.0)
    assert len(volume.array) == shape[along] and volume.axes[0] == along
    if codes == (0, 0):  # nothing is known of the body, so the order of the file is kept
        others = [axis for axis in range(3) if axis != along]
        assert volume.axes == (along, others[1], others[0])
        assert np.array_equal(volume.array, stored.transpose(volume.axes))
    else:
        body = nibabel.as_closest_canonical(before).header.get_zooms()
        assert np.array_equal(volume.array, shown(before, np.argmax(body[:3])))
    assert volume.array.dtype == np.dtype(dtype).newbyteorder("=") and volume.array.dtype.isnative
    np.testing.assert_allclose(volume.spacing, [spacing[axis] for axis in volume.axes], rtol=1e-6)
    assert volume.shape == shape + extra and np.array_equal(volume.affine, before.affine)

    write_nifti_mask(volume.array % 7 == 0, volume, folder / f"mask{suffix}")
    after = nibabel.load(folder / f"mask{suffix}")
    assert after.shape == before.shape and after.get_data_dtype() == np.uint8
    assert np.array_equal(after.affine, before.affine)
    for one, other in zip(after.get_qform(coded=True), before.get_qform(coded=True), strict=True):
        assert np.array_equal(one, other)
    for one, other in zip(after.get_sform(coded=True), before.get_sform(coded=True), strict=True):
        assert np.array_equal(one, other)
    assert after.header.get_zooms() == before.header.get_zooms()
    assert np.array_equal(np.asarray(after.dataobj).reshape(shape), stored % 7 == 0)
    check_same_grid(volume, read_volume(folder / f"mask{suffix}"))


@pytest.mark.parametrize(
    ("shape", "spacing", "along"),
    [
        ((4, 5, 6), (1, 1, 1), 2), ((4, 5, 6), (2, 2, 1), 2), ((4, 5, 6), (2, 1, 2), 1), ((4, 5, 6), (2, 1.9995, 1), 2),
        ((4, 5, 6), (2, 1.99, 1), 0),
        ((4, 5, 6), (1.5, 1.5, 10), 2), ((4, 5, 6), (3, 1, 1), 0), ((4, 5, 6), (0.5, 1, 1), 0),
        ((4, 5, 6), (1, 3, 2), 1),
        ((9, 9, 1), (1, 1, 0.1), 2), ((1, 9, 9), (1, 1, 5), 0),
    ],
)  # fmt: skip
def test_slices_run_along_the_odd_axis_else_the_coarsest(tmp_path: Path, shape, spacing, along: int) -> None:
    volume = read_volume(write(tmp_path / "a.nii", grid(*shape), affine_of(spacing)))
    assert volume.axes[0] == along
    assert np.array_equal(volume.array, shown(nibabel.load(tmp_path / "a.nii"), along))


@pytest.mark.parametrize("spacing", [(0.9, 0.9, 0.6), (0.8, 0.9, 5), (1, 1, 1)], ids=["thin", "thick", "isotropic"])
@pytest.mark.parametrize("order", ["RAS", "LPS", "LAS", "PIR", "SAL", "AIR", "ILP"])
def test_one_scan_has_one_array_in_any_order_of_its_axes(tmp_path: Path, spacing: tuple, order: str) -> None:
    image = nibabel.Nifti1Image(grid(4, 5, 6), affine_of(spacing, 0.1))
    other = image.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(tuple(order))
        )
    )
    for name, each in (("one.nii", image), ("other.nii", other)):
        nibabel.save(each, tmp_path / name)
    one, two = read_volume(tmp_path / "one.nii"), read_volume(tmp_path / "other.nii")
    assert nibabel.aff2axcodes(two.affine) == tuple(order)
    assert np.array_equal(one.array, two.array) and np.allclose(one.spacing, two.spacing)
    write_nifti_mask(two.array % 7, two, tmp_path / "mask.nii")
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "mask.nii").dataobj), np.asarray(other.dataobj) % 7)
    for orientation in ("SAR", "LIP"):  # that of a model
        given = read_volume(tmp_path / "other.nii", orientation)
        ras = np.asarray(image.dataobj)
        assert np.array_equal(
            given.array,
            ras.transpose(2, 1, 0) if orientation == "SAR" else ras[::-1, ::-1, ::-1].transpose(0, 2, 1),
        )
        assert np.array_equal(given.in_file_order(given.array), np.asarray(other.dataobj))


def test_unknown_voxel_sizes_are_said_to_be_unknown(tmp_path: Path) -> None:
    content = bytearray(nibabel.Nifti1Image(grid(4, 5, 6), np.diag([9.0, 1, 1, 1])).to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]))
    header["pixdim"][1:4] = [9, np.nan, 1]
    header["sform_code"] = 0
    content[:348] = header.binaryblock
    (tmp_path / "a.nii").write_bytes(content)
    volume = read_volume(tmp_path / "a.nii")
    assert volume.axes == (2, 1, 0) and volume.spacing == (1, None, 9)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 0.001), ("mm", 1), ("meter", 1000), ("unknown", 1)])
def test_voxel_sizes_in_other_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    image = nibabel.Nifti1Image(grid(4, 5, 6), np.diag([2.0, 4.0, 8.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii").spacing, np.array([8, 4, 2]) * factor)


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


def test_image_and_mask_must_share_their_grid(tmp_path: Path) -> None:
    affine = affine_of((1, 1, 3), 0.2)
    image = read_volume(write(tmp_path / "image.nii", grid(40, 50, 6), affine))
    moved, flipped = affine.copy(), affine @ np.diag([-1, 1, 1, 1])
    moved[0, 3] += 1
    turned = affine @ affine_of((1, 1, 1), 0.01, (0, 0, 0))
    for name, shape, other in [
        ("shape.nii", (50, 40, 6), affine),
        ("moved.nii", (40, 50, 6), moved),
        ("flipped.nii", (40, 50, 6), flipped),
        ("turned.nii", (40, 50, 6), turned),
    ]:
        mask = read_volume(write(tmp_path / name, grid(*shape), other))
        with pytest.raises(S2MNetError, match=r"the grid of image\.nii") as caught:
            check_same_grid(image, mask)
        assert name in caught.value.where
    for name, step in [("rounded.nii", 1e-6), ("near.nii", 0.04)]:  # of a voxel edge of 1 mm: a twentieth is the bound
        shifted = affine.copy()
        shifted[1, 3] += step
        check_same_grid(image, read_volume(write(tmp_path / name, grid(40, 50, 6), shifted)))
    shifted[1, 3] = affine[1, 3] + 0.06
    with pytest.raises(S2MNetError, match=r"0\.06 mm away from the grid of image\.nii"):
        check_same_grid(image, read_volume(write(tmp_path / "far.nii", grid(40, 50, 6), shifted)))
    check_same_grid(image, image)


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


def test_voxel_sizes_that_contradict_the_affine_are_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(grid(4, 5, 6), affine_of((0.5, 0.5, 2)))
    image.set_qform(None, 0)
    for sizes, refused in [((0.5, 0.5, 2.01), False), ((1, 1, 1), True), ((0.5, 0.5, 2.1), True)]:
        image.header["pixdim"][1:4] = sizes
        nibabel.save(image, tmp_path / "a.nii")
        if refused:
            with pytest.raises(S2MNetError, match=r"\(pixdim\) of .* mm, and by its affine .* of 0\.5 × 0\.5 × 2 mm"):
                read_volume(tmp_path / "a.nii")
        else:  # rounded; the affine counts
            assert read_volume(tmp_path / "a.nii").spacing == pytest.approx((2, 0.5, 0.5))


def test_two_affines_that_swap_left_and_right_are_refused(tmp_path: Path) -> None:
    """Readers differ in which of the two they believe."""
    image = nibabel.Nifti1Image(grid(4, 5, 6), affine_of((1, 1, 3)))
    image.set_qform(affine_of((1, 1, 3), 0.05), "scanner")  # another position, as after registration
    nibabel.save(image, tmp_path / "a.nii")
    assert len(read_volume(tmp_path / "a.nii").array) == 6
    image.set_qform(affine_of((1, 1, 3)) @ np.diag([-1, 1, 1, 1]), "scanner")
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(S2MNetError, match="axes that run to RAS by its sform and to LAS by its qform"):
        read_volume(tmp_path / "a.nii")


def test_an_affine_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    content = bytearray(nibabel.Nifti1Image(grid(4, 5, 6), affine_of((1, 1, 3))).to_bytes())
    content[280:284] = np.float32(np.nan).tobytes()  # the first number of the sform
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(S2MNetError, match="is not finite"):
        read_volume(tmp_path / "a.nii")


def test_masks_with_other_voxel_sizes_or_no_position_are_refused(tmp_path: Path) -> None:
    image = read_volume(write(tmp_path / "image.nii", grid(4, 5, 6), affine_of((1, 1, 3))))
    other = nibabel.Nifti1Image(grid(4, 5, 6), affine_of((1, 1, 3)))
    other.header["pixdim"][1:4] = (5, 1, 1)
    nibabel.save(other, tmp_path / "pixdim.nii")
    with pytest.raises(S2MNetError, match=r"pixdim\.nii has voxel sizes"):
        check_same_grid(image, read_volume(tmp_path / "pixdim.nii"))
    with pytest.raises(S2MNetError, match="along axis 0"):
        check_same_grid(image, read_volume(tmp_path / "image.nii", "RIP"))
    nowhere = Volume(Path("x"), image.array, image.spacing, image.axes, image.shape, None)
    for a, b in [(image, nowhere), (nowhere, image)]:
        with pytest.raises(S2MNetError, match="unknown"):
            check_same_grid(a, b)
    check_same_grid(nowhere, nowhere)


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
