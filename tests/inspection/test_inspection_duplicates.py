"""Duplicates: planted ones, and real look-alikes told from real strangers."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planted import blob, put, texture
from scipy.fft import dct

from s2mnet.data.cases import Case
from s2mnet.data.casetable import CaseFacts
from s2mnet.fingerprint import duplicates as duplicates_module
from s2mnet.fingerprint.duplicates import HASH_DISTANCE, find_duplicates, perceptual_hash
from s2mnet.fingerprint.pair import InspectedPair, measure
from s2mnet.fingerprint.record import Duplicate


def duplicates(images: list[Path], masks: list[Path]) -> list[Duplicate]:
    cases = [Case(image.stem, image, mask) for image, mask in zip(images, masks, strict=True)]
    pairs = [pair for case in cases if isinstance(pair := measure(case, "train", inspect=True)[0], InspectedPair)]
    found, counts = find_duplicates(pairs, [image.name for image in images])
    assert sum(counts.values()) == len(found)
    return found


def planted(folder: Path, variants: list[np.ndarray]) -> list[Duplicate]:
    """Twelve strangers and the variants, as x0, x1, …"""
    for seed in range(12):
        put(folder, f"train{seed}", texture(seed, 96), blob(0, 96))
    for number, variant in enumerate(variants):
        put(folder, f"x{number}", variant, np.zeros(variant.shape[:2], np.uint8))
    images = sorted([*folder.glob("train/images/*"), *folder.glob("x/images/*")])
    return duplicates(images, [image.parent.parent / "masks" / image.name for image in images])


def test_strangers_are_no_duplicates(tmp_path: Path) -> None:
    assert planted(tmp_path, []) == []


def test_the_same_pixels_are_found_in_another_form(tmp_path: Path) -> None:
    grey = texture(50, 96)[..., 0]
    found = planted(tmp_path, [grey, np.stack([grey] * 3, axis=2)])
    assert [(pair.kind, pair.first, pair.second, pair.correlation) for pair in found] == [
        ("exact", "x0.png", "x1.png", 1.0)
    ]


@pytest.mark.parametrize("change", ["jpeg", "brighter", "smaller", "shifted"])
def test_a_changed_copy_is_near(tmp_path: Path, change: str) -> None:
    original = texture(50, 96)
    if change == "jpeg":
        buffer = io.BytesIO()
        Image.fromarray(original).save(buffer, "JPEG", quality=40)
        copy = np.array(Image.open(buffer))
    elif change == "brighter":
        copy = np.clip(original * 1.15, 0, 255).astype(np.uint8)
    elif change == "smaller":
        copy = np.array(Image.fromarray(original).resize((70, 60)))
    else:
        copy = np.roll(original, 2, axis=1)
    found = planted(tmp_path, [original, copy])
    assert [(pair.kind, pair.first, pair.second) for pair in found] == [("near", "x0.png", "x1.png")]


def test_the_same_bytes_in_another_shape_are_not_equal(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(41, 256, (60, 80)).astype(np.uint8)
    assert planted(tmp_path, [noise, noise.reshape(80, 60)]) == []


def test_constant_images_are_left_out(tmp_path: Path) -> None:
    assert planted(tmp_path, [np.zeros((64, 64), np.uint8)] * 2) == []


def test_the_hash_is_the_signs_of_the_lowest_frequencies() -> None:
    thumbnails = np.random.default_rng(0).uniform(0, 255, (3, 32, 32)).astype(np.float32)
    for thumbnail, bits in zip(thumbnails, perceptual_hash(thumbnails), strict=True):
        low = dct(dct(thumbnail.astype(float), axis=0, norm="ortho"), axis=1, norm="ortho")[:8, :8].ravel()
        assert (bits == (low > np.median(low))).all() and 31 <= bits.sum() <= 32


def test_every_pair_of_few_different_bits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks smaller than the images are many, against all pairs one by one."""
    rng = np.random.default_rng(0)
    places = np.repeat(rng.uniform(50, 200, (9, 32, 32)), 4, axis=0)[rng.permutation(36)][:35]
    thumbnails = (places + rng.normal(0, 12, places.shape)).astype(np.float32)
    bits = perceptual_hash(thumbnails)
    expected = {(i, j) for i, j in combinations(range(35), 2) if (bits[i] != bits[j]).sum() <= HASH_DISTANCE}
    assert 20 < len(expected) < 100
    monkeypatch.setattr(duplicates_module, "_least_correlation", lambda *_: -1.0)
    for rows, columns in ((4, 8), (8, 4), (5, 7), (256, 8192)):
        monkeypatch.setattr(duplicates_module, "ROWS", rows)
        monkeypatch.setattr(duplicates_module, "COLUMNS", columns)
        found = [(i, j) for i, j, _ in duplicates_module._alike(thumbnails)]
        assert len(found) == len(expected) and set(found) == expected


def test_polyps_are_no_duplicates_but_for_known_ones(shared_data: Path) -> None:
    images = sorted((shared_data / "Kvasir-SEG" / "images").glob("*.jpg"))[::8]
    known = {"cju76lsehyia10987u54vn8rb.jpg", "cju772304yw5t0818vbw8kkjf.jpg"}  # one picture under two names
    images = sorted({*images, *(shared_data / "Kvasir-SEG" / "images" / name for name in known)})
    found = duplicates(images, [image.parent.parent / "masks" / image.name for image in images])
    assert [{pair.first, pair.second} for pair in found] == [known]


def test_neighbours_in_a_video_are_found_and_nothing_else(shared_data: Path) -> None:
    folder = shared_data / "CVC-ClinicDB" / "PNG"
    images = sorted((folder / "Original").glob("*.png"), key=lambda file: int(file.stem))[:100]
    found = duplicates(images, [folder / "Ground Truth" / image.name for image in images])
    distances = [abs(int(Path(pair.first).stem) - int(Path(pair.second).stem)) for pair in found]
    assert distances.count(3) >= 3  # every third frame is there
    assert max(distances) <= 25  # the length of a sequence


def test_retinas_of_two_patients_are_no_duplicates(shared_data: Path) -> None:
    images = sorted((shared_data / "DRIVE" / "training" / "images").glob("*.tif"))
    folder = shared_data / "DRIVE" / "training" / "1st_manual"
    assert duplicates(images, [folder / f"{image.name[:2]}_manual1.gif" for image in images]) == []


def copies(folder: Path, splits: str, patients: list[str | None] | None = None) -> list[InspectedPair]:
    """One image under many names, in the splits "t" (train) and "e" (test)."""
    put(folder, "x", texture(50, 96), blob(0, 96))
    case = Case("x", *(folder / "x" / kind / "x.png" for kind in ("images", "masks")))
    (image,), (mask,) = ([*(folder / "x" / kind).iterdir()] for kind in ("images", "masks"))
    pair = measure(replace(case, image=image, mask=mask), "train", inspect=True)[0]
    assert isinstance(pair, InspectedPair)
    owners = patients or [None] * len(splits)
    return [
        replace(
            pair,
            case=replace(case, name=f"{place:04}", facts=CaseFacts(patient=owner)),
            split="train" if split == "t" else "test",
        )
        for place, (split, owner) in enumerate(zip(splits, owners, strict=True))
    ]


def test_many_copies_are_counted_once_each(tmp_path: Path) -> None:
    """Five thousand frames of a frozen camera: 12 million pairs, told by 4,999."""
    facts = copies(tmp_path, "t" * 4000 + "e" * 1000)
    found, counts = find_duplicates(facts, [fact.case.name for fact in facts])
    assert counts == {"exact across": 1000, "near across": 0, "exact within": 3999, "near within": 0}
    assert {pair.first for pair in found} == {"0000"}
    assert {pair.group for pair in found} == {"exact across", "exact within"}  # neither crowds out the other


def test_images_of_one_patient_are_no_duplicates(tmp_path: Path) -> None:
    facts = copies(tmp_path, "ttte", ["a", "a", "b", "c"])
    found, counts = find_duplicates(facts, [fact.case.name for fact in facts])
    assert [(pair.first, pair.second, pair.group) for pair in found] == [
        ("0000", "0003", "exact across"),
        ("0000", "0002", "exact within"),
    ]
    assert sum(counts.values()) == 2
