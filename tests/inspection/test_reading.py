"""Reading of data folders for training: what a plan is decided from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from skimage.draw import disk

from s2mnet.data.cases import find_cases
from s2mnet.data.images import read_image, read_mask
from s2mnet.data.pairs import load_case
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import Fingerprint, inspect_folder, read_folder
from s2mnet.fingerprint.record import Spread
from s2mnet.fingerprint.shapes import contrast, mean_thickness
from s2mnet.plan import make_plan


def put(path: Path, array: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def put_pair(root: Path, name: str, height: int = 40, width: int = 48, value: int = 255, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    mask[8:13, 4:40] = value
    put(root / "images" / f"{name}.png", generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
    put(root / "masks" / f"{name}.png", mask)


# --- reading


def test_summary_against_numpy(tmp_path: Path) -> None:
    for index in range(10):
        put_pair(tmp_path, f"case{index}", height=40 + index, width=48 + 2 * index, seed=index)
    folder = find_cases(tmp_path)
    fingerprint = read_folder(folder)
    every = [case for cases in folder.splits.values() for case in cases]
    train = folder.splits["train"]
    pixels = np.concatenate([np.asarray(Image.open(case.image)).reshape(-1, 3) for case in train]) / 255
    truth = [np.asarray(Image.open(case.mask)) > 0 for case in every]
    trained = [np.asarray(Image.open(case.mask)) > 0 for case in train]
    assert fingerprint.counts == {"train": 5, "val": 1, "test": 4}
    assert fingerprint.height == Spread(minimum=40, median=44.5, maximum=49)
    assert fingerprint.width == Spread(minimum=48, median=57, maximum=66)
    assert fingerprint.size_range == "40×48 to 49×66"
    assert fingerprint.channels == 3
    np.testing.assert_allclose([c.mean for c in fingerprint.intensity], pixels.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose([c.std for c in fingerprint.intensity], pixels.std(axis=0), rtol=1e-9)
    share = sum(mask.sum() for mask in truth) / sum(mask.size for mask in truth)
    np.testing.assert_allclose([entry.share for entry in fingerprint.classes], [1 - share, share], rtol=1e-9)
    assert fingerprint.foreground_share == pytest.approx(np.median([mask.mean() for mask in trained]))
    assert fingerprint.thickness_px == pytest.approx(5, abs=0.6)  # a bar of 5 × 36 px
    assert fingerprint.label_map.values == [0, 255] and fingerprint.problems == []
    assert Fingerprint.model_validate_json(fingerprint.model_dump_json()) == fingerprint


def test_grey_in_any_storage_is_one_channel_and_one_colour_image_makes_three(tmp_path: Path) -> None:
    for index in range(4):
        put_pair(tmp_path, f"c{index}")
        grey = np.random.default_rng(index).integers(0, 256, (40, 48), dtype=np.uint8)
        put(tmp_path / "images" / f"c{index}.png", grey if index % 2 else np.stack([grey] * 3, axis=-1))
    folder = find_cases(tmp_path)
    train = np.concatenate([np.asarray(Image.open(case.image).convert("L")) for case in folder.splits["train"]]) / 255
    fingerprint = read_folder(folder)
    assert fingerprint.channels == 1
    (only,) = fingerprint.intensity
    np.testing.assert_allclose([only.mean, only.std], [train.mean(), train.std()], rtol=1e-9)
    put(folder.splits["val"][0].image, np.random.default_rng(9).integers(0, 256, (40, 48, 3), dtype=np.uint8))
    assert read_folder(folder).channels == 3


def test_ignored_pixels_count_for_nothing(tmp_path: Path) -> None:
    for index in range(2):
        put_pair(tmp_path, f"c{index}", value=1)
        mask = read_mask(tmp_path / "masks" / f"c{index}.png")
        mask[20:] = 255
        put(tmp_path / "masks" / f"c{index}.png", mask)
    fingerprint = read_folder(find_cases(tmp_path))
    assert fingerprint.label_map.ignore_value == 255
    assert fingerprint.foreground_share == pytest.approx(5 * 36 / (20 * 48))
    np.testing.assert_allclose(
        [entry.share for entry in fingerprint.classes], [1 - 5 * 36 / (20 * 48), 5 * 36 / (20 * 48)]
    )
    assert fingerprint.thickness_px == pytest.approx(5, abs=0.6)


def test_all_files_at_fault_are_reported_at_once(tmp_path: Path) -> None:
    for index in range(14):
        put_pair(tmp_path, f"c{index:02}")
    put(tmp_path / "masks" / "c00.png", np.zeros((48, 40), np.uint8))
    (tmp_path / "images" / "c01.png").write_bytes(b"")
    (tmp_path / "masks" / "c02.png").write_text("<html></html>")
    with pytest.raises(S2MNetError) as caught:
        read_folder(find_cases(tmp_path))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path} has 3 files with errors. Correct each:\n")
    assert "masks/c00.png has 48 × 40 px (height × width); its image c00.png has 40 × 48 px. Export" in message
    assert "images/c01.png is an empty file" in message
    assert "masks/c02.png is not a png, jpg, tif, bmp or gif image" in message
    for index in range(14):
        (tmp_path / "images" / f"c{index:02}.png").write_bytes(b"")
    with pytest.raises(S2MNetError, match=r"has 14 files with errors(.|\n)*… and 4 more$") as caught:
        read_folder(find_cases(tmp_path))
    message = str(caught.value)
    assert "an empty file" in message
    assert [index for index in range(14) if f"images/c{index:02}.png" in message] == list(range(10))


def test_one_file_at_fault_is_the_error_itself(tmp_path: Path) -> None:
    for name in "abc":
        put_pair(tmp_path, name)
    (tmp_path / "images" / "b.png").write_bytes(b"")
    with pytest.raises(S2MNetError, match=r"b\.png is an empty file \(0 bytes\)\. Export it again") as caught:
        read_folder(find_cases(tmp_path))
    assert caught.value.where == str(tmp_path / "images" / "b.png")


def test_labels_that_make_no_sense_stop_the_reading(tmp_path: Path) -> None:
    for split, stems in (("train", "abc"), ("val", "d"), ("test", "e")):
        for name in stems:
            put_pair(tmp_path / split, name)
    put_pair(tmp_path / "test", "f", value=7)
    with pytest.raises(S2MNetError, match=r"f\.png has the value 7 on 180 px"):
        read_folder(find_cases(tmp_path))
    assert read_folder(find_cases(tmp_path), labels="binary").label_map.kind == "binary"


def test_the_threshold_lies_between_127_and_128(tmp_path: Path) -> None:
    for value in (127, 128):
        for name in "ab":
            put_pair(tmp_path / str(value), name, value=value)
    with pytest.raises(S2MNetError, match="no value is above 127; the largest is 127"):
        read_folder(find_cases(tmp_path / "127"), labels="threshold")
    folder = find_cases(tmp_path / "128")
    labels = read_folder(folder, labels="threshold").label_map
    assert labels is not None
    case = folder.splits["train"][0]
    assert np.array_equal(load_case(case, labels)[1], read_mask(case.mask or case.image) == 128)
    mask = read_mask(case.mask or case.image)
    mask[20:25, :] = 127
    put(tmp_path / "128/masks" / f"{case.name}.png", mask)
    again = read_folder(folder, labels="threshold")
    assert np.array_equal(load_case(case, labels)[1], mask == 128)
    assert again.classes[1].share == pytest.approx(5 * 36 / (40 * 48))


def test_train_without_foreground_is_refused(tmp_path: Path) -> None:
    put_pair(tmp_path / "train", "a", value=0)
    put_pair(tmp_path / "val", "b")
    with pytest.raises(S2MNetError, match="no foreground in any train mask"):
        read_folder(find_cases(tmp_path))


def test_warnings_name_what_may_hurt(tmp_path: Path) -> None:
    put_pair(tmp_path / "train", "a", value=1)
    put_pair(tmp_path / "train", "b", value=0)
    put_pair(tmp_path / "train", "c", value=1, height=20)
    put_pair(tmp_path / "val", "d", value=2)
    fingerprint = read_folder(find_cases(tmp_path))
    text, notes = "\n".join(fingerprint.warnings), [str(p) for p in fingerprint.problems if p.severity == "note"]
    assert len(notes) == 1 and notes[0].startswith("1 of 4 masks is empty (25%), train/masks/b.png for example.")
    assert "No mask of train holds class 2 (value 2)" in text
    assert "No mask of val holds class 1 (value 1)" in text
    assert "train/images/c.png has a side below 32 px" in text
    assert "has no test images" in text


def test_a_turned_photograph_and_its_upright_mask_fit(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    for index in range(2):
        put_pair(tmp_path, f"c{index}", height=40, width=48)
        (tmp_path / "images" / f"c{index}.png").unlink()
        exif = Image.Exif()
        exif[0x0112] = 6
        stored = generator.integers(0, 256, (48, 40, 3), dtype=np.uint8)
        path = put(tmp_path / "images" / f"c{index}.jpg", stored, exif=exif)
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_image(path), np.asarray(ImageOps.exif_transpose(image)))
    assert read_folder(find_cases(tmp_path)).height == Spread.of([40])


# --- thickness


@given(width=st.integers(1, 15), length=st.integers(80, 150), turned=st.booleans())
def test_thickness_of_a_line_is_its_width(width: int, length: int, turned: bool) -> None:
    mask = np.zeros((30, 160), bool)
    mask[5 : 5 + width, 3 : 3 + length] = True
    assert mean_thickness(mask.T if turned else mask) == pytest.approx(width, abs=0.6)


@pytest.mark.parametrize("radius", [5, 12, 40])
def test_thickness_of_a_disc_is_near_its_diameter(radius: int) -> None:
    mask = np.zeros((100, 100), bool)
    mask[disk((50, 50), radius)] = True
    assert mean_thickness(mask) == pytest.approx(2 * radius, abs=1)
    assert mean_thickness(np.zeros((9, 9), bool)) == 0


def test_vessels_are_thinner_than_polyps(shared_data: Path) -> None:
    vessels = [read_mask(file) > 127 for file in sorted((shared_data / "DRIVE/training/1st_manual").glob("*.gif"))[:4]]
    polyps = [read_mask(file) > 127 for file in sorted((shared_data / "Kvasir-SEG/masks").glob("*.jpg"))[:4]]
    thin, thick = [mean_thickness(mask) for mask in vessels], [mean_thickness(mask) for mask in polyps]
    assert min(thin) > 2 and max(thin) < 6  # vessels of DRIVE: 1 to 10 px
    assert min(thick) > 30


# --- what a plan is decided from


def noisy(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(mask > 0, 255 - rng.integers(0, 6, mask.shape), rng.integers(0, 6, mask.shape)).astype(np.uint8)


@pytest.mark.parametrize("values", ["0 and 255", "noise", "ignored", "declared"])
def test_thickness_and_contrast_are_those_of_every_second_of_60_marked_masks(tmp_path: Path, values: str) -> None:
    """Of 78 train images 18 have an empty mask, so that masks are needed that were not chosen before they were read."""
    rng = np.random.default_rng(4)
    if values == "declared":
        (tmp_path / "dataset.yaml").write_text("classes: {7: background, 3: bar}")
    for split, count in (("train", 78), ("val", 2)):
        for number in range(count):
            mask = np.zeros((40, 48), np.uint8)
            mask[8 : 9 + number % 13, 4:44] = 255 * (number % 13 not in (5, 6, 9))
            image = rng.integers(0, 100, (40, 48, 3)) + mask[..., None] // 255 * rng.integers(0, 150, 3)
            if values == "noise":
                mask = noisy(mask, rng)
            elif values != "0 and 255":
                mask = np.where(mask > 0, *((1, 0) if values == "ignored" else (3, 7))).astype(np.uint8)
                mask[30:] = 255 if values == "ignored" else 7
            put(tmp_path / split / "images" / f"{number:02}.png", image.astype(np.uint8))
            put(tmp_path / split / "masks" / f"{number:02}.png", mask)
        for kind in ("images", "masks"):
            for file in (tmp_path / split / kind).iterdir():
                file.rename(file.with_name(f"{split}{file.name}"))
    folder = find_cases(tmp_path)
    fingerprint = read_folder(folder)
    assert fingerprint.label_map is not None
    loaded = [load_case(case, fingerprint.label_map) for case in folder.splits["train"]]
    marked = [(image, mask == 1) for image, mask in loaded if (mask == 1).any()]
    assert len(marked) == 60
    thickness = np.median([mean_thickness(mask) for _, mask in marked[::2]])
    clear = np.median([contrast(image, mask) for image, mask in marked[::2]], axis=0)
    assert fingerprint.thickness_px == pytest.approx(thickness)
    np.testing.assert_allclose(fingerprint.contrast, clear)


@pytest.mark.parametrize(
    ("values", "names"), [((0, 255), ""), ((0, 1, 255), ""), ((0, 7, 9), "classes: {9: ground, 0: a, 7: b}")]
)
def test_every_file_is_decoded_exactly_once_whatever_its_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: tuple[int, ...], names: str
) -> None:
    from s2mnet.data import images

    for index in range(10):
        put_pair(tmp_path, f"c{index}", seed=index)
        mask = np.random.default_rng(index).choice(values, (40, 48)).astype(np.uint8)
        put(tmp_path / "masks" / f"c{index}.png", mask)
    (tmp_path / "dataset.yaml").write_text(names)
    read: list[Path] = []
    decode = images.decode
    monkeypatch.setattr(images, "decode", lambda path: read.append(path) or decode(path))
    fingerprint = read_folder(find_cases(tmp_path))
    assert sorted(read) == sorted(tmp_path.glob("*/*.png")) and len(fingerprint.contrast) == 3


def test_a_saved_inspection_gives_the_same_plan(tmp_path: Path) -> None:
    for index in range(12):
        put_pair(tmp_path / "data", f"c{index:02}", height=40 + index, seed=index)
    inspect_folder(tmp_path / "data").save(tmp_path / "fingerprint.json")
    read = read_folder(find_cases(tmp_path / "data"))
    saved = Fingerprint.load(tmp_path / "fingerprint.json")
    assert make_plan(saved, size=32) == make_plan(read, size=32)
    assert saved.images and not read.images  # only an inspection goes into every image


def test_training_stops_where_an_inspection_lists_errors_in_the_same_words(tmp_path: Path) -> None:
    for index in range(10):
        put_pair(tmp_path, f"c{index}", seed=index, height=20 if index == 4 else 40)
    (tmp_path / "images" / "c3.png").write_bytes(b"")
    mask = read_mask(tmp_path / "masks" / "c5.png")
    mask[0, :3] = 97
    put(tmp_path / "masks" / "c5.png", mask)
    inspected = inspect_folder(tmp_path)
    errors = [problem for problem in inspected.problems if problem.severity == "error"]
    assert [problem.file for problem in errors] == ["images/c3.png", "masks/c5.png"]
    with pytest.raises(S2MNetError) as caught:
        read_folder(find_cases(tmp_path))
    assert str(caught.value).splitlines()[1:] == [f"  - {problem.sentence} {problem.fix}" for problem in errors]
    with pytest.raises(S2MNetError, match="has 2 files with errors"):
        make_plan(inspected)
    put_pair(tmp_path, "c3", seed=3)
    put_pair(tmp_path, "c5", seed=5)
    warnings = read_folder(find_cases(tmp_path)).warnings
    assert len(warnings) == 1 and warnings[0].startswith("images/c4.png has a side below 32 px.")
    assert set(warnings) < set(inspect_folder(tmp_path).warnings)  # which also sees that all masks are one


# --- field of view


def write_fields(folder: Path, **fields: np.ndarray) -> None:
    (folder / "fields").mkdir()
    for name, field in fields.items():
        Image.fromarray(field).save(folder / "fields" / f"{name}.png")


def test_outside_of_the_field_of_view_nothing_is_known(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inside = (rng.integers(0, 2, (40, 40)) * rng.integers(1, 256, (40, 40))).astype(np.uint8)  # any value above 0
    masks = {}
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        masks[split] = rng.integers(0, 2, (40, 40)).astype(np.uint8) * 255
        Image.fromarray(rng.integers(0, 255, (40, 40)).astype(np.uint8)).save(
            tmp_path / split / "images" / f"{split}.png"
        )
        Image.fromarray(masks[split]).save(tmp_path / split / "masks" / f"{split}.png")
    write_fields(tmp_path / "train", train=inside)
    folder = find_cases(tmp_path)
    labels = read_folder(folder).label_map
    indices = load_case(folder.splits["train"][0], labels)[1]
    assert np.array_equal(indices, np.where(inside > 0, masks["train"] > 0, 255))
    assert set(np.unique(load_case(folder.splits["val"][0], labels)[1])) == {0, 1}
    Image.fromarray(inside[:39]).save(tmp_path / "train" / "fields" / "train.png")
    with pytest.raises(S2MNetError, match=r"fields.train\.png.*39 × 40"):
        read_folder(folder)
    (tmp_path / "train" / "fields" / "train.png").rename(tmp_path / "train" / "fields" / "other.png")
    with pytest.raises(S2MNetError, match=r"no field of view for 1 images: train\.png"):
        find_cases(tmp_path)
