"""Planes, orders, voxel sizes and positions of NIfTI volumes, against nibabel."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from niftis import affine_of, grid, shown, write

from s2mnet import S2MNetError
from s2mnet.volumes import Volume, check_same_grid, read_volume, write_nifti_mask


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
