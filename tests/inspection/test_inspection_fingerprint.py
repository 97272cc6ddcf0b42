"""The numbers of a fingerprint against NumPy, SciPy and Pillow on the same files."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import COUNTS, blob, cases, clean_folder, put, texture
from rich.console import Console

from s2mnet.data import find_cases
from s2mnet.data.images import read_image
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import Fingerprint, inspect_folder, read_folder
from s2mnet.fingerprint.storedform import stored_form
from s2mnet.inspection import print_fingerprint, write_page
from s2mnet.plan import make_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clean_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def found(folder: Path) -> Fingerprint:
    return inspect_folder(folder)


def pixels(folder: Path, what: str, split: str = "*") -> list[np.ndarray]:
    return [np.array(Image.open(file)) for file in sorted(folder.glob(f"{split}/{what}/*.png"))]


def test_counts_and_sizes(tmp_path: Path) -> None:
    clean_folder(tmp_path)
    put(tmp_path, "val0", texture(40)[:48], blob(5)[:48])
    steps: list[tuple[int, int]] = []
    found = inspect_folder(tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert found.counts == COUNTS and steps == [(n, 9) for n in range(1, 10)]
    assert found.height is not None and found.width is not None
    assert (found.height.minimum, found.height.median, found.height.maximum) == (48, 64, 64)
    assert found.width.minimum == found.width.maximum == 64
    assert [(i.height, i.width) for i in found.images if i.name == "val0"] == [(48, 64)]


def test_intensities_are_those_of_all_train_pixels(folder: Path, found: Fingerprint) -> None:
    train = np.concatenate([image.reshape(-1, 3) for image in pixels(folder, "images", "train")]) / 255
    for number, channel in enumerate(found.intensity):
        values = train[:, number]
        assert channel.mean == pytest.approx(values.mean()) and channel.std == pytest.approx(values.std())
        for percent, value in channel.percentiles.items():
            assert value == pytest.approx(np.percentile(values, float(percent), method="inverted_cdf"))
    assert len(found.intensity) == 3


def test_label_values_classes_and_foreground(folder: Path, found: Fingerprint) -> None:
    masks = pixels(folder, "masks")
    share = np.concatenate([mask.ravel() == 255 for mask in masks]).mean()
    assert [(v.value, v.masks) for v in found.label_values] == [(0, 9), (255, 9)]
    assert found.label_values[1].share == found.classes[1].share == pytest.approx(share)
    assert found.classes[1].masks == COUNTS and found.label_map is not None
    shares = {image.name: image.foreground for image in found.images}
    assert shares["train2"] == pytest.approx((blob(2) == 255).mean())


def test_shapes_are_those_of_the_drawn_figures(tmp_path: Path) -> None:
    y, x = np.mgrid[:200, :200]
    for seed, name in cases():
        mask = np.zeros((200, 200), np.uint8)
        mask[np.hypot(y - 60, x - 60 - seed) < 40] = 1  # a disc
        mask[150:155, seed : 190 - seed] = 2  # a bar of 5 px
        put(tmp_path, name, texture(seed, 200), mask)
    found = inspect_folder(tmp_path)
    disc, bar = (entry.morphology for entry in found.classes[1:])
    assert disc is not None and bar is not None and found.classes[0].morphology is None
    assert disc.thickness_px.median == pytest.approx(80, abs=2) and bar.thickness_px.median == pytest.approx(5, abs=0.5)
    assert disc.compactness.median == pytest.approx(1, abs=0.1) and bar.compactness.median < 0.3
    assert bar.tubularity.median == pytest.approx(1 / 5, abs=0.03) and disc.tubularity.median < 0.05
    areas = sorted(5 * (190 - 2 * seed) / 200**2 for seed in range(9))
    assert sorted(bar.size.values) == pytest.approx(areas)
    assert [bar.size.lower, bar.size.upper] == pytest.approx(np.percentile(areas, [25, 75]))


def test_ignored_pixels_are_no_foreground_and_no_truth(tmp_path: Path) -> None:
    clean_folder(tmp_path)
    (tmp_path / "dataset.yaml").write_text("classes: {0: background, 1: vessel}\nignore: 255\n")
    for seed, name in cases():
        mask = blob(seed) // 255
        mask[:8] = 255
        put(tmp_path, name, mask=mask)
    found = inspect_folder(tmp_path)
    expected = np.mean([(blob(seed)[8:] == 255).mean() for seed, _ in cases()])
    assert found.classes[1].share == pytest.approx(expected) and found.classes[1].name == "vessel"
    first = next(image for image in found.images if image.name == "train0")
    assert first.foreground == pytest.approx((blob(0)[8:] == 255).mean())
    morphology = found.classes[1].morphology
    assert morphology is not None and max(morphology.size.values) == pytest.approx(
        max((blob(seed)[8:] == 255).mean() for seed in range(9))
    )


def test_the_spectrum_is_that_of_the_images(folder: Path, found: Fingerprint) -> None:
    ratios = []
    for image in pixels(folder, "images"):
        power = np.abs(np.fft.fftshift(np.fft.fft2(image.astype(float), axes=(0, 1)), axes=(0, 1))) ** 2
        power[32, 32] = 0
        ratios.append((power[20:44, 20:44].sum((0, 1)) / power.sum((0, 1))).mean())
    energy = next(energy for energy in found.spectrum if energy.k == 24)
    assert energy.without_dc is not None
    assert sorted(energy.without_dc.values) == pytest.approx(sorted(ratios), rel=1e-6)
    assert energy.without_dc.mean == pytest.approx(np.mean(ratios), rel=1e-6)


def test_it_reads_back_as_it_was_written(found: Fingerprint, tmp_path: Path) -> None:
    found.save(tmp_path / "fingerprint.json")
    assert Fingerprint.load(tmp_path / "fingerprint.json") == found
    (tmp_path / "broken.json").write_text('{"name": 3}')
    for name in ("broken.json", "missing.json"):
        with pytest.raises(S2MNetError, match=name):
            Fingerprint.load(tmp_path / name)


def test_every_file_is_decoded_exactly_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from s2mnet.data import images

    read: list[Path] = []
    decode = images.decode
    monkeypatch.setattr(images, "decode", lambda path: read.append(path) or decode(path))
    inspect_folder(folder)
    assert sorted(read) == sorted(folder.glob("*/*/*.png"))


@pytest.mark.parametrize(
    "mode, suffix, form",
    [("L", "png", ("L", 8)), ("RGB", "jpg", ("RGB", 8)), ("P", "gif", ("P", 8)), ("1", "png", ("1", 1)),
     ("I;16", "png", ("I;16", 16)), ("I;16", "tif", ("I;16", 16)), ("RGBA", "png", ("RGBA", 8)),
     ("1", "tif", ("1", 1)), ("F", "tif", ("F", 32))],
)  # fmt: skip
def test_stored_forms(tmp_path: Path, mode: str, suffix: str, form: tuple[str, int]) -> None:
    Image.new(mode, (9, 9)).save(tmp_path / f"a.{suffix}")
    assert stored_form(tmp_path / f"a.{suffix}") == form


def test_png_of_few_bits_and_tiff_beyond_pillow(tmp_path: Path) -> None:
    import tifffile

    palette = Image.new("P", (9, 9))
    palette.putpalette([value for value in range(16) for _ in range(3)])
    palette.save(tmp_path / "a.png", bits=4)
    header = (tmp_path / "a.png").read_bytes()[24:26]  # bit depth and colour type of PNG
    assert header == b"\x04\x03" and stored_form(tmp_path / "a.png") == ("P", 4)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((9, 9, 3), np.float32), photometric="rgb")
    assert read_image(tmp_path / "b.tif").shape == (9, 9, 3) and stored_form(tmp_path / "b.tif") == ("other", 0)


def test_the_page_holds_pictures_problems_and_escapes_names(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "a&b")
    put(data, "val1", texture(2))
    digest = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in data.rglob("*.png")}
    page = write_page(inspect_folder(data), data, tmp_path / "page.html").read_text("utf-8")
    assert "a&amp;b" in page and "a&b:" not in page and "<script" not in page and "http" not in page
    for anchor in ("problems", "pictures", "images", "labels", "shapes", "spectrum", "look-alikes"):
        assert f'<section id="{anchor}">' in page
    assert page.count("data:image/jpeg") == 9 + 2 and page.count("data:image/svg+xml") == 5
    assert digest == {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in data.rglob("*.png")}


def test_a_page_of_a_folder_whose_labels_make_no_sense(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "data")
    for seed, name in cases():
        put(data, name, mask=(blob(seed) // 255 * (100 + np.arange(64) + seed)).astype(np.uint8))
    found = inspect_folder(data)
    page = write_page(found, data, tmp_path / "page.html").read_text("utf-8")
    assert found.label_map is None and "were not understood" in page and page.count("data:image/jpeg") == 9
    (data / "val/images/val1.png").unlink()
    assert write_page(found, data, tmp_path / "page.html").read_text("utf-8").count("data:image/jpeg") == 8


def test_the_screen_shows_numbers_and_problems(tmp_path: Path) -> None:
    data = clean_folder(tmp_path / "[bold]data")
    put(data, "val1", mask=blob(6)[:50])
    console = Console(file=io.StringIO(), width=200)
    print_fingerprint(inspect_folder(data), console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0].startswith("data      [bold]data: 9 images with masks (5 train, 2 val, 2 test)")
    assert any(line.startswith("error     val/masks/val1.png has 50 × 64 px") for line in lines)
    assert "problems  1 error" in lines


@pytest.mark.parametrize("cut", [False, True])
def test_how_structures_grow_with_the_image(tmp_path: Path, cut: bool) -> None:
    """Discs of one size in cuts of all sizes do not; the same picture at all sizes does."""
    rng = np.random.default_rng(1)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number, side in enumerate(np.geomspace(60, 400, 24).astype(int)):
        radius = 12 if cut else side / 5
        y, x = np.mgrid[:side, :side] - side / 2
        mask = np.hypot(y, x) < radius * rng.uniform(0.9, 1.1)
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / f"{number}.png")
        image = rng.integers(0, 80, (side, side)) + 150 * mask
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "images" / f"{number}.png")
    found = read_folder(find_cases(tmp_path))
    assert found.growth is not None
    low, high = found.growth
    assert low <= (0 if cut else 1) <= high and high - low < 0.3
    assert make_plan(found).preprocessing.extent == ("patches" if cut else "whole")


def test_growth_is_not_measured_on_images_of_one_size(found: Fingerprint) -> None:
    assert found.growth is None
