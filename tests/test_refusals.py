"""Every row of docs/refusals.md, through the command line: one message or a stated way of coping, never a traceback."""

from __future__ import annotations

import errno
import os
import re
import shutil
import struct
import subprocess
import sys
import tracemalloc
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageFilter
from tiny import Cli, refused, tiny_plan, train_tiny, write_data

from s2mnet import Predictor
from s2mnet.data import read_image

HTML = b"<!doctype html><html><body>Please log in</body></html>"
SIDE = 30_000
NAME = "Größe 3 µm [red] 日本 <b>"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


@pytest.fixture
def accepted(s2mnet: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Call ``train`` up to the first step; gives what it printed on one line."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def call(data: Path, *options: object) -> str:
        monkeypatch.setattr("s2mnet.workflow.train", interrupt)
        status, out, err = s2mnet("train", data, "-o", tmp_path / "run", "--epochs", 1, *options)
        assert status == 130, err
        return " ".join(out.split())

    return call


@pytest.fixture
def predicted(s2mnet: Cli, tiny_run: Path, tmp_path: Path) -> Callable[[Path], dict[str, np.ndarray]]:
    """Call ``predict``; gives the masks by stem."""

    def call(images: Path) -> dict[str, np.ndarray]:
        out = tmp_path / f"of {images.name}"
        status, _, err = s2mnet("predict", tiny_run, images, "-o", out)
        assert status == 0, err
        return {file.stem: np.asarray(Image.open(file)) for file in (out / "masks").iterdir()}

    return call


def an_image(data: Path) -> Path:
    return data / "train" / "images" / "train_0.png"


def a_mask(data: Path) -> Path:
    return data / "train" / "masks" / "train_0.png"


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file)).copy()


def change_masks(data: Path, change: Callable[[np.ndarray], np.ndarray], pattern: str = "*") -> None:
    for file in data.glob(f"{pattern}/masks/*.png"):
        Image.fromarray(change(pixels(file)).astype(np.uint8)).save(file)


def halved(plane: np.ndarray) -> np.ndarray:
    """Half as large, by the mean of each four pixels: what cv2.resize makes of a mask."""
    height, width = plane.shape
    return np.rint(plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3)))


def write_huge(file: Path, side: int = SIDE) -> None:
    """A black, whole 1-bit PNG of side² pixels in some hundred kilobytes."""
    packer, row = zlib.compressobj(9), bytes(1 + (side + 7) // 8)
    packed = b"".join(packer.compress(row * 500) for _ in range(side // 500)) + packer.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", packed), (b"IEND", b""))
    body = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    assert file.stat().st_size < 2**20


# Refused before training ----------------------------------------------------------------------------------------------

Spoiled = tuple[str, ...]  # words of the message


def truncated_image(data: Path) -> Spoiled:
    file = an_image(data)
    file.write_bytes(file.read_bytes()[:-200])
    return str(file), "damaged", "Export it again"


def truncated_mask(data: Path) -> Spoiled:
    file = a_mask(data)
    file.write_bytes(file.read_bytes()[:-30])
    return str(file), "damaged", "Export it again"


def zero_bytes(data: Path) -> Spoiled:
    an_image(data).write_bytes(b"")
    return str(an_image(data)), "an empty file (0 bytes)", "Export it again"


def html(data: Path) -> Spoiled:
    a_mask(data).write_bytes(HTML)
    return str(a_mask(data)), "is not a png, jpg, tif, bmp or gif image, whatever its name says", "Export it again"


def thirty_thousand_pixels(data: Path) -> Spoiled:
    write_huge(an_image(data))
    return str(an_image(data)), "30000 × 30000 = 900 megapixels", "at most 200 are supported", "tiles"


def a_mask_on_its_side(data: Path) -> Spoiled:
    Image.fromarray(pixels(a_mask(data)).T).save(a_mask(data))
    return str(a_mask(data)), "64 × 48", "48 × 64", "Export image and mask at one size"


def an_image_turned_by_exif_alone(data: Path) -> Spoiled:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90°
    Image.open(an_image(data)).save(an_image(data), exif=exif)
    return str(a_mask(data)), "48 × 64", "64 × 48", "orientation"


def equal_stems(data: Path) -> Spoiled:
    shutil.copy(an_image(data), an_image(data).with_suffix(".bmp"))
    return str(an_image(data).parent), "train_0.bmp and train_0.png", "Rename or remove one"


def stems_that_look_equal(data: Path) -> Spoiled:
    for form in ("NFC", "NFD"):
        shutil.copy(an_image(data), an_image(data).with_stem(unicodedata.normalize(form, "é")))
    if len(list(an_image(data).parent.iterdir())) < 10:
        pytest.skip("this file system keeps one form of a name")
    return str(an_image(data).parent), "two files with one stem"


def a_name_that_is_no_unicode(data: Path) -> Spoiled:
    for file in (an_image(data), a_mask(data)):
        try:
            os.rename(os.fsencode(file), os.path.join(os.fsencode(file.parent), b"caf\xe9.png"))
        except OSError:
            pytest.skip("this file system holds names in Unicode only")
    return str(an_image(data).parent), r"caf\xe9.png", "UTF-8", "Rename"


def a_link_to_nowhere(data: Path) -> Spoiled:
    for file in (an_image(data), a_mask(data)):
        file.unlink()
        file.symlink_to(data / "never fetched")
    return str(an_image(data)), "does not exist", "Check the path"


def an_image_without_mask(data: Path) -> Spoiled:
    a_mask(data).unlink()
    return str(an_image(data).parent), "without mask: train_0.png", "Add the mask"


def a_mask_without_image(data: Path) -> Spoiled:
    an_image(data).unlink()
    return str(a_mask(data).parent), "without image: train_0.png", "Add the image"


def an_empty_folder(data: Path) -> Spoiled:
    shutil.rmtree(data)
    data.mkdir()
    return str(data), "an empty folder"


def an_archive_in_place_of_a_folder(data: Path) -> Spoiled:
    shutil.rmtree(data)
    data.write_bytes(b"PK\x03\x04")
    return str(data), "is a file, not a folder", "Unpack it"


def a_path_too_long(data: Path) -> Spoiled:
    data.rename(data.with_name("gone"))
    data.symlink_to("a" * 300)
    return str(data), "cannot be read", "Check the path"


def all_masks_empty(data: Path) -> Spoiled:
    change_masks(data, np.zeros_like)
    return str(data / "test" / "masks"), "only empty masks", "contours filled"


def no_foreground_in_train(data: Path) -> Spoiled:
    change_masks(data, np.zeros_like, "train")
    return str(data), "has no foreground in any train mask"


def broad_soft_edges(data: Path) -> Spoiled:
    for file in data.glob("*/masks/*.png"):
        Image.open(file).filter(ImageFilter.GaussianBlur(2)).save(file)
    return ".png", "a grey-level image", "--labels threshold"


def soft_edges_of_halved_masks(data: Path) -> Spoiled:
    change_masks(data, halved)
    for file in data.glob("*/images/*.png"):
        Image.fromarray(pixels(file)[::2, ::2]).save(file)
    return "0, 64, 128, 191, 255", "soft edges", "--labels threshold", "dataset.yaml"


def one_mask_with_a_stray_value(data: Path) -> Spoiled:
    mask = pixels(a_mask(data))
    mask[:2, :3] = 128
    Image.fromarray(mask).save(a_mask(data))
    return str(a_mask(data)), "128 on 6 px", "only 0 and 255"


def a_value_that_no_class_has(data: Path) -> Spoiled:
    (data / "dataset.yaml").write_text("classes: {0: background, 1: polyp}\n")
    return ".png", "the value 255", "only 0, 1"


def a_colour_mask(data: Path) -> Spoiled:
    Image.open(an_image(data)).save(a_mask(data))
    return str(a_mask(data)), "a colour mask", "one value per pixel"


def several_pages(data: Path) -> Spoiled:
    file = an_image(data).with_suffix(".tif")
    an_image(data).unlink()
    tifffile.imwrite(file, np.zeros((3, 48, 64), np.uint8), photometric="minisblack")
    return str(file), "3 pages or frames; one is allowed"


def many_channels(data: Path) -> Spoiled:
    file = an_image(data).with_suffix(".tif")
    an_image(data).unlink()
    tifffile.imwrite(file, np.zeros((48, 64, 9), np.uint16), photometric="minisblack", planarconfig="contig")
    return str(file), "has 9 channels", "most images have 3 channels", "Make the images alike"


def deep_cmyk(data: Path) -> Spoiled:
    file = an_image(data).with_suffix(".tif")
    an_image(data).unlink()
    tifffile.imwrite(file, np.zeros((48, 64, 4), np.uint16), photometric="separated")
    return str(file), "colours stored as SEPARATED", "Export it again"


def case_table(data: Path, rows: str) -> None:
    (data / "cases.csv").write_text("name,patient,volume,slice\n" + rows)


def a_table_of_other_images(data: Path) -> Spoiled:
    case_table(data, "train_0,p1,,\n")
    return str(data / "cases.csv"), "lacks 11 names of the folder", "one row"


def a_patient_in_two_splits(data: Path) -> Spoiled:
    stems = sorted(file.stem for file in data.glob("*/images/*"))
    case_table(data, "".join(f"{stem},patient {stem[-1]},,\n" for stem in stems))
    return str(data / "cases.csv"), "patient 0 in both train/ (train_0) and", "into one split"


def two_slices_of_one_number(data: Path) -> Spoiled:
    stems = sorted(file.stem for file in data.glob("*/images/*"))
    case_table(data, "".join(f"{stem},,{stem[:-2]},{int(stem[-1]) // 2}\n" for stem in stems))
    return str(data / "cases.csv"), "test_0 and test_1 both as slice 0", "in their order"


def a_table_of_another_form(data: Path) -> Spoiled:
    (data / "cases.csv").write_text("name;patient\ntrain_0;p1\n")
    return str(data / "cases.csv"), "an unknown column 'name;patient'", "commas"


def numbered_objects(data: Path) -> Spoiled:
    for number, file in enumerate(sorted(data.glob("*/masks/*.png"))):
        mask = np.zeros((48, 64), np.uint8)
        for place in range(1 + number % 4):
            mask[5:15, 3 + 15 * place : 13 + 15 * place] = place + 1
        Image.fromarray(mask).save(file)
    return ".png", "instance labels", "--labels binary", "name the classes in dataset.yaml"


def palettes_that_differ(data: Path) -> Spoiled:
    for number, file in enumerate(sorted(data.glob("*/masks/*.png"))):
        mask = Image.fromarray((pixels(file) > 127).astype(np.uint8))
        mask.putpalette([0, 0, 0, 255, 0, 0] if number else [0, 0, 0, 0, 0, 255])
        mask.save(file)
    return ".png", "the colour (255, 0, 0) for the palette index 1", "one palette"


def a_negative_value(data: Path) -> Spoiled:
    mask = (pixels(a_mask(data)) > 127).astype(np.int8)
    mask[0, :3] = -1
    a_mask(data).unlink()
    tifffile.imwrite(a_mask(data).with_suffix(".tif"), mask)
    return str(a_mask(data).with_suffix(".tif")), "the value -1 on 3 px", "within 0 to 65535"


def a_compression_of_an_extra(data: Path) -> Spoiled:
    file = an_image(data).with_suffix(".tif")
    an_image(data).unlink()
    tifffile.imwrite(file, np.zeros((48, 64, 5), np.uint8), photometric="minisblack", planarconfig="contig")
    content = file.read_bytes()
    entry = struct.pack("<HHII", 259, 3, 1, 1)  # no compression
    assert content.count(entry) == 1
    file.write_bytes(content.replace(entry, struct.pack("<HHII", 259, 3, 1, 34887)))  # LERC
    if find_spec("imagecodecs") is None:
        return str(file), "LERC", "s2mnet[tiff]"
    return str(file), "LercError", "Export it again"


def images_in_a_subfolder(data: Path) -> Spoiled:
    (an_image(data).parent / "more").mkdir()
    shutil.copy(an_image(data), an_image(data).parent / "more")
    return str(an_image(data).parent), "images in subfolders", "more/train_0.png", "Move the images up"


def a_split_of_another_name(data: Path) -> Spoiled:
    (data / "val").rename(data / "valid")
    return str(data), "valid/images besides train/", "Name it train/, val/ or test/"


def two_files_of_classes(data: Path) -> Spoiled:
    for suffix in ("yml", "yaml"):
        (data / f"dataset.{suffix}").write_text("name: a\n")
    return str(data), "both dataset.yaml and dataset.yml", "Keep one"


SPOILS = [
    truncated_image, truncated_mask, zero_bytes, html, thirty_thousand_pixels, a_mask_on_its_side,
    an_image_turned_by_exif_alone, equal_stems, stems_that_look_equal, a_name_that_is_no_unicode, a_link_to_nowhere,
    an_image_without_mask, a_mask_without_image, an_empty_folder, an_archive_in_place_of_a_folder, a_path_too_long,
    all_masks_empty, no_foreground_in_train, broad_soft_edges, soft_edges_of_halved_masks, one_mask_with_a_stray_value,
    a_value_that_no_class_has, a_colour_mask, several_pages, many_channels, deep_cmyk,
    numbered_objects, palettes_that_differ, a_negative_value, a_compression_of_an_extra, images_in_a_subfolder,
    a_split_of_another_name, two_files_of_classes,
    a_table_of_other_images, a_patient_in_two_splits, two_slices_of_one_number, a_table_of_another_form,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS, ids=lambda spoil: spoil.__name__)
def test_training_refuses(
    data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], Spoiled]
) -> None:
    started: list[object] = []
    monkeypatch.setattr("s2mnet.workflow.train", lambda *arguments, **_: started.append(arguments))
    words = spoil(data)
    refused(s2mnet("train", data, "-o", tmp_path / "run", "--epochs", 1), *words)
    assert not started and not (tmp_path / "run").exists()


def test_inspect_names_each_file_at_fault(data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    """Files are read by the same functions as in training: one folder with a fault in every other file."""
    files = [data / "train" / "images" / f"train_{number}.png" for number in range(4)]
    files[0].write_bytes(HTML)
    files[1].write_bytes(b"")
    files[2].write_bytes(files[2].read_bytes()[:-200])
    write_huge(files[3])
    status, out, err = s2mnet("inspect", data, "-o", tmp_path / "out")
    assert status == 1 and "Traceback" not in out + err
    assert all(f"train/images/{file.name}" in out for file in files)
    status, out, _ = s2mnet("inspect", data.parent / "nothing", "-o", tmp_path / "out")
    assert status == 2
    soft_edges_of_halved_masks(write_data(tmp_path / "soft"))
    status, out, _ = s2mnet("inspect", tmp_path / "soft", "-o", tmp_path / "out")
    assert status == 1 and "--labels threshold" in " ".join(out.split())


def test_masks_of_volumes_in_other_grids(tmp_path: Path, s2mnet: Cli) -> None:
    for name, size in (("predicted", 1.0), ("true", 1.1)):
        (tmp_path / name).mkdir()
        image = nibabel.Nifti1Image(np.ones((5, 4, 3), np.uint8), np.diag([size, size, 8.0, 1.0]))
        nibabel.save(image, tmp_path / name / "a.nii.gz")
    words = (str(tmp_path / "predicted" / "a.nii.gz"), "an affine that puts a corner", "Resample")
    refused(s2mnet("evaluate", tmp_path / "predicted", tmp_path / "true"), *words)


def test_neighbours_of_images_that_are_no_slices(tmp_path: Path, s2mnet: Cli) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "source" / kind).mkdir(parents=True)
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "source" / kind / "a.jpg")
    arguments = ("prepare", "Kvasir-SEG", tmp_path / "source", tmp_path / "out", "--neighbours", 1)
    refused(s2mnet(*arguments), "--neighbours", "no set of volumes")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


# Coped with -----------------------------------------------------------------------------------------------------------


def test_the_content_counts_and_not_the_extension(
    data: Path, tmp_path: Path, predicted: Callable[[Path], dict[str, np.ndarray]]
) -> None:
    for folder, suffix in (("right", "jpg"), ("wrong", "png")):
        (tmp_path / folder).mkdir()
        Image.open(an_image(data)).save(tmp_path / folder / f"a.{suffix}", format="JPEG")
    np.testing.assert_array_equal(predicted(tmp_path / "wrong")["a"], predicted(tmp_path / "right")["a"])


@pytest.mark.parametrize("form", ["jpg", "tif"])
def test_cmyk_becomes_rgb(
    data: Path, tmp_path: Path, predicted: Callable[[Path], dict[str, np.ndarray]], form: str
) -> None:
    for folder in ("cmyk", "rgb"):
        (tmp_path / folder).mkdir()
    Image.open(an_image(data)).convert("CMYK").save(tmp_path / "cmyk" / f"a.{form}", quality=95)
    ink = np.asarray(Image.open(tmp_path / "cmyk" / f"a.{form}")).astype(float)
    assert ink.shape == (48, 64, 4)
    rgb = (255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255  # the inks as filters, one behind the other
    assert np.abs(read_image(tmp_path / "cmyk" / f"a.{form}") - rgb).max() <= 1
    Image.fromarray(np.rint(rgb).astype(np.uint8)).save(tmp_path / "rgb" / "a.png")
    differing = predicted(tmp_path / "cmyk")["a"] != predicted(tmp_path / "rgb")["a"]
    assert differing.mean() < 0.01


@pytest.mark.parametrize(("width", "height"), [(1, 1), (SIDE, 3), (2, SIDE)])
def test_tiny_and_long_images_are_predicted_in_their_size(
    tmp_path: Path, predicted: Callable[[Path], dict[str, np.ndarray]], width: int, height: int
) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (width, height), (200, 120, 90)).save(tmp_path / "in" / "a.png")
    mask = predicted(tmp_path / "in")["a"]
    assert mask.shape == (height, width) and set(np.unique(mask)) <= {0, 255}


def test_one_pixel_images_are_trained_with_a_warning(data: Path, accepted: Callable[..., str]) -> None:
    for file in (an_image(data), a_mask(data)):
        Image.new("L", (1, 1), 255).save(file)
    assert "train/images/train_0.png has a side below 32 px" in accepted(data)


def test_exif_orientation_turns_the_image_and_its_mask(
    data: Path, tmp_path: Path, predicted: Callable[[Path], dict[str, np.ndarray]], accepted: Callable[..., str]
) -> None:
    for folder in ("stored", "shown"):
        (tmp_path / folder).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright = pixels(an_image(data))
    Image.fromarray(np.rot90(upright)).save(tmp_path / "stored" / "a.png", exif=exif)
    Image.fromarray(upright).save(tmp_path / "shown" / "a.png")
    mask = predicted(tmp_path / "stored")["a"]
    assert mask.shape == (48, 64)
    np.testing.assert_array_equal(mask, predicted(tmp_path / "shown")["a"])
    shutil.copy(tmp_path / "stored" / "a.png", an_image(data))
    assert "8 train" in accepted(data)


def test_names_with_spaces_letters_and_markup(
    data: Path, tmp_path: Path, s2mnet: Cli, tiny_run: Path, accepted: Callable[..., str]
) -> None:
    for file in data.glob("test/*/test_0.png"):
        file.rename(file.with_stem(NAME))
    assert "8 train, 2 val, 2 test" in accepted(data)
    assert s2mnet("inspect", data, "-o", tmp_path / "inspected")[0] == 0
    status, _, err = s2mnet("predict", tiny_run, data / "test" / "images", "-o", tmp_path / "out")
    assert status == 0 and (tmp_path / "out" / "masks" / f"{NAME}.png").is_file(), err
    status, _, err = s2mnet("evaluate", tmp_path / "out" / "masks", data / "test" / "masks", "-o", tmp_path / "ev")
    assert status == 0 and f"{NAME}," in (tmp_path / "ev" / "metrics.csv").read_text(encoding="utf-8"), err


def test_one_name_in_two_forms_of_unicode_is_a_pair(data: Path, accepted: Callable[..., str]) -> None:
    an_image(data).rename(an_image(data).with_stem(unicodedata.normalize("NFC", "é")))
    a_mask(data).rename(a_mask(data).with_stem(unicodedata.normalize("NFD", "é")))
    assert "8 train, 2 val, 2 test" in accepted(data)


def test_narrow_soft_edges_are_cut_at_127_and_said_to_be(data: Path, accepted: Callable[..., str]) -> None:
    def soften(mask: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(mask)
        for place, value in enumerate((60, 120, 180, 230)):
            mask[rows[place], columns[place]] = value
        return mask

    change_masks(data, soften)
    assert "values ≤ 127 read as background" in accepted(data)


def test_soft_edges_of_halved_masks_can_be_cut_as_the_message_says(data: Path, accepted: Callable[..., str]) -> None:
    soft_edges_of_halved_masks(data)
    assert "two labels: 0 background, 255 foreground" in accepted(data, "--labels", "threshold")
    (data / "dataset.yaml").write_text("classes: {0: background, 64: a, 128: b, 191: c, 255: d}\n")
    assert "5 labels: 0 background, 64 a, 128 b, 191 c, 255 d" in accepted(data)


def test_a_label_absent_from_training_is_warned_of(data: Path, accepted: Callable[..., str]) -> None:
    change_masks(data, lambda mask: mask // 255)
    change_masks(data, lambda mask: 2 * mask, "test")
    assert "warning No mask of train and val holds class 2 (value 2)." in accepted(data)


def test_a_class_without_a_pixel_is_warned_of_and_harmless(data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    (data / "dataset.yaml").write_text("classes: {0: background, 255: disc, 7: cup}\n")
    tiny_plan(data, epochs=1).save(tmp_path / "plan.yaml")
    status, out, err = s2mnet("train", data, "-o", tmp_path / "run", "--plan", tmp_path / "plan.yaml")
    assert status == 0, err
    assert "No mask of train and val and test holds cup (value 7)." in " ".join(out.split())
    weights = Predictor(tmp_path / "run").network.state_dict().values()
    assert all(bool(torch.isfinite(values).all()) for values in weights)


# Memory ---------------------------------------------------------------------------------------------------------------


def test_an_image_beyond_the_bound_is_refused_before_its_pixels_are_decoded(tmp_path: Path) -> None:
    """In a process of its own, whose largest memory the system measures: whole, the image takes 900 MB."""
    resource = pytest.importorskip("resource", reason="only Unix measures the memory of a process")
    assert resource
    write_huge(tmp_path / "huge.png")
    code = (
        "import resource, sys; from s2mnet.data import read_image; from s2mnet.errors import S2MNetError\n"
        "largest = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = largest()\n"
        "try: read_image(sys.argv[1])\n"
        "except S2MNetError: print((largest() - before) * (1 if sys.platform == 'darwin' else 1024))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "huge.png"], capture_output=True, text=True)
    assert int(done.stdout) < 50e6, done.stderr


@pytest.mark.parametrize(("dtype", "shape"), [("uint8", (3,)), ("uint16", ()), ("uint16", (3,)), ("float32", ())])
def test_reading_takes_no_more_bytes_a_pixel_than_stated(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    content = np.random.default_rng(0).integers(0, 255, (800, 1000, *shape)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", content, photometric="rgb" if shape else "minisblack")
    read_image(tmp_path / "a.tif")  # what is loaded once does not count
    tracemalloc.start()
    read_image(tmp_path / "a.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    beside = 4 * len(content.shape[2:]) * 2  # Pillow's own, which is not traced: RGB and a copy of it, 4 bytes each
    assert peak / (800 * 1000) + beside < 30


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("alloc: can't allocate memory")]
)
def test_an_image_that_does_not_fit_the_memory_does_not_lose_the_others(
    tiny_run: Path, data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    prepare = Predictor.prepare
    Image.new("RGB", (640, 480)).save(data / "test" / "images" / "large.png")

    def short_of_memory(self: Predictor, image: np.ndarray) -> np.ndarray:
        if image.shape[0] == 480:
            raise error
        return prepare(self, image)

    monkeypatch.setattr(Predictor, "prepare", short_of_memory)
    result = s2mnet("predict", tiny_run, data / "test" / "images", "-o", tmp_path / "out")
    refused(result, "large.png", "480 × 640 px", "too many for the free memory", "tiles", "2 of 3 images")
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2


def test_an_image_that_memory_is_too_short_to_read(
    data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", short_of_memory)
    refused(s2mnet("train", data, "-o", tmp_path / "run"), "train_0.png", "more pixels than fit the free memory")


# Outputs --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made; for root, who may do anything, the kernel's own."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):
        if not Path("/sys/kernel").is_dir():
            pytest.skip("no folder is closed to this user")
        yield Path("/sys/s2mnet")
    else:
        yield folder / "out"
    folder.chmod(0o755)


@pytest.mark.parametrize("command", ["train", "predict", "inspect", "evaluate", "plan", "prepare"])
def test_a_read_only_output(
    command: str, locked: Path, tiny_run: Path, data: Path, tmp_path: Path, s2mnet: Cli
) -> None:
    tiny_plan(data, epochs=1).save(tmp_path / "plan.yaml")
    (tmp_path / "DRIVE").mkdir()
    arguments = {
        "train": (data, "--plan", tmp_path / "plan.yaml", "-o", locked),
        "predict": (tiny_run, data / "test" / "images", "-o", locked),
        "inspect": (data, "-o", locked),
        "evaluate": (tiny_run, data, "-o", locked),
        "plan": (data, "-o", locked / "plan.yaml"),
        "prepare": ("DRIVE", tmp_path / "DRIVE", locked),
    }[command]
    refused(s2mnet(command, *arguments), locked.name, "cannot be written to", "choose another folder")
    assert not locked.exists()


def fill_disk(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Let the disk be full when a file is to get this name."""
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target) == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)


def test_a_full_disk_while_predicting(
    tiny_run: Path, data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, tmp_path / "out" / "masks" / "test_1.png")
    result = s2mnet("predict", tiny_run, data / "test" / "images", "-o", tmp_path / "out")
    refused(result, "test_1.png", "No space left on device", "Free space")
    assert [file.name for file in (tmp_path / "out" / "masks").iterdir()] == ["test_0.png"]  # whole or not at all


@pytest.mark.parametrize("name", ["history.json", "model.safetensors", "training/last.ckpt"])
def test_a_full_disk_while_training(
    data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tiny_plan(data, epochs=1).save(tmp_path / "plan.yaml")
    fill_disk(monkeypatch, tmp_path / "run" / name)
    result = s2mnet("train", data, "--plan", tmp_path / "plan.yaml", "-o", tmp_path / "run")
    refused(result, name, "No space left on device", "Free space")
    assert not [file for file in (tmp_path / "run").rglob("*.part")] and not (tmp_path / "run" / name).exists()


@pytest.mark.parametrize("command", [["datasets"], ["--help"]], ids=" ".join)
def test_an_output_that_takes_no_more_is_one_message(command: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "s2mnet", *command], stdout=full, stderr=subprocess.PIPE, text=True
        )
    refused((done.returncode, "", done.stderr), "Standard output cannot be written to: No space left on device")


def test_two_processes_do_not_train_in_one_folder(data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    run = tmp_path / "run"
    train_tiny(data, run, epochs=1)
    hold = (
        f"from pathlib import Path\nfrom s2mnet.training.run import reserved\nwith reserved(Path({str(run)!r}), True):"
    )
    hold += "\n    print('held', flush=True)\n    input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        for options in ([], ["--resume"]):
            refused(s2mnet("train", data, "-o", run, *options), f"{run} is being written by another process")
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
        holder.kill()
        holder.wait()
    assert (run / ".lock").exists()  # a stale file, and no lock
    status, _, err = s2mnet("train", data, "-o", run, "--resume", "--epochs", 1)
    assert status == 0, err
    assert not (run / ".lock").exists()


def test_predictions_replace_no_data(tiny_run: Path, data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    test = data / "test"
    before = {file: file.read_bytes() for file in test.rglob("*.png")}
    refused(s2mnet("predict", tiny_run, test / "images", "-o", test), str(test), "is a data folder", "-o")
    refused(s2mnet("predict", tiny_run, test / "masks", "-o", test), str(test), "-o")
    test_only_masks = tmp_path / "scans"
    shutil.copytree(test / "images", test_only_masks / "masks")
    refused(s2mnet("predict", tiny_run, test_only_masks / "masks", "-o", test_only_masks), "the input images")
    assert {file: file.read_bytes() for file in test.rglob("*.png")} == before
    assert not (test / "overlays").exists() and not (test_only_masks / "overlays").exists()


def test_mirrored_views_of_a_model_that_knows_sides(tiny_run: Path, data: Path, tmp_path: Path, s2mnet: Cli) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"mirrors": true', '"mirrors": false'))
    images, out = data / "test" / "images", tmp_path / "out"
    refused(s2mnet("predict", tmp_path / "run", images, "-o", out, "--tta", 4), "--tta", "is 4", "side", "use 1")
    status, _, err = s2mnet("predict", tmp_path / "run", images, "-o", out, "--tta", 1)
    assert status == 0, err


def test_an_archive_that_reaches_out(tmp_path: Path, s2mnet: Cli) -> None:
    with zipfile.ZipFile(tmp_path / "DRIVE.zip", "w") as archive:
        archive.writestr("DRIVE/training/a.txt", "fine")
        archive.writestr("../evil.txt", "evil")
    result = s2mnet("prepare", "DRIVE", tmp_path / "DRIVE.zip", tmp_path / "below" / "out")
    refused(result, "DRIVE.zip", "'../evil.txt', which points out of it", "unpack it yourself")
    assert [file.name for file in tmp_path.rglob("*")] == ["DRIVE.zip"]


# The table ------------------------------------------------------------------------------------------------------------


def test_the_table_names_every_test_here() -> None:
    table = (Path(__file__).resolve().parents[1] / "docs" / "refusals.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in table.splitlines() if line.startswith("|")][2:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[-2])}
    here = {name for name in globals() if name.startswith("test_")} | {spoil.__name__ for spoil in SPOILS}
    assert named == here - {"test_training_refuses", "test_the_table_names_every_test_here"}
