"""DICOM files and series, against the equations of the standard, pydicom's own windowing and nibabel's reader."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicoms import along_z, item, stack_of, write, write_series
from scipy.spatial.transform import Rotation

from s2mnet import S2MNetError
from s2mnet.volumes import read_volume, write_nifti_mask

pydicom = pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom]'")

LPS_TO_RAS = np.array([-1, -1, 1])
AXIAL = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}


@pytest.mark.parametrize("tilt", [0.0, 1.5], ids=["straight", "gantry tilt"])
@pytest.mark.parametrize("forward", [True, False])
def test_every_voxel_lies_where_its_file_says(tmp_path: Path, tilt: float, forward: bool) -> None:
    turned = Rotation.from_euler("xyz", [0.4, -0.9, 2.0]).as_matrix().T
    row, column, normal = turned
    stack, spacing = stack_of(6), (0.8, 0.5)
    step = (normal * 3.0 + column * tilt) * (1 if forward else -1)
    positions = [np.array([12.0, -40, 100]) + k * step for k in range(6)]
    write_series(tmp_path, stack, positions, [*row, *column], spacing)
    volume = read_volume(tmp_path)
    assert volume.axes[0] == 2 and volume.shape == (7, 5, 6)
    spacing_of = dict(zip(volume.axes, volume.spacing, strict=True))
    np.testing.assert_allclose([spacing_of[axis] for axis in range(3)], (0.5, 0.8, np.hypot(3, tilt)), atol=1e-5)
    slices = volume.in_file_order(volume.array).transpose(2, 1, 0)
    for k, j, i in np.ndindex(6, 5, 7):
        source = next(s for s in range(6) if np.array_equal(stack[s], slices[k]))
        assert source == (k if forward else 5 - k)
        patient = positions[source] + row * spacing[1] * i + column * spacing[0] * j  # PS3.3 C.7.6.2.1.1
        np.testing.assert_allclose((volume.affine @ [i, j, k, 1])[:3], LPS_TO_RAS * patient, atol=1e-4)
    write_nifti_mask(volume.array, volume, tmp_path / "mask.nii.gz")
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), slices.transpose(2, 1, 0))
    np.testing.assert_allclose(mask.affine, volume.affine, rtol=1e-6)
    assert mask.header["sform_code"] == 1 and mask.header.get_xyzt_units()[0] == "mm"
    assert mask.header["qform_code"] == (0 if tilt else 1)  # a qform holds no shear, so that it would contradict
    if not tilt:
        np.testing.assert_allclose(mask.get_qform(), volume.affine, atol=1e-4)


@pytest.mark.parametrize("step", [0.625, 0.977, 5.0], ids=["thin", "isotropic", "thick"])
@pytest.mark.parametrize(
    "orientation", [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1), (-1, 0, 0, 0, -1, 0)],
    ids=["axial", "coronal", "sagittal", "feet first prone"],
)  # fmt: skip
def test_one_scan_as_dicom_and_as_nifti_is_one_array(tmp_path: Path, step: float, orientation: tuple) -> None:
    """In the same voxel order, and as converters write it, with rows reversed; thin slices too, as of a modern CT."""
    normal = np.cross(orientation[:3], orientation[3:])
    positions = [np.array([12.0, -40, 100]) + k * normal * step for k in range(6)]
    write_series(tmp_path / "scan", stack_of(6), positions, orientation, (0.977, 0.977))
    scan = read_volume(tmp_path / "scan")
    grid = scan.in_file_order(scan.array)
    assert np.array_equal(grid.transpose(2, 1, 0), stack_of(6))
    flip = np.diag([1, -1, 1, 1.0])
    flip[1, 3] = grid.shape[1] - 1
    for name, stored, affine in [("same", grid, scan.affine), ("rows", grid[:, ::-1], scan.affine @ flip)]:
        nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / f"{name}.nii")
        volume = read_volume(tmp_path / f"{name}.nii")
        assert np.array_equal(volume.array, scan.array)
        assert volume.spacing == pytest.approx(scan.spacing)
    if step != 0.977:  # the plane is that of the scanner
        assert scan.axes[0] == 2
    if orientation == (1, 0, 0, 0, 1, 0):  # the usual order is the order on display
        assert np.array_equal(scan.array, stack_of(6))


def test_one_folder_may_hold_other_files(tmp_path: Path) -> None:
    write_series(tmp_path / "deep" / "er", stack_of(3), along_z(3))
    (tmp_path / "README.txt").write_text("exported")
    (tmp_path / "DICOMDIR").write_bytes(b"x" * 500)
    (tmp_path / ".hidden.dcm").write_bytes(b"")
    report = write(tmp_path / "report.dcm", stack_of(1)[0], Modality="SR", SeriesInstanceUID="9")
    dataset = pydicom.dcmread(report)
    del dataset.PixelData, dataset.Rows, dataset.Columns
    dataset.save_as(report)
    assert np.array_equal(read_volume(tmp_path).array, stack_of(3))
    with pytest.raises(S2MNetError, match=r"without pixels \(modality SR\)"):
        read_volume(report)
    (tmp_path / "broken.dcm").write_bytes(b"")
    with pytest.raises(S2MNetError, match="damaged") as caught:
        read_volume(tmp_path)
    assert "broken.dcm" in caught.value.where


def test_without_positions_the_instance_number_orders(tmp_path: Path) -> None:
    stack = stack_of(4)
    for k, number in enumerate([9, 10, 2, 11]):
        write(tmp_path / f"{k}", stack[k], InstanceNumber=number, PixelSpacing=[2, 3])
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.array, stack[[2, 0, 1, 3]])
    assert volume.affine is None and volume.spacing == (None, 2, 3)
    write_nifti_mask(volume.array, volume, tmp_path / "m.nii")
    assert nibabel.load(tmp_path / "m.nii").header.get_zooms() == (3, 2, 1)
    write(tmp_path / "4", stack[0], InstanceNumber=9, PixelSpacing=[2, 3])
    with pytest.raises(S2MNetError, match="InstanceNumber"):
        read_volume(tmp_path)


def test_a_film_at_one_place_keeps_the_order_of_time(tmp_path: Path) -> None:
    write_series(tmp_path, stack_of(4), [[1, 2, 3]] * 4, SliceThickness=8)
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.array, stack_of(4)) and volume.spacing[0] is None
    expected = [[-1, 0, 0, -1], [0, -1, 0, -2], [0, 0, 8, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, expected)
    write_series(tmp_path / "down", stack_of(4), [[1, 2, 3]] * 4, (1, 0, 0, 0, -1, 0))  # seen from the head
    assert np.array_equal(read_volume(tmp_path / "down").array, stack_of(4)[:, ::-1])  # turned, and not reversed


def test_one_slice_has_its_stated_thickness(tmp_path: Path) -> None:
    write_series(tmp_path, stack_of(1), along_z(1), SliceThickness=5, SpacingBetweenSlices=6)
    volume = read_volume(tmp_path / "001.dcm")
    assert volume.spacing == (6, 1, 1) and volume.affine[2, 2] == 6
    write_series(tmp_path / "down", stack_of(1), along_z(1), SpacingBetweenSlices=-4)  # the sign is a direction
    assert read_volume(tmp_path / "down").spacing == (4, 1, 1)


def test_directions_that_are_no_unit_vectors_are_not_believed(tmp_path: Path) -> None:
    write_series(tmp_path, stack_of(3), along_z(3), [1.1, 0, 0, 0, 1, 0])
    volume = read_volume(tmp_path)
    assert volume.affine is None and volume.spacing == (None, 1, 1)


def test_slices_are_at_one_place_within_a_hundredth_of_a_millimetre(tmp_path: Path) -> None:
    write_series(tmp_path / "thin", stack_of(4), along_z(4, 0.05))  # micro-CT
    assert read_volume(tmp_path / "thin").spacing[0] == pytest.approx(0.05)
    write_series(tmp_path / "film", stack_of(4), along_z(4, 0.001))
    assert read_volume(tmp_path / "film").spacing[0] is None


def test_one_slice_off_the_even_grid(tmp_path: Path) -> None:
    """By 15 % of the step: read. By 30 %: refused, since its voxels would lie elsewhere."""
    for share, fits in [(0.15, True), (0.3, False)]:
        positions = along_z(6, 2.0)
        positions[2][2] += share * 2.0
        folder = write_series(tmp_path / f"{share}", stack_of(6), positions)
        if fits:
            assert read_volume(folder).spacing[0] == pytest.approx(2.0)
        else:
            with pytest.raises(S2MNetError, match="not evenly spaced"):
                read_volume(folder)


def test_positions_may_be_rounded_but_none_may_be_missing(tmp_path: Path) -> None:
    rounded = [[0, 0, round(0.625 * k, 1)] for k in range(30)]
    write_series(tmp_path / "rounded", stack_of(30), rounded)
    assert read_volume(tmp_path / "rounded").spacing[0] == pytest.approx(0.625, abs=0.003)
    for n, gone in [(20, 10), (20, 1), (4, 1), (20, 18)]:
        folder = tmp_path / f"{n} {gone}"
        write_series(folder, stack_of(n), along_z(n))
        (folder / f"{n - gone:03}.dcm").unlink()
        with pytest.raises(S2MNetError, match=r"5\.00 mm between") as caught:
            read_volume(folder)
        for neighbour in (n - gone + 1, n - gone - 1):
            assert f"{neighbour:03}.dcm" in str(caught.value)
    write_series(tmp_path / "twice", stack_of(6), along_z(3) + along_z(3))
    with pytest.raises(S2MNetError, match=r"two slices at one place \(00\d\.dcm and 00\d\.dcm\)"):
        read_volume(tmp_path / "twice")


def test_series_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    for uid, name in [("1.1", "T1 axial"), ("1.2", "T2 axial")]:
        write_series(tmp_path / uid, stack_of(3), along_z(3), SeriesInstanceUID=uid, SeriesDescription=name)
    with pytest.raises(S2MNetError, match="2 DICOM series") as caught:
        read_volume(tmp_path)
    assert all(name in str(caught.value) for name in ("T1 axial", "T2 axial", "3 files"))


@pytest.mark.parametrize(
    ("elements", "size", "word"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, (5, 7), "several orientations"),
        ({"PixelSpacing": [2, 2]}, (5, 7), "pixel spacings"),
        ({}, (7, 5), "several sizes"),
    ],
    ids=["orientation", "pixel size", "size"],
)
def test_localizers_are_refused(tmp_path: Path, elements: dict, size: tuple[int, int], word: str) -> None:
    write_series(tmp_path, stack_of(3), along_z(3))
    write(tmp_path / "scout.dcm", np.zeros(size, np.int16), **{"ImagePositionPatient": [0, 0, 90], **AXIAL, **elements})
    with pytest.raises(S2MNetError, match=word):
        read_volume(tmp_path)


def test_what_is_no_stack_of_images_is_refused(tmp_path: Path) -> None:
    pixels = stack_of(1)[0]
    write(tmp_path / "seg.dcm", pixels, Modality="SEG")
    write(tmp_path / "mosaic.dcm", pixels, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    write(tmp_path / "hsv.dcm", pixels, PhotometricInterpretation="HSV")
    whole = write(tmp_path / "cut.dcm", pixels).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-20])
    (tmp_path / "page.dcm").write_bytes(b"<html>" * 100)
    for name, word in [
        ("seg", "segmentation"), ("mosaic", "mosaic"), ("hsv", "HSV"), ("cut", "decoded"), ("page", "damaged"),
    ]:  # fmt: skip
        with pytest.raises(S2MNetError, match=word) as caught:
            read_volume(tmp_path / f"{name}.dcm")
        assert f"{name}.dcm" in caught.value.where
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.txt").write_text("x")
    with pytest.raises(S2MNetError, match="1 files, none of them"):
        read_volume(tmp_path / "none")


def test_an_ultrasound_film_has_the_spacing_of_its_region(tmp_path: Path) -> None:
    film = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3)).astype(np.uint8)

    def region(unit: int) -> object:
        return item(
            PhysicalUnitsXDirection=unit, PhysicalUnitsYDirection=unit, PhysicalDeltaX=0.03, PhysicalDeltaY=-0.02
        )

    volume = read_volume(write(tmp_path / "us.dcm", film, 5, Modality="US", SequenceOfUltrasoundRegions=[region(3)]))
    assert np.array_equal(volume.array, film) and volume.affine is None
    assert volume.spacing[0] is None and volume.spacing[1:] == pytest.approx((0.2, 0.3))
    doppler = write(tmp_path / "pw.dcm", film, 5, SequenceOfUltrasoundRegions=[region(3), region(4)])
    assert read_volume(doppler).spacing == (None, None, None)


def test_frames_of_an_enhanced_file_are_ordered_and_rescaled(tmp_path: Path) -> None:
    stack, places = stack_of(4), [30, 10, 40, 20]
    groups = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=[0, 0, place])],
            PixelValueTransformationSequence=[item(RescaleSlope=1 + k, RescaleIntercept=5)],
            FrameVOILUTSequence=[item(WindowCenter=100.5, WindowWidth=201)],
        )
        for k, place in enumerate(places)
    ]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.25], SliceThickness=3)],
    )
    file = write(tmp_path / "mr.dcm", stack, 4, PerFrameFunctionalGroupsSequence=groups,
                 SharedFunctionalGroupsSequence=[shared])  # fmt: skip
    volume = read_volume(file)
    order = [1, 3, 0, 2]
    np.testing.assert_allclose(volume.array, [stack[k] * (1.0 + k) + 5 for k in order])
    assert volume.spacing == (10, 0.5, 0.25) and volume.window == (100, 200)
    np.testing.assert_allclose(volume.affine[:3, 3], [0, 0, 10])
    write(tmp_path / "again.dcm", stack, 4)
    with pytest.raises(S2MNetError, match="4 frames among 2 files"):
        read_volume(tmp_path)


@pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental")
def test_a_philips_volume_agrees_with_nibabel(tmp_path: Path) -> None:
    packed = Path(nibabel.__file__).parent / "nicom" / "tests" / "data" / "philips_mprage.dcm.gz"
    if not packed.is_file():
        pytest.skip("this nibabel came without its test data")
    (tmp_path / "mprage.dcm").write_bytes(gzip.decompress(packed.read_bytes()))
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    oracle = wrapper_from_file(tmp_path / "mprage.dcm")
    volume = read_volume(tmp_path / "mprage.dcm")
    reverse = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, volume.shape[2] - 1], [0, 0, 0, 1]])
    expected = np.diag([-1, -1, 1, 1]) @ oracle.affine[:, [1, 0, 2, 3]] @ reverse  # it counts rows first, slices down
    np.testing.assert_allclose(volume.affine, expected, atol=1e-2)  # 176 rounded steps
    assert oracle.image_shape == (volume.shape[1], volume.shape[0], volume.shape[2])
