"""Reading and writing: every format and mode against the array that was stored; every refusal names its file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from s2mnet.data.decoding import decode
from s2mnet.data.images import IMAGE_SUFFIXES, is_image_file, read_image, read_mask, write_mask
from s2mnet.errors import S2MNetError

SIDES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (19, 31, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (19, 31), dtype=np.uint8)
VOC_PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128, 0, 128, 128, 128, 128, 128]


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def palette_file(path: Path, indices: np.ndarray, palette: list[int]) -> Path:
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(palette)
    image.save(path)
    return path


def windowed(array: np.ndarray) -> np.ndarray:
    low, high = np.percentile(array, (0.5, 99.5))
    if low == high:
        low, high = array.min(), array.max()
    return np.rint(np.clip((array - low) / (high - low), 0, 1) * 255)


# --- images


@in_one_folder
@given(array=hnp.arrays(np.uint8, SIDES), suffix=st.sampled_from(["png", "PNG", "tif", "tiff", "bmp", "gif"]))
def test_grey_8_bit_returns_as_stored(tmp_path: Path, array: np.ndarray, suffix: str) -> None:
    result = read_image(saved(tmp_path / f"a.{suffix}", array))
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, array)


@in_one_folder
@given(
    array=hnp.arrays(np.uint8, SIDES.map(lambda shape: (*shape, 3))),
    options=st.sampled_from([("png", {}), ("bmp", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})]),
)
def test_rgb_returns_as_stored(tmp_path: Path, array: np.ndarray, options: tuple[str, dict[str, str]]) -> None:
    np.testing.assert_array_equal(read_image(saved(tmp_path / f"a.{options[0]}", array, **options[1])), array)


def test_rgb_with_equal_channels_stays_rgb(tmp_path: Path) -> None:
    array = np.stack([GREY] * 3, axis=-1)
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.png", array)), array)


def test_alpha_is_dropped_and_not_blended(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, GREY.shape, dtype=np.uint8)
    rgba = saved(tmp_path / "a.png", np.dstack([RGB, alpha]))
    la = tmp_path / "b.png"
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]).save(la)
    np.testing.assert_array_equal(read_image(rgba), RGB)
    np.testing.assert_array_equal(read_image(la), GREY)


def test_palette_becomes_its_colours_and_a_grey_palette_grey(tmp_path: Path) -> None:
    indices = GREY % 8
    colours = np.array(VOC_PALETTE, np.uint8).reshape(-1, 3)
    np.testing.assert_array_equal(read_image(palette_file(tmp_path / "a.png", indices, VOC_PALETTE)), colours[indices])
    inverted = [level for index in range(256) for level in [255 - index] * 3]
    for name in ("b.png", "b.gif"):
        np.testing.assert_array_equal(read_image(palette_file(tmp_path / name, GREY, inverted)), 255 - GREY)


def test_one_bit_and_cmyk(tmp_path: Path) -> None:
    bits = GREY > 127
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.png", bits)), bits * 255)
    cmyk = tmp_path / "b.tif"
    Image.fromarray(np.dstack([RGB, np.zeros_like(GREY)]), mode="CMYK").save(cmyk)
    np.testing.assert_array_equal(read_image(cmyk), 255 - RGB)  # without black, CMY is the complement


def test_jpeg_equals_another_decoder(tmp_path: Path) -> None:
    smooth = np.dstack([np.add.outer(np.arange(64), np.arange(48))] * 3).astype(np.uint8)
    result = read_image(saved(tmp_path / "a.jpg", smooth, quality=95))
    assert result.shape == (64, 48, 3)
    assert np.abs(result.astype(int) - smooth).max() <= 6


@in_one_folder
@given(
    array=st.sampled_from([np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(dtype, SIDES, elements=st.integers(0, 30000))
    )
)
def test_deep_grey_tiff_is_windowed(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array)
    result = read_image(path)
    assert result.dtype == np.uint8 and result.shape == array.shape
    expected = windowed(array.astype(np.float64)) if array.min() < array.max() else np.zeros(array.shape)
    np.testing.assert_array_equal(result, expected)


def test_unsigned_32_bit_above_the_signed_range_keeps_its_order(tmp_path: Path) -> None:
    array = np.linspace(0, 2**32 - 1, 64 * 64).astype(np.uint32).reshape(64, 64)
    tifffile.imwrite(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), windowed(array.astype(np.float64)))


def test_16_bit_png_and_a_constant_and_a_nearly_constant_image(tmp_path: Path) -> None:
    ramp = (GREY.astype(np.uint16) * 16) + 5
    np.testing.assert_array_equal(read_image(saved(tmp_path / "a.png", ramp)), windowed(ramp.astype(np.float64)))
    constant = np.full((9, 9), 1234, np.uint16)
    assert not read_image(saved(tmp_path / "b.png", constant)).any()
    speck = np.zeros((50, 50), np.uint16)
    speck[3, 4] = 900
    assert np.argwhere(read_image(saved(tmp_path / "c.png", speck)) == 255).tolist() == [[3, 4]]


def test_nan_is_the_low_end(tmp_path: Path) -> None:
    array = np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)
    array[0, 19] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", array)
    result = read_image(tmp_path / "a.tif")
    assert result[0, 19] == 0 and result[-1, -1] == 255


@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_16_bit_rgb_tiff_has_one_window_for_its_three_channels(tmp_path: Path, layout: str) -> None:
    array = RGB.astype(np.uint16) * 10  # 12-bit data: the high byte alone would be nearly black
    stored = array if layout == "contig" else array.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=layout)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), windowed(array.astype(np.float64)))


# --- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_as_image_ops_applies_it(tmp_path: Path, orientation: int, suffix: str) -> None:
    mask = np.zeros((16, 24), np.uint8)
    mask[:8, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", mask, exif=exif)
    plain = Image.fromarray(mask)
    plain.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    assert np.abs(read_image(path).astype(int) - expected).max() < 30
    np.testing.assert_array_equal(read_mask(path) > 127, expected > 127)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_tiff_only_tifffile_can_read(tmp_path: Path, orientation: int) -> None:
    tag = (274, "H", 1, orientation, True)
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.uint16) * 256, photometric="rgb", extratags=[tag])
    upright = Image.fromarray(RGB)
    upright.getexif()[0x0112] = orientation
    result = read_image(tmp_path / "a.tif")
    expected = np.asarray(ImageOps.exif_transpose(upright))
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).max() <= 3


# --- masks


@in_one_folder
@given(
    array=st.sampled_from([np.uint8, np.uint16, np.bool_]).flatmap(lambda dtype: hnp.arrays(dtype, SIDES)),
    data=st.data(),
)
def test_write_then_read_gives_the_mask_back(tmp_path: Path, array: np.ndarray, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([array.dtype, np.dtype(np.int64)]))
    write_mask(tmp_path / "a.png", array.astype(dtype))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), array)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L" if array.max() <= 255 else image.mode.startswith("I")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_a_failed_write_leaves_the_old_mask_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mask(tmp_path / "a.png", np.ones((3, 3), np.uint8))

    def no_room(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", no_room)
    with pytest.raises(S2MNetError, match=r"a\.png.*No space left"):
        write_mask(tmp_path / "a.png", np.zeros((3, 3), np.uint8))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert read_mask(tmp_path / "a.png").all()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a.jpg", np.zeros((2, 2), int), "suffix"),
        ("a.png", np.zeros((2, 2, 3), int), "shape"),
        ("a.png", np.zeros((2, 2)), "float64"),
        ("a.png", np.full((2, 2), -1), "-1"),
        ("a.png", np.full((2, 2), 65536), "65536"),
    ],
)
def test_write_refuses(tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    with pytest.raises(S2MNetError, match=message):
        write_mask(tmp_path / name, array)
    assert not list(tmp_path.iterdir())


def test_write_refuses_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(S2MNetError, match="cannot be written to"):
        write_mask(tmp_path / "file" / "a.png", np.zeros((2, 2), int))


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_one_bit_mask_is_0_and_1(tmp_path: Path, suffix: str) -> None:
    bits = GREY > 127
    np.testing.assert_array_equal(read_mask(saved(tmp_path / f"a.{suffix}", bits)), bits.astype(int))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_png_of_few_bits_gives_the_stored_samples(tmp_path: Path, depth: int) -> None:
    indices = np.arange(16, dtype=np.uint8).reshape(2, 8) % 2**depth
    rows = b""
    for row in indices:
        bits = "".join(f"{value:0{depth}b}" for value in row)
        rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 8, 2, depth, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), indices)


def test_colour_palette_gives_indices_even_where_the_used_colours_are_grey(tmp_path: Path) -> None:
    indices = GREY % 8
    np.testing.assert_array_equal(read_mask(palette_file(tmp_path / "a.png", indices, VOC_PALETTE)), indices)
    grey_class_only = np.where(GREY > 99, 7, 0)  # VOC's class 7 is (128, 128, 128)
    np.testing.assert_array_equal(
        read_mask(palette_file(tmp_path / "b.png", grey_class_only, VOC_PALETTE)), grey_class_only
    )


def test_inverted_black_and_white_palettes_give_grey_values(tmp_path: Path) -> None:
    foreground = GREY > 127
    for name, palette in (("a.gif", [255] * 3 + [0] * 3), ("b.gif", [255] * 3 + [0] * 3 + [255, 0, 0])):
        path = palette_file(tmp_path / name, ~foreground, palette)
        np.testing.assert_array_equal(read_mask(path), foreground * 255)


def test_equal_channels_are_one_value_and_16_bits_stay(tmp_path: Path) -> None:
    rgb = np.stack([GREY] * 3, axis=-1)
    opaque = np.full(GREY.shape, 255, np.uint8)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "a.png", rgb)), GREY)
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "b.png", np.dstack([rgb, opaque]))), GREY)
    deep = GREY.astype(np.uint16) * 200
    np.testing.assert_array_equal(read_mask(saved(tmp_path / "c.png", deep)), deep)
    tifffile.imwrite(tmp_path / "d.tif", deep)
    np.testing.assert_array_equal(read_mask(tmp_path / "d.tif"), deep)
    tifffile.imwrite(tmp_path / "e.tif", np.stack([deep] * 3, axis=-1), photometric="rgb")
    np.testing.assert_array_equal(read_mask(tmp_path / "e.tif"), deep)
    tifffile.imwrite(tmp_path / "f.tif", GREY.astype(np.float32))
    np.testing.assert_array_equal(read_mask(tmp_path / "f.tif"), GREY)


def test_masks_without_one_value_per_pixel_are_refused(tmp_path: Path) -> None:
    colour = np.zeros((6, 8, 3), np.uint8)
    colour[0, :5] = (255, 0, 0)
    with pytest.raises(S2MNetError, match=r"colour\.png.*2 colours.*\(0, 0, 0\) on 43 px.*\(255, 0, 0\) on 5 px"):
        read_mask(saved(tmp_path / "colour.png", colour))
    grey = np.stack([GREY] * 3, axis=-1)
    with pytest.raises(S2MNetError, match=r"alpha\.png.*transparency"):
        read_mask(saved(tmp_path / "alpha.png", np.dstack([grey, GREY])))
    tifffile.imwrite(tmp_path / "half.tif", GREY.astype(np.float32) / 2)
    with pytest.raises(S2MNetError, match=r"half\.tif.*fractional"):
        read_mask(tmp_path / "half.tif")


# --- files that cannot be read

FULL_FILES = {
    "a.png": {},
    "a.jpg": {},
    "a.bmp": {},
    "a.gif": {},
    "a.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "deflate.tif": {"compression": "tiff_adobe_deflate"},
}


@pytest.mark.parametrize("name", FULL_FILES)
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_truncated_file_is_an_error_at_every_length(tmp_path: Path, name: str, read: object) -> None:
    content = saved(tmp_path / name, GREY, **FULL_FILES[name]).read_bytes()
    for share in (0.0, 0.02, 0.3, 0.6, 0.9, 0.97):
        (tmp_path / name).write_bytes(content[: int(len(content) * share)])
        with pytest.raises(S2MNetError, match=name):
            read(tmp_path / name)


@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"compression": "zlib"}, {"planarconfig": "separate"}])
def test_a_truncated_16_bit_rgb_tiff_is_an_error(tmp_path: Path, layout: dict[str, object]) -> None:
    path = tmp_path / "a.tif"
    stored = RGB.astype(np.uint16)
    stored = stored.transpose(2, 0, 1) if "planarconfig" in layout else stored
    tifffile.imwrite(path, stored, photometric="rgb", **layout)
    content = path.read_bytes()
    assert read_image(path).shape == RGB.shape
    for share in (0.3, 0.6, 0.9, 0.99):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(S2MNetError, match=r"a\.tif"):
            read_image(path)


def test_what_is_no_image_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<!doctype html><html><body>404</body></html>")
    with pytest.raises(S2MNetError, match=r"page\.png is not a png, jpg, tif, bmp or gif image"):
        read_image(tmp_path / "page.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(S2MNetError, match=r"empty\.png is an empty file"):
        read_mask(tmp_path / "empty.png")
    with pytest.raises(S2MNetError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(S2MNetError, match="is a folder, not an image file"):
        read_image(tmp_path)


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(255 - GREY), Image.fromarray(GREY // 2)]
    for name in ("stack.tif", "film.gif", "film.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(S2MNetError, match=rf"{name} has 3 pages"):
            read_image(tmp_path / name)
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((2, 8, 8, 3), np.uint16), photometric="rgb")
    with pytest.raises(S2MNetError, match=r"deep\.tif has 2 pages"):
        read_image(tmp_path / "deep.tif")


def test_a_decompression_bomb_is_refused_and_just_below_the_bound_is_not(tmp_path: Path) -> None:
    bound = Image.MAX_IMAGE_PIXELS
    path = tmp_path / "bomb.png"
    Image.new("1", (20_001, 10_000)).save(path, compress_level=1)
    with pytest.raises(S2MNetError, match=r"bomb\.png has 20001 × 10000 = 200 megapixels; at most 200 are supported"):
        read_image(path)
    Image.new("1", (19_000, 10_000)).save(path, compress_level=1)  # above Pillow's own bound of 179 megapixels
    image, _ = decode(path)
    assert image.size == (19_000, 10_000)
    assert bound == Image.MAX_IMAGE_PIXELS


def test_suffixes() -> None:
    names = ["a.png", "a.JPG", "a.jpeg", "a.tif", "a.Tiff", "a.bmp", "a.gif"]
    assert all(is_image_file(Path(name)) for name in names)
    assert not any(is_image_file(Path(name)) for name in ["Thumbs.db", "a.txt", ".a.png", "a.nii.gz", "png"])
    assert len(IMAGE_SUFFIXES) == 7
