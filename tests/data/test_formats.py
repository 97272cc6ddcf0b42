"""The table of stored pixels: sample format × photometric × depth × planes × compression. Each is right or refused."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from s2mnet.data import read_image, read_mask
from s2mnet.errors import S2MNetError

RNG = np.random.default_rng(3)
TYPES = ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
HAS_CODECS = importlib.util.find_spec("imagecodecs") is not None


def values_of(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    low, high = {"b": (0, 2), "u": (0, 60_000), "i": (-30_000, 30_000), "f": (-1000, 1000)}[dtype[0]]
    if dtype in ("u1", "i1"):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max + 1
    return RNG.integers(low, high, shape).astype(dtype)


def shown(values: np.ndarray) -> np.ndarray:
    """What an image of these values is read as: 8 bits as they are, others windowed."""
    if values.dtype.kind == "b":
        return values * 255
    if values.dtype == np.uint8:
        return values
    values = values.astype(np.float64)
    low, high = np.percentile(values, (0.5, 99.5))
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255)


def inverted(values: np.ndarray) -> np.ndarray:
    """Black as 0: numbers as far below the highest as these are above the lowest."""
    if values.dtype.kind == "b":
        return ~values
    if values.dtype.kind == "f":
        return -values
    limits = np.iinfo(values.dtype)
    return (
        np.array([limits.max + limits.min - int(value) for value in values.flat])
        .astype(values.dtype)
        .reshape(values.shape)
    )


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_tiff_is_read_as_tifffile_wrote_it(tmp_path: Path, dtype: str, photometric: str) -> None:
    file, colours = tmp_path / "a.tif", 3 if photometric == "rgb" else 1
    cells = 0
    for compression, order, planes, alpha in product((None, "zlib", "lzma"), "<>", ("contig", "separate"), (0, 1)):
        samples = colours + alpha
        if (samples == 1 and planes == "separate") or (samples > 1 and dtype == "bool"):
            continue
        stored = values_of(dtype, (17, 23, samples))
        options = {"planarconfig": planes} if samples > 1 else {}
        written = np.moveaxis(stored, -1, 0) if planes == "separate" else stored
        tifffile.imwrite(
            file, written[..., 0] if samples == 1 else written, photometric=photometric, compression=compression,
            byteorder=order, extrasamples=["unassalpha"] * alpha, **options,
        )  # fmt: skip
        seen = stored[..., :colours] if colours == 3 else stored[..., 0]
        seen = inverted(seen) if photometric == "miniswhite" else seen
        np.testing.assert_array_equal(read_image(file), shown(seen), str((compression, order, planes, alpha)))
        if samples == 1:
            np.testing.assert_array_equal(read_mask(file), seen, str((compression, order)))
        cells += 1
    assert cells or (dtype, photometric) == ("bool", "rgb")


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "I", "F", "RGB", "P", "CMYK"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_a_tiff_is_read_as_pillow_wrote_it(tmp_path: Path, mode: str, compression: str) -> None:
    types = {"1": "bool", "I;16": "u2", "I": "i4", "F": "f4"}
    values = values_of(types.get(mode, "u1"), (17, 23, {"RGB": 3, "CMYK": 4}.get(mode, 1))).squeeze()
    image = Image.fromarray(values, "CMYK" if mode == "CMYK" else None)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.save(tmp_path / "a.tif", compression=compression)
    expected = shown(values) if mode not in ("P", "CMYK") else np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)
    if values.ndim == 2:
        np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), values)


def write_tiff(
    path: Path,
    size: tuple[int, int],
    strip: bytes,
    bits: tuple[int, ...],
    photometric: int | None,
    order: str = "<",
    **tags: object,
) -> Path:
    """A TIFF of one strip, byte by byte; tags by number, "t530" for one, each a value or several, of 16 bits."""
    height, width = size
    held: dict[int, tuple[int, ...]] = {
        256: (width,),
        257: (height,),
        258: bits,
        259: (1,),
        273: (8,),
        277: (len(bits),),
    }
    held |= {278: (height,), 279: (len(strip),)} | ({} if photometric is None else {262: (photometric,)})
    held |= {int(name[1:]): value if isinstance(value, tuple) else (value,) for name, value in tags.items()}
    directory = 8 + len(strip) + len(strip) % 2
    extra_at, extra, entries = directory + 2 + 12 * len(held) + 4, b"", b""
    for tag, numbers in sorted(held.items()):
        packed = struct.pack(f"{order}{len(numbers)}H", *numbers)
        if len(packed) > 4:
            packed, extra = struct.pack(f"{order}I", extra_at + len(extra)), extra + packed
        entries += struct.pack(f"{order}HHI", tag, 3, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory)
    body = strip + bytes(len(strip) % 2) + struct.pack(f"{order}H", len(held)) + entries + bytes(4) + extra
    path.write_bytes(head + body)
    return path


def packed_bits(values: np.ndarray, bits: int) -> bytes:
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in values.tolist()]
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("photometric", [0, 1, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_samples_that_fill_no_byte(tmp_path: Path, bits: int, photometric: int, order: str) -> None:
    top = 2**bits - 1
    stored = RNG.integers(0, top + 1, (6, 16))
    colours = RNG.integers(0, 256, (3, top + 1))
    tags = {"t320": tuple((colours * 257).ravel().tolist())} if photometric == 3 else {}
    file = write_tiff(tmp_path / "a.tif", (6, 16), packed_bits(stored, bits), (bits,), photometric, order, **tags)
    if bits == 12 and (photometric == 3 or (not HAS_CODECS and (photometric, order) != (1, "<"))):
        for read in (read_image, read_mask):
            with pytest.raises(S2MNetError, match=r"only imagecodecs reads.*s2mnet\[tiff\]|PALETTE"):
                read(file)
        return
    values = top - stored if photometric == 0 else stored
    np.testing.assert_array_equal(read_mask(file), values)
    grey = shown(values.astype(np.uint16)) if bits == 12 else values * (255 // top)
    np.testing.assert_array_equal(read_image(file), colours.T[stored] if photometric == 3 else grey)


def test_tags_that_writers_get_wrong(tmp_path: Path) -> None:
    grey, rgb = RNG.integers(0, 256, (6, 8), dtype=np.uint8), RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = tmp_path / "a.tif"
    # Without a photometric tag, grey is taken to be black at 0, and three samples to be colours, as libtiff does.
    np.testing.assert_array_equal(read_image(write_tiff(file, (6, 8), grey.tobytes(), (8,), None)), grey)
    np.testing.assert_array_equal(read_image(write_tiff(file, (6, 8), rgb.tobytes(), (8, 8, 8), None)), rgb)
    # Colours of a palette have 16 bits, but some write 8.
    colours = RNG.integers(0, 256, (3, 256))
    write_tiff(file, (6, 8), grey.tobytes(), (8,), 3, t320=tuple(colours.ravel().tolist()))
    np.testing.assert_array_equal(read_image(file), colours.T[grey])


@pytest.mark.parametrize(
    ("bits", "photometric", "samples", "tags"),
    [
        ((8, 8, 8), 6, 1.5, {"t530": (2, 2)}),  # colours of half the resolution
        ((8, 8, 8), 8, 3, {}),  # CIELab
        ((16,) * 4, 5, 8, {}),  # CMYK
        ((16,) * 4, 2, 8, {"t338": 1}),  # colours multiplied by alpha
        ((8,) * 6, 2, 6, {}),
        ((16,), 32803, 2, {}),  # a sensor's mosaic
        ((16,), 1, 2, {"t339": 9}),  # a sample format that does not exist
        ((16,), 1, 2, {"t256": 0}),  # no columns
    ],
)
def test_tiffs_that_are_refused(
    tmp_path: Path, bits: tuple[int, ...], photometric: int, samples: float, tags: dict[str, object]
) -> None:
    strip = RNG.integers(0, 256, int(8 * 16 * samples), dtype=np.uint8).tobytes()
    file = write_tiff(tmp_path / "a.tif", (8, 16), strip, bits, photometric, **tags)
    for read in (read_image, read_mask):
        with pytest.raises(S2MNetError, match=r"a\.tif"):
            read(file)


def lzw(data: bytes) -> bytes:
    """Codes of nine bits alone: the table is cleared before it grows."""
    codes = [code for start in range(0, len(data), 200) for code in (256, *data[start : start + 200])]
    text = "".join(f"{code:09b}" for code in (*codes, 257))
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


@pytest.mark.parametrize(("samples", "photometric"), [(5, 1), (3, 2)])
def test_what_only_imagecodecs_reads_is_named_with_the_extra(tmp_path: Path, samples: int, photometric: int) -> None:
    values = RNG.integers(0, 5000, (6, 8, samples)).astype("<u2")
    file = write_tiff(tmp_path / "a.tif", (6, 8), lzw(values.tobytes()), (16,) * samples, photometric, t259=5)
    if HAS_CODECS:
        planes = [shown(values[..., n]) for n in range(samples)]
        np.testing.assert_array_equal(read_image(file), np.stack(planes, -1) if photometric == 1 else shown(values))
        return
    with pytest.raises(S2MNetError, match=r"a\.tif is stored as LZW with 16 bits per sample.*s2mnet\[tiff\]"):
        read_image(file)


def write_png(path: Path, values: np.ndarray, interlaced: bool, *chunks: tuple[bytes, bytes]) -> Path:
    """A PNG of 16 bits, by its standard, rows without a filter; more chunks follow the pixels."""
    height, width, samples = values.shape
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [values[y::dy, x::dx] for y, x, dy, dx in (passes if interlaced else [(0, 0, 1, 1)])]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for part in parts for row in part if row.size)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], 0, 0, interlaced)
    all_chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), *chunks, (b"IEND", b"")]
    body = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in all_chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    return path


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_a_16_bit_png_keeps_both_bytes(tmp_path: Path, samples: int, interlaced: bool) -> None:
    values = RNG.integers(0, 4096, (21, 19, samples)).astype(np.uint16)  # 12 bits: the high byte has 16 levels
    file = write_png(tmp_path / "a.png", values, interlaced)
    seen = values[..., 0] if samples < 3 else values[..., :3]
    np.testing.assert_array_equal(read_image(file), shown(seen))
    mask = np.repeat(values[..., :1] % 300, samples, axis=2)
    if samples in (2, 4):
        mask[..., -1] = 65535
    np.testing.assert_array_equal(read_mask(write_png(file, mask, interlaced)), values[..., 0] % 300)


def test_a_16_bit_png_is_turned_upright(tmp_path: Path) -> None:
    values = RNG.integers(0, 4096, (21, 19, 3)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: to be shown turned by 90° clockwise
    file = write_png(tmp_path / "a.png", values, False, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    np.testing.assert_array_equal(read_image(file), shown(np.rot90(values, -1)))


def test_a_large_colour_profile_and_a_long_text_are_no_fault(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (9, 9), dtype=np.uint8)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "x" * 1_500_000, zip=True)
    Image.fromarray(grey).save(tmp_path / "a.png", icc_profile=RNG.bytes(1_500_000), pnginfo=notes)
    bound = PngImagePlugin.MAX_TEXT_CHUNK
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), grey)
    assert bound == PngImagePlugin.MAX_TEXT_CHUNK == 2**20


@pytest.mark.parametrize("form", ["imagej", "ome"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_channels_on_pages_are_a_stack(tmp_path: Path, form: str, dtype: str) -> None:
    file = tmp_path / ("a.ome.tif" if form == "ome" else "a.tif")
    stack = values_of(dtype, (4, 12, 9))
    tifffile.imwrite(file, stack, **{form: True}, metadata={"axes": "CYX"}, photometric="minisblack")
    np.testing.assert_array_equal(read_image(file), np.stack([shown(plane) for plane in stack], axis=-1))
    with pytest.raises(S2MNetError, match="stack of 4 channels"):
        read_mask(file)
    tifffile.imwrite(file, stack, **{form: True}, metadata={"axes": "ZYX"}, photometric="minisblack")
    with pytest.raises(S2MNetError, match=r"has 4 pages.*channels as samples per pixel"):
        read_image(file)


def test_a_tiff_without_pixels_is_refused_as_one_file(tmp_path: Path) -> None:
    for bits, samples in (((8,), 1), ((16, 16, 16), 3)):
        file = write_tiff(tmp_path / "a.tif", (6, 8), b"", bits, 2 if samples == 3 else 1, t279=0, t273=0)
        with pytest.raises(S2MNetError, match=r"a\.tif is damaged"):
            read_image(file)


def test_a_negative_value_stays_negative_in_a_mask(tmp_path: Path) -> None:
    for dtype, compression in product(("i1", "i2", "i4", "i8", "f4"), (None, "zlib")):
        values = RNG.integers(-1, 3, (9, 9)).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", values, compression=compression)
        mask = read_mask(tmp_path / "a.tif")
        assert mask.min() == -1
        np.testing.assert_array_equal(mask, values)
