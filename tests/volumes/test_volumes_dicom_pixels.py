"""Intensities, windows and colours of DICOM, against the equations of the standard and pydicom's own windowing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicoms import along_z, item, stack_of, write, write_series

from s2mnet.volumes import read_volume, to_uint8

pydicom = pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom]'")

AXIAL = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}


def test_stored_values_become_those_of_the_modality(tmp_path: Path) -> None:
    stored = stack_of(1, dtype=np.uint16)[0]
    volume = read_volume(write(tmp_path / "ct.dcm", stored, RescaleSlope=1, RescaleIntercept=-1024))
    assert volume.array.dtype.kind == "i" and np.array_equal(volume.array[0], stored.astype(int) - 1024)
    stack = stack_of(2, dtype=np.uint16)
    for k, slope in enumerate([1, 0.25]):  # PET scales each slice by its own
        scale = {"RescaleSlope": slope, "RescaleIntercept": 3}
        write(tmp_path / "pet" / f"{k}.dcm", stack[k], ImagePositionPatient=[0, 0, 4 * k], **AXIAL, **scale)
    volume = read_volume(tmp_path / "pet")
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, [stack[0] + 3.0, stack[1] * 0.25 + 3])


def test_a_lookup_table_of_the_modality_is_applied(tmp_path: Path) -> None:
    table = np.random.default_rng(1).permutation(1000).astype(np.uint16)
    lookup = item(LUTDescriptor=[1000, 0, 16], ModalityLUTType="US", LUTData=table.tobytes())
    stored = stack_of(1, dtype=np.uint16)[0]
    volume = read_volume(write(tmp_path / "a.dcm", stored, ModalityLUTSequence=[lookup]))
    assert np.array_equal(volume.array[0], table[stored])


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
@pytest.mark.parametrize("slope", [1, 0.5])
def test_monochrome1_is_the_negative(tmp_path: Path, dtype: type, slope: float) -> None:
    low, high = (0, 4095) if dtype == np.uint16 else (-2048, 2047)
    stored = np.random.default_rng(0).integers(low, high + 1, (40, 50)).astype(dtype)
    common = {"BitsStored": 12, "RescaleSlope": slope, "RescaleIntercept": -7, "WindowCenter": 300, "WindowWidth": 512}
    negative = read_volume(write(tmp_path / "a.dcm", stored, PhotometricInterpretation="MONOCHROME1", **common))
    positive = read_volume(write(tmp_path / "b.dcm", stored, **common))
    np.testing.assert_allclose(negative.array, (low + high) * slope - 14 - positive.array.astype(float))
    shown = to_uint8(positive)
    assert 0 < (shown == 0).mean() < 1 and len(np.unique(shown)) > 50
    assert np.abs(to_uint8(negative).astype(int) - (255 - shown)).max() <= 1  # halves are rounded to even
    percentiles = 255 - to_uint8(positive, (0, 1000)).astype(int)
    assert np.abs(to_uint8(negative, ((low + high) * slope - 14, 1000)).astype(int) - percentiles).max() <= 1


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", None])
def test_the_window_is_that_of_the_standard(tmp_path: Path, function: str | None) -> None:
    from pydicom.pixels import apply_windowing

    stored = np.arange(4096).astype(np.uint16).reshape(64, 64)
    extra = {} if function is None else {"VOILUTFunction": function}
    file = write(tmp_path / "a.dcm", stored, BitsStored=12, WindowCenter=[900, 1], WindowWidth=[301, 1], RescaleSlope=1,
                 RescaleIntercept=0, **extra)  # fmt: skip
    expected = apply_windowing(stored, pydicom.dcmread(file)) / 4095 * 255
    np.testing.assert_allclose(to_uint8(read_volume(file))[0], expected, atol=0.51)


def test_a_window_counts_if_all_slices_agree(tmp_path: Path) -> None:
    write_series(tmp_path, stack_of(3), along_z(3), WindowCenter=40.5, WindowWidth=401)
    assert read_volume(tmp_path).window == (40, 400)
    other = {"ImagePositionPatient": along_z(4)[3], "WindowCenter": 50, "WindowWidth": 401, **AXIAL}
    write(tmp_path / "other.dcm", stack_of(1)[0], **other)
    volume = read_volume(tmp_path)
    assert len(volume.array) == 4 and volume.window is None


def ybr(rgb: np.ndarray) -> np.ndarray:
    """YBR_FULL of PS3.3 C.7.6.3.1.2."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return np.clip(np.rint(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)


def test_colour_becomes_rgb(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    volume = read_volume(write(tmp_path / "rgb.dcm", rgb))
    assert volume.is_rgb and np.array_equal(to_uint8(volume)[0], rgb)
    deep = rgb.astype(np.uint16) * 256 + 77
    assert np.array_equal(read_volume(write(tmp_path / "deep.dcm", deep)).array[0], rgb)
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)).reshape(6, 8, 3)
    assert np.array_equal(read_volume(write(tmp_path / "planes.dcm", planes, PlanarConfiguration=1)).array[0], rgb)
    full = read_volume(write(tmp_path / "ybr.dcm", ybr(rgb), PhotometricInterpretation="YBR_FULL")).array[0]
    assert np.abs(full.astype(int) - rgb).max() <= 3
    rgb[:, 1::2] = rgb[:, ::2]  # pairs of equal pixels lose nothing by sharing their colour
    y, b, r = np.moveaxis(ybr(rgb), -1, 0)
    halved = np.stack([y[:, ::2], y[:, 1::2], b[:, ::2], r[:, ::2]], axis=-1).reshape(6, 16)
    path = write(tmp_path / "422.dcm", np.zeros((6, 8, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    dataset = pydicom.dcmread(path)
    dataset.PixelData = halved.tobytes()
    dataset.save_as(path)
    assert np.abs(read_volume(path).array[0].astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(
    "name", ["CT_small", "MR_small_RLE", "MR_small_jp2klossless", "MR_small_bigendian", "J2K_pixelrep_mismatch"]
)
def test_files_of_scanners_read_in_any_common_encoding(name: str) -> None:
    file = Path(pydicom.__file__).parent / "data" / "test_files" / f"{name}.dcm"
    if not file.is_file():
        pytest.skip("this pydicom came without its test data")
    dataset = pydicom.dcmread(file)
    expected = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    volume = read_volume(file)
    assert np.array_equal(volume.array[0], expected) and to_uint8(volume).std() > 10


def test_a_palette_becomes_rgb(tmp_path: Path) -> None:
    table = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    stored = np.random.default_rng(1).integers(0, 256, (6, 8)).astype(np.uint8)
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for index, name in enumerate(("Red", "Green", "Blue")):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        elements[f"{name}PaletteColorLookupTableData"] = table[:, index].tobytes()
    assert np.array_equal(read_volume(write(tmp_path / "a.dcm", stored, **elements)).array[0], table[stored])
