"""Prediction for Python users and of folders: size, label values, files."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import Cli, predict_probabilities, refused

from s2mnet import Predictor, S2MNet, S2MNetError
from s2mnet.data import LabelMap, read_image
from s2mnet.modelfolder import ModelConfig, save_model
from s2mnet.overlay import overlay
from s2mnet.plan import Preprocessing
from s2mnet.prediction import predict_folder


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def write_model(
    folder: Path, values: list[int], channels: int = 3, extent: str = "whole", threshold: float = 0.5
) -> Predictor:
    """An untrained model whose answers differ from pixel to pixel: every class occurs."""
    labels = LabelMap(kind="classes", values=values)
    torch.manual_seed(1)
    network = S2MNet(channels, labels.num_outputs, channels=(8, 8, 8, 8, 8), num_frequencies=4).eval()
    config = ModelConfig(
        preprocessing=Preprocessing(
            extent=extent, size=(32, 32), channels=channels, mean=[0.5] * channels, std=[0.05] * channels
        ),
        labels=labels,
        threshold=threshold,
    )
    save_model(network, config, folder)
    return Predictor(folder, "cpu", "torch")


@pytest.mark.parametrize("values", [[0, 255], [0, 1], [0, 10, 20], [0, 1, 2, 3], [0, 300]], ids=str)
@pytest.mark.parametrize("extent", ["whole", "patches"])
def test_masks_have_the_size_and_values_of_the_originals(tmp_path: Path, values: list[int], extent: str) -> None:
    predictor = write_model(tmp_path, values, extent=extent)
    if len(values) == 2:  # a threshold in the middle of what it says, so that both classes occur
        median = float(np.median(predictor.predict(noise(47, 61, 3)).probabilities))
        predictor = write_model(tmp_path, values, extent=extent, threshold=median)
    found = predictor.predict(noise(47, 61, 3), boundary=True)
    assert found.mask.shape == found.indices.shape == found.boundary.shape == (47, 61)
    assert found.probabilities.shape == (1 if len(values) == 2 else len(values), 47, 61)
    assert len(np.unique(found.mask)) > 1
    if len(values) == 2:
        index = (found.probabilities[0] > predictor.config.threshold).astype(int)
    else:
        index = found.probabilities.argmax(0)
        np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-5)
    assert np.array_equal(found.indices, index) and found.indices.dtype == np.uint8
    assert np.array_equal(found.mask, np.array(values)[index])
    assert found.boundary.min() >= 0 and found.boundary.max() <= 1
    assert predictor.predict(noise(47, 61, 3)).boundary is None


@settings(max_examples=10)
@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.booleans(),
    st.sampled_from(["whole", "patches"]),
    st.sampled_from([1, 3]),
)
def test_any_image_can_be_predicted(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, colour: bool, extent: str, channels: int
) -> None:
    predictor = write_model(tmp_path_factory.mktemp("model"), [0, 255], channels, extent)
    image = noise(height, width, 3) if colour else noise(height, width)
    found = predictor.predict(image, tta=4)
    assert found.mask.shape == (height, width) and np.isfinite(found.probabilities).all()


def test_an_array_and_its_file_give_the_same(tmp_path: Path, tiny_run: Path, tiny_data: Path) -> None:
    predictor = Predictor(str(tiny_run))
    file = tiny_data / "test" / "images" / "test_0.png"
    array = np.asarray(Image.open(file))
    for image in (file, str(file)):
        assert np.array_equal(predictor.predict(image).probabilities, predictor.predict(array).probabilities)
    truth = np.asarray(Image.open(tiny_data / "test" / "masks" / "test_0.png"))
    mask = predictor.predict(file).mask
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
    assert 2 * ((mask > 0) & (truth > 0)).sum() / ((mask > 0).sum() + (truth > 0).sum()) > 0.6


def test_the_model_has_its_own_transforms(tiny_run: Path) -> None:
    predictor, image = Predictor(tiny_run), noise(48, 64, 3)
    own = predict_probabilities(predictor.network, [image], predictor.config.preprocessing, predictor.config.labels, 4)[
        0
    ][0]
    np.testing.assert_allclose(predictor.predict(image).probabilities, own, atol=1e-4)
    np.testing.assert_allclose(predictor.predict(image, tta=4).probabilities, own, atol=1e-4)
    assert not np.allclose(predictor.predict(image, tta=1).probabilities, own, atol=1e-3)


def test_grey_is_grey_in_every_form(tmp_path: Path) -> None:
    grey = noise(40, 50)
    for channels in (1, 3):
        predictor = write_model(tmp_path / str(channels), [0, 255], channels)
        alone = predictor.predict(grey).probabilities
        np.testing.assert_allclose(predictor.predict(np.stack([grey] * 3, -1)).probabilities, alone, atol=1e-5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40), np.uint16), np.zeros((40, 40), np.float32), np.zeros((40, 40), bool),
        np.zeros(40, np.uint8), np.zeros((1, 40, 40, 3), np.uint8),
    ],
    ids=lambda image: f"{image.dtype}{image.shape}",
)  # fmt: skip
def test_other_arrays_are_refused(tiny_run: Path, image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Predictor(tiny_run).predict(image)


@pytest.mark.parametrize("shape", [(40, 40, 4), (3, 40, 40)])
def test_other_channels_are_refused(tiny_run: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(S2MNetError, match="channels"):
        Predictor(tiny_run).predict(np.zeros(shape, np.uint8))


def test_other_numbers_of_transforms_are_refused(tiny_run: Path) -> None:
    for tta in (0, 2, 16):
        with pytest.raises(ValueError, match="tta"):
            Predictor(tiny_run).predict(noise(40, 40), tta=tta)


def test_no_model_and_no_image_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(S2MNetError, match="nowhere"):
        Predictor(tmp_path / "nowhere")
    with pytest.raises(S2MNetError, match=r"none\.png"):
        Predictor(tiny_run).predict(tmp_path / "none.png")


def test_a_folder_becomes_masks_overlays_and_probabilities(tmp_path: Path) -> None:
    predictor = write_model(tmp_path / "model", [0, 10, 20])
    (tmp_path / "in").mkdir()
    images = {"b.png": noise(40, 50, 3), "a.tif": noise(33, 47), "c.jpg": noise(64, 64, 3)}
    for name, image in images.items():
        Image.fromarray(image).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    steps: list[tuple[int, int]] = []
    written = predict_folder(
        predictor, tmp_path / "in", tmp_path / "out", probabilities=True, progress=lambda *step: steps.append(step)
    )
    assert [path.name for path in written] == ["a.png", "b.png", "c.png"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    for name in images:
        stem, file = name[0], tmp_path / "in" / name
        found = predictor.predict(file)
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "masks" / f"{stem}.png")), found.mask)
        drawn = Image.open(tmp_path / "out" / "overlays" / f"{stem}.jpg")
        assert drawn.mode == "RGB"
        expected = overlay(read_image(file), found.indices).astype(float)
        assert np.abs(np.asarray(drawn) - expected).mean() < 8  # noise is what JPEG keeps worst
        planes = []
        for label in predictor.config.labels.names:
            plane = Image.open(tmp_path / "out" / "probabilities" / f"{stem}_{label}.png")
            assert plane.mode == "I;16"
            planes.append(np.asarray(plane) / 65535)
        np.testing.assert_allclose(planes, found.probabilities, atol=1e-5)
    assert len(list((tmp_path / "out" / "probabilities").iterdir())) == 9


def test_only_what_is_asked_for_is_written(tmp_path: Path, tiny_run: Path, tiny_data: Path) -> None:
    file = tiny_data / "test" / "images" / "test_0.png"
    written = predict_folder(Predictor(tiny_run), file, tmp_path / "out", overlays=False)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == written
    assert written == [tmp_path / "out" / "masks" / "test_0.png"]


def test_bad_files_are_named_and_the_others_done(tmp_path: Path, tiny_run: Path) -> None:
    for name in ("a", "c", "d"):
        Image.fromarray(noise(40, 40, 3)).save(tmp_path / f"{name}.png")
    content = (tmp_path / "c.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "c.png").write_bytes(b"")
    with pytest.raises(S2MNetError, match="2 of 4 images") as caught:
        predict_folder(Predictor(tiny_run), tmp_path, tmp_path / "out")
    assert "b.png" in str(caught.value) and "c.png" in str(caught.value)
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["a.png", "d.png"]


@pytest.mark.parametrize("stage", ["prepare", "run", "finish"])  # in a thread that reads, the main one, one that writes
def test_memory_too_short_for_one_image_does_not_lose_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    predictor, out = write_model(tmp_path / "model", [0, 255], extent="patches"), tmp_path / "out"
    (tmp_path / "in").mkdir()
    for name, height in (("a", 40), ("b", 90), ("c", 40), ("d", 41), ("e", 95)):
        Image.fromarray(noise(height, 40, 3)).save(tmp_path / "in" / f"{name}.png")
    done = getattr(Predictor, stage)

    def short_of_memory(self: Predictor, array: np.ndarray | torch.Tensor, *arguments: object) -> object:
        if max(array.shape) >= 90:
            raise MemoryError
        return done(self, array, *arguments)

    monkeypatch.setattr(Predictor, stage, short_of_memory)
    with pytest.raises(S2MNetError, match="3 of 5 images were predicted") as caught:
        predict_folder(predictor, tmp_path / "in", out)
    for words in ("b.png", "e.png", "90 × 40 px", "95 × 40 px", "too many for the free memory"):
        assert words in str(caught.value)
    for folder in ("masks", "overlays"):
        assert sorted(path.stem for path in (out / folder).iterdir()) == ["a", "c", "d"]


def test_threads_beside_the_network_have_no_threads_of_their_own(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(name: str) -> set[int]:
        stage, counts = getattr(Predictor, name), set()

        def counting(*arguments: object) -> object:
            counts.add(torch.get_num_threads())
            return stage(*arguments)

        monkeypatch.setattr(Predictor, name, counting)
        return counts

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        prepare, run, finish = map(seen, ("prepare", "run", "finish"))
        predict_folder(Predictor(tiny_run), tiny_data / "test" / "images", tmp_path)
        assert (prepare, run, finish) == ({1}, {3}, {1})
        with ThreadPoolExecutor(1) as pool:  # a thread made later has what all had
            assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_two_images_of_one_stem_are_refused(tmp_path: Path, tiny_run: Path) -> None:
    for name in ("a.png", "a.jpg"):
        Image.fromarray(noise(40, 40, 3)).save(tmp_path / name)
    with pytest.raises(S2MNetError, match="one stem"):
        predict_folder(Predictor(tiny_run), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def copies(folder: Path, data: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        shutil.copy(data / "test" / "images" / f"test_{number % 2}.png", folder / f"case{number}.png")
    return folder


def test_the_parts_of_a_folder_are_the_whole(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    images, predictor = copies(tmp_path / "images", tiny_data, 12), Predictor(tiny_run)
    whole = predict_folder(predictor, images, tmp_path / "whole", overlays=False)
    parts = [predict_folder(predictor, images, tmp_path / "parts", shard=(part, 3)) for part in (1, 2, 3)]
    assert sorted(mask.name for part in parts for mask in part) == [mask.name for mask in whole]
    for mask in whole:
        assert (tmp_path / "parts" / "masks" / mask.name).read_bytes() == mask.read_bytes()
    (images / "case99.png").write_bytes((images / "case0.png").read_bytes())
    again = [predict_folder(predictor, images, tmp_path / "parts", shard=(part, 3)) for part in (1, 2, 3)]
    for before, after in zip(parts, again, strict=True):  # a new image moves no other into another part
        assert set(before) <= set(after)


def test_a_part_goes_on_where_it_was(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    images, predictor = copies(tmp_path / "images", tiny_data, 4), Predictor(tiny_run)
    masks = predict_folder(predictor, images, tmp_path / "out", shard=(1, 1))
    written = {mask: mask.stat().st_mtime_ns for mask in masks}
    masks[1].unlink()
    os.utime(masks[2], (1, 1))  # older than its image
    assert predict_folder(predictor, images, tmp_path / "out", shard=(1, 1)) == masks
    unchanged = [mask.stat().st_mtime_ns == written[mask] for mask in masks]
    assert unchanged == [True, False, False, True]


@pytest.mark.parametrize("changed", ["model", "tta", "precision", "image", "probabilities", "cut", "nothing"])
def test_only_masks_of_the_same_model_image_and_options_are_kept(tmp_path: Path, changed: str) -> None:
    """Whatever the clocks say: model and image are older than the masks, as after a copy that keeps times."""
    (tmp_path / "images").mkdir()
    for number in range(2):
        Image.fromarray(noise(40, 50, 3, seed=number)).save(tmp_path / "images" / f"{number}.png")
    predictor = write_model(tmp_path / "model", [0, 10, 20])
    options: dict[str, bool | int] = {"probabilities": changed == "probabilities", "tta": 4 if changed == "tta" else 1}
    masks = predict_folder(predictor, tmp_path / "images", tmp_path / "out", tta=1)
    if changed == "model":
        predictor = write_model(tmp_path / "model", [0, 30, 20])
    if changed == "precision":
        predictor.precision = "bf16"
    if changed == "image":
        Image.fromarray(noise(40, 50, 3, seed=7)).save(tmp_path / "images" / "0.png")
    if changed == "cut":  # as a power cut leaves it
        masks[0].write_bytes(bytes(masks[0].stat().st_size))
    for old in (*(tmp_path / "model").iterdir(), *(tmp_path / "images").iterdir()):
        os.utime(old, (1, 1))
    before = [mask.stat().st_mtime_ns for mask in masks]
    predict_folder(predictor, tmp_path / "images", tmp_path / "out", shard=(1, 1), **options)  # type: ignore[arg-type]
    kept = [mask.stat().st_mtime_ns == time for mask, time in zip(masks, before, strict=True)]
    assert kept == {"image": [False, True], "cut": [False, True], "nothing": [True, True]}.get(changed, [False, False])
    fresh = predict_folder(predictor, tmp_path / "images", tmp_path / "fresh", **options)  # type: ignore[arg-type]
    assert [mask.read_bytes() for mask in masks] == [mask.read_bytes() for mask in fresh]


@pytest.mark.parametrize("other", ["another model", "the same shard", "a shard of the same model"])
def test_one_model_at_a_time_writes_into_a_folder(tmp_path: Path, tiny_data: Path, other: str) -> None:
    images, out = copies(tmp_path / "images", tiny_data, 3), tmp_path / "out"
    predictor = write_model(tmp_path / "model", [0, 10, 20])
    second = write_model(tmp_path / "second", [0, 30, 20]) if other == "another model" else predictor
    mine, theirs = (1, 2), (2, 2) if other == "a shard of the same model" else (1, 2)
    out.mkdir()
    (out / ".s2mnet-0123456789ab-01234567.lock").touch()  # of a killed process
    ended: list[str] = []

    def meanwhile(done: int, count: int) -> None:
        if not ended:
            try:
                predict_folder(second, images, out, shard=theirs)
                ended.append("fine")
            except S2MNetError as error:
                ended.append(str(error))

    predict_folder(predictor, images, out, shard=mine, progress=meanwhile)
    expected = {
        "another model": "another model or other options",
        "the same shard": "fine",  # both write the same files
        "a shard of the same model": "fine",
    }
    assert expected[other] in ended[0]
    assert not list(out.glob(".*"))


def test_images_in_subfolders_are_said_to_be_skipped(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli
) -> None:
    images = copies(tmp_path / "images", tiny_data, 2)
    command = ("predict", tiny_run, images, "-o", images / "out")
    for _ in range(2):  # the second time OUT holds images
        assert "not predicted" not in s2mnet(*command)[2]
    (images / "deeper").mkdir()
    shutil.copy(images / "case0.png", images / "deeper" / "case7.png")
    status, out, err = s2mnet(*command)
    assert status == 0 and "2 masks" in out
    assert "case7.png, were not predicted" in " ".join(err.split())


def test_contours_are_as_thick_as_a_large_image_needs(tmp_path: Path) -> None:
    predictor = write_model(tmp_path / "model", [0, 10, 20])
    image = np.asarray(Image.fromarray(noise(8, 10, 3)).resize((1200, 1000), Image.Resampling.BICUBIC))
    Image.fromarray(image).save(tmp_path / "a.png")
    predict_folder(predictor, tmp_path / "a.png", tmp_path / "out")
    drawn = np.asarray(Image.open(tmp_path / "out" / "overlays" / "a.jpg")).astype(float)
    indices = predictor.predict(image).indices
    away = {t: np.abs(drawn - overlay(image, indices, thickness=t)).mean() for t in (1, 2, 3, 4)}
    assert min(away, key=away.__getitem__) == 3 and away[3] < 2  # a pixel for each 400 of the longer side


def test_an_interrupted_folder_goes_on(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("predict", tiny_run, tiny_data / "train" / "images", "-o", tmp_path / "out")
    original, seen = Predictor.run, []

    def stop(self: Predictor, *arguments: object) -> object:
        seen.append(arguments)
        if len(seen) == 6:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Predictor, "run", stop)
        status, _, err = s2mnet(*command)
    assert status == 130 and "--shard 1/1" in err
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "masks").iterdir()}
    assert 0 < len(kept) < 8
    status, out, err = s2mnet(*command, "--shard", "1/1")
    assert status == 0 and "8 masks" in out, err
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_parts_that_do_not_exist_are_refused(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, s2mnet: Cli, shard: str
) -> None:
    refused(s2mnet("predict", tiny_run, tiny_data / "test/images", "-o", tmp_path, "--shard", shard), "i/n")


def test_an_unwritable_folder_ends_it_at_once(tiny_run: Path, tiny_data: Path, tmp_path: Path) -> None:
    images, done = copies(tmp_path / "images", tiny_data, 12), []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "overlays").write_text("a file where a folder is to be")
    with pytest.raises(S2MNetError, match="overlays"):
        predict_folder(Predictor(tiny_run), images, tmp_path / "out", progress=lambda n, _: done.append(n))
    assert len(done) < 6
