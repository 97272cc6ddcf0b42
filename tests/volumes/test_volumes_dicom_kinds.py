"""Kinds of DICOM that are no plain slices: doses, whole slides, palettes in both byte orders, headers with gaps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from dicoms import item, write, write_series
from PIL import Image

from s2mnet import S2MNetError
from s2mnet.volumes import read_volume

pydicom = pytest.importorskip("pydicom", reason="needs pydicom: pip install 's2mnet[dicom]'")

STACK = np.random.default_rng(0).integers(0, 1000, (4, 5, 7)).astype(np.uint16)
ALONG_Z = [[-10, 20, 30 + 2.5 * k] for k in range(4)]
PLANE = {"ImagePositionPatient": [-10, 20, 30], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2, 2]}
NAMES = ("Red", "Green", "Blue")


@pytest.mark.parametrize(
    "offsets", [[0, 5, 10, 15], [30, 35, 40, 45], [15, 10, 5, 0]], ids=["from 0", "z", "downwards"]
)
def test_frames_of_a_dose_lie_where_its_offsets_say(tmp_path: Path, offsets: list[float]) -> None:
    volume = read_volume(
        write(tmp_path / "dose.dcm", STACK, 4, Modality="RTDOSE", GridFrameOffsetVector=offsets, **PLANE)
    )
    places = 30 + np.array(offsets) - offsets[0]
    assert volume.spacing == (5, 2, 2)
    assert np.array_equal(volume.array, STACK[np.argsort(places)])
    np.testing.assert_allclose(volume.affine, [[-2, 0, 0, 10], [0, -2, 0, -20], [0, 0, 5, places.min()], [0, 0, 0, 1]])


def test_the_dose_that_pydicom_ships() -> None:
    file = Path(pydicom.__file__).parent / "data/test_files/rtdose.dcm"
    if not file.is_file():
        pytest.skip("this pydicom came without its test data")
    dataset, volume = pydicom.dcmread(file), read_volume(file)
    steps = np.diff([float(offset) for offset in dataset.GridFrameOffsetVector])
    assert len(volume.array) == 15 and volume.spacing[0] == pytest.approx(steps.mean())
    scale = float(dataset.RescaleSlope) if "RescaleSlope" in dataset else 1.0
    slices = volume.in_file_order(volume.array).transpose(2, 1, 0)
    np.testing.assert_allclose(slices, dataset.pixel_array * scale)


def test_reconstructed_slices_of_nuclear_medicine(tmp_path: Path) -> None:
    """Position and orientation in the detector, the step beside it; a study of time has no such step."""
    detector = item(ImagePositionPatient=[-10, 20, 30], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    elements = {
        "Modality": "NM",
        "PixelSpacing": [2, 2],
        "SpacingBetweenSlices": 4,
        "DetectorInformationSequence": [detector],
    }
    kind = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    volume = read_volume(write(tmp_path / "tomo.dcm", STACK, 4, ImageType=kind, **elements))
    assert volume.spacing == (4, 2, 2) and np.array_equal(volume.array, STACK)
    np.testing.assert_allclose(volume.affine[:3, 3], [10, -20, 30])
    kind[2] = "DYNAMIC"
    assert read_volume(write(tmp_path / "time.dcm", STACK, 4, ImageType=kind, **elements)).spacing[0] is None


@pytest.mark.parametrize(
    "elements",
    [
        {"TotalPixelMatrixColumns": 14, "TotalPixelMatrixRows": 10},
        {"DimensionOrganizationType": "TILED_FULL"},
        {"DimensionOrganizationType": "TILED_SPARSE"},
    ],
)
@pytest.mark.parametrize("frames", [1, 4])
def test_whole_slides_are_refused(tmp_path: Path, elements: dict, frames: int) -> None:
    file = write(tmp_path / "slide.dcm", STACK if frames > 1 else STACK[0], frames, Modality="SM", **elements)
    with pytest.raises(S2MNetError, match=rf"slide\.dcm is a whole slide in {frames} tiles"):
        read_volume(file)


def write_palette(path: Path, stored: np.ndarray, table: np.ndarray, bits: int, first: int, little: bool) -> Path:
    """As the standard has it: tables in words, so that in big-endian files the bytes of each word change places."""
    elements: dict = {"PhotometricInterpretation": "PALETTE COLOR"}
    for index, name in enumerate(NAMES):
        content = np.ascontiguousarray(table[:, index]).tobytes()
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [len(table), first, bits]
        elements[f"{name}PaletteColorLookupTableData"] = (
            content if little else np.frombuffer(content, "<u2").byteswap().tobytes()
        )
    write(path, stored, **elements)
    if not little:
        dataset = pydicom.dcmread(path)
        swapped = pydicom.Dataset(dataset)
        swapped.file_meta = dataset.file_meta
        swapped.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        swapped["PixelData"].value = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
        swapped["PixelData"].VR = "OW"
        swapped.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("little", [True, False], ids=["little endian", "big endian"])
@pytest.mark.parametrize("depth", ["16 bits", "8 bits", "8 bits said to be 16"])
@pytest.mark.parametrize("pixels", [np.uint8, np.uint16])
def test_palettes_of_either_depth_and_byte_order(tmp_path: Path, little: bool, depth: str, pixels: type) -> None:
    entries = 256 if pixels == np.uint8 else 600
    table = np.random.default_rng(0).integers(0, 256, (entries, 3))
    stored = np.random.default_rng(1).integers(0, entries, (6, 8)).astype(pixels)
    held = {
        "16 bits": (table * 256 + 3).astype("<u2"), "8 bits": table.astype(np.uint8),
        "8 bits said to be 16": table.astype("<u2"),
    }[depth]  # fmt: skip
    file = write_palette(tmp_path / "a.dcm", stored, held, 8 if depth == "8 bits" else 16, 0, little)
    assert np.array_equal(read_volume(file).array[0], table[stored])


def test_values_outside_a_palette_take_its_ends(tmp_path: Path) -> None:
    table = np.random.default_rng(0).integers(0, 256, (10, 3)).astype(np.uint8)
    stored = np.arange(48, dtype=np.uint8).reshape(6, 8)
    file = write_palette(tmp_path / "a.dcm", stored, table, 8, 20, True)
    assert np.array_equal(read_volume(file).array[0], table[np.clip(stored.astype(int) - 20, 0, 9)])


def test_pixel_spacings_that_differ_by_rounding_are_one(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "scan", STACK, ALONG_Z)
    for number, size in ((1, 1.0), (2, 1.00004), (3, 0.9999)):
        dataset = pydicom.dcmread(folder / f"{number:03}.dcm")
        dataset.PixelSpacing = [size, size]
        dataset.save_as(folder / f"{number:03}.dcm")
    volume = read_volume(folder)
    assert np.array_equal(volume.array, STACK) and volume.spacing == pytest.approx((2.5, 1, 1), rel=1e-4)
    dataset.PixelSpacing = [1.01, 1.01]
    dataset.save_as(folder / "003.dcm")
    with pytest.raises(S2MNetError, match=r"several pixel spacings: .*\(1\.01, 1\.01\) in 003\.dcm"):
        read_volume(folder)


@pytest.mark.parametrize("name", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
@pytest.mark.parametrize("empty", [True, False])
def test_one_slice_without_a_position_is_named(tmp_path: Path, name: str, empty: bool) -> None:
    folder = write_series(tmp_path / "scan", STACK, ALONG_Z, InstanceNumber=None)
    for number, file in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(file)
        dataset.InstanceNumber = number
        if file.name == "003.dcm":
            setattr(dataset, name, None) if empty else delattr(dataset, name)
        dataset.save_as(file)
    with pytest.raises(S2MNetError, match=r"003\.dcm") as caught:
        read_volume(folder)
    assert name in str(caught.value) or "pixel spacings" in str(caught.value)


@pytest.mark.parametrize("value", [b"1.5 ", b"none", b"1e400 ", b"1A", b""])
@pytest.mark.parametrize("name", ["InstanceNumber", "SeriesNumber", "AcquisitionNumber", "NumberOfFrames"])
def test_a_number_that_is_none_does_not_lose_the_series(tmp_path: Path, name: str, value: bytes) -> None:
    """Positions order the slices; the number says nothing that is needed."""
    marker = {name: 123456}
    folder = write_series(tmp_path / "scan", STACK, ALONG_Z, **marker)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"123456", value.ljust(6)))
    assert np.array_equal(read_volume(folder).array, STACK)
    write_series(tmp_path / "scan/second", STACK, ALONG_Z, SeriesInstanceUID="1.9")
    with pytest.raises(S2MNetError, match="2 DICOM series"):
        read_volume(folder)


def jpeg_lossless(pixels: np.ndarray, bits: int) -> bytes:
    """JPEG Lossless (ITU-T T.81 annex H), predictor 1: differences to the left, by a Huffman table of 5-bit codes."""
    before = np.hstack([np.vstack([[[1 << (bits - 1)]], pixels[:-1, :1]]), pixels[:, :-1]]).astype(int)
    coded = ""
    for difference in ((pixels - before + 32768) % 65536 - 32768).ravel().tolist():
        size = abs(difference).bit_length()
        coded += f"{size:05b}"
        if 0 < size < 16:
            coded += f"{(difference - (difference < 0)) % (1 << size):0{size}b}"
    coded += "1" * (-len(coded) % 8)
    entropy = int(coded, 2).to_bytes(len(coded) // 8, "big").replace(b"\xff", b"\xff\0")
    height, width = pixels.shape
    frame = b"\xff\xc3\0\x0b" + bytes([bits, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0])
    table = b"\xff\xc4\0\x24\0" + bytes([0] * 4 + [17] + [0] * 11) + bytes(range(17))
    return b"\xff\xd8" + frame + table + b"\xff\xda\0\x08\1\1\0\1\0\0" + entropy + b"\xff\xd9"


def compress(path: Path, stream: bytes, syntax: str) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pydicom.encaps.encapsulate([stream])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"])
def test_jpeg_lossless_is_read(tmp_path: Path, bits: int, dtype: type, syntax: str) -> None:
    pytest.importorskip("libjpeg", reason="needs pylibjpeg-libjpeg: pip install 's2mnet[dicom]'")
    stored = np.random.default_rng(0).integers(0, 1 << bits, (20, 30)).astype(dtype)
    stored[5:15] = np.arange(30)
    file = write(tmp_path / "a.dcm", stored, BitsStored=bits)
    assert np.array_equal(read_volume(compress(file, jpeg_lossless(stored, bits), syntax)).array[0], stored)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"])
def test_jpeg_2000_is_read(tmp_path: Path, syntax: str) -> None:
    from PIL import features

    if not features.check("jpg_2000"):
        pytest.skip("this Pillow writes no JPEG 2000")
    stored = np.random.default_rng(0).integers(0, 65536, (64, 80)).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
    file = write(tmp_path / "a.dcm", stored)
    assert np.array_equal(read_volume(compress(file, buffer.getvalue(), syntax)).array[0], stored)


def test_a_jpeg_of_12_bits_is_read() -> None:
    """A bone scan that ships with pydicom; the same scan, shipped as JPEG 2000, says what is in it."""
    pytest.importorskip("libjpeg", reason="needs pylibjpeg-libjpeg: pip install 's2mnet[dicom]'")
    folder = Path(pydicom.__file__).parent / "data/test_files"
    if not (folder / "JPGExtended.dcm").is_file():
        pytest.skip("this pydicom came without its test data")
    one, other = (read_volume(folder / f"{name}.dcm").array[0].astype(float) for name in ("JPGExtended", "JPEG2000"))
    assert one.shape == other.shape and one.max() > 255
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9


def test_without_a_decoder_compression_and_extra_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = compress(write(tmp_path / "a.dcm", STACK[0]), b"\xff\xd8 no such stream \xff\xd9", "1.2.840.10008.1.2.4.70")
    with pytest.raises(S2MNetError, match=r"cannot be decoded .*JPEG Lossless.*pip install 's2mnet\[dicom\]'"):
        read_volume(file)


def test_what_a_header_says_is_shown_in_bounds_and_without_control_characters(tmp_path: Path) -> None:
    title = "\x1b[31mred" + "x" * 500
    for uid in ("1.1", "1.2"):
        write_series(tmp_path / uid, STACK, ALONG_Z, SeriesInstanceUID=uid, SeriesDescription=title)
    file = write(tmp_path / "odd.dcm", STACK[0], PhotometricInterpretation=title)
    for path in (tmp_path, file):
        with pytest.raises(S2MNetError, match="red") as caught:
            read_volume(path)
        assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 600 + len(str(path))
