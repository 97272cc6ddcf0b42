"""The public sets that lie beside the repository: prepared, and compared with the raw files read by other means."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from s2mnet.data import find_cases
from s2mnet.data.splits import in_order
from s2mnet.datasets import prepare
from s2mnet.fingerprint import read_folder

CHECKED = 12  # masks compared with the raw file, per set


def grey(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image.convert("L"))


def subset(source: Path, target: Path, keep: Callable[[Path], bool]) -> Path:
    """Links to the files of a large set that are kept."""
    for file in source.rglob("*"):
        if file.is_file() and keep(file):
            link = target / file.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    return target


def splits(out: Path) -> dict[str, str]:
    return {file.stem: file.parts[-3] for file in out.glob("*/images/*")}


def ready(name: str, source: Path, out: Path, truth: Callable[[str], np.ndarray]) -> dict[str, str]:
    """Prepare a set, compare masks with their truth and read it as a data folder; gives the split of each image."""
    summary = prepare(name, source, out)
    found = splits(out)
    masks = sorted(out.glob("*/masks/*.png"))
    assert sorted(mask.stem for mask in masks) == sorted(found)
    assert Counter(found.values()) == Counter(summary.counts)
    for mask in masks[:: max(1, len(masks) // CHECKED)]:
        with Image.open(mask) as image:
            assert np.array_equal(np.array(image), truth(mask.stem)), mask
    read = read_folder(find_cases(out))
    assert sum(read.counts.values()) == len(found)
    return found


def by_hash(stems: list[str]) -> dict[str, str]:
    ordered = sorted(stems, key=lambda stem: hashlib.sha1(stem.encode()).hexdigest())
    return {
        s: ["train", "val", "test"][(i >= 0.7 * len(ordered)) + (i >= 0.8 * len(ordered))]
        for i, s in enumerate(ordered)
    }


def agree(found: dict[str, str], rule: dict[str, str], off: int = 0) -> None:
    """Equal but for ``off`` images at the borders, where 70 and 80 % are no whole numbers."""
    assert found.keys() == rule.keys()
    assert sum(found[stem] != rule[stem] for stem in found) <= off


def same_file(out: Path, image: str, source: Path) -> None:
    assert next(out.glob(f"*/images/{image}")).read_bytes() == source.read_bytes()


def test_kvasir(shared_data: Path, tmp_path: Path) -> None:
    whole = shared_data / "Kvasir-SEG"
    names = sorted(file.name for file in (whole / "images").iterdir())
    assert len(names) == 1000
    kept = set(names[::33][:30])
    source = subset(whole, tmp_path / "source", lambda file: file.name in kept)
    found = ready("Kvasir-SEG", source, tmp_path / "out", lambda stem: grey(whole / f"masks/{stem}.jpg") > 127)
    agree(found, by_hash([Path(name).stem for name in kept]))
    assert Counter(found.values()) == {"train": 21, "val": 3, "test": 6}
    same_file(tmp_path / "out", names[0], whole / "images" / names[0])


def test_clinicdb(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "CVC-ClinicDB"
    found = ready(
        "CVC-ClinicDB", source, tmp_path / "out", lambda stem: grey(source / f"PNG/Ground Truth/{stem}.png") > 127
    )
    frames = sorted(map(int, found))
    rule = {str(f): ["train", "val", "test"][(i >= 0.7 * 204) + (i >= 0.8 * 204)] for i, f in enumerate(frames)}
    agree(found, rule, off=1)
    order = [found[str(frame)] for frame in frames]
    assert order == ["train"] * 143 + ["val"] * 20 + ["test"] * 41


@pytest.mark.parametrize("name", ["CVC-ColonDB", "ETIS-LaribPolypDB"])
def test_polyps(name: str, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / name
    found = ready(name, source, tmp_path / "out", lambda stem: grey(source / f"masks/{stem}.png") > 127)
    assert found == {"1": "train", "10": "val"}


def test_isic(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ISIC2018"
    truth = source / "ISIC2018_Task1_Training_GroundTruth"
    found = ready("ISIC-2018", source, tmp_path / "out", lambda stem: grey(truth / f"{stem}_Segmentation.png") > 127)
    agree(found, by_hash(list(found)), off=1)
    assert len(found) == 51


def test_ph2(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "PH2/PH2 Dataset images"
    found = ready(
        "PH2", source.parent, tmp_path / "out", lambda s: grey(source / f"{s}/{s}_lesion/{s}_lesion.png") > 127
    )
    assert found.keys() == {"IMD002", "IMD003"}


def test_glas(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "GlaS/Warwick QU Dataset"
    found = ready("GlaS", source.parent, tmp_path / "out", lambda stem: grey(source / f"{stem}_anno.png") > 0)
    assert found == {stem: "train" if stem.startswith("train") else "test" for stem in found}
    assert Counter(found.values()) == {"train": 85, "test": 60}


def test_busi(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "BUSI/Dataset_BUSI_with_GT"
    files = {
        kind: sorted(file.name for file in (folder / kind).iterdir()) for kind in ("benign", "malignant", "normal")
    }
    stems = {kind: [name[:-4] for name in names if "_mask" not in name] for kind, names in files.items()}
    several = {re.sub(r"_mask_\d\.png$", "", name) for names in files.values() for name in names if "_mask_" in name}
    assert len(several) == 17

    def truth(stem: str) -> np.ndarray:
        kind = stem.split()[0]
        masks = [folder / kind / name for name in files[kind] if name.startswith(f"{stem}_mask")]
        return np.any([grey(mask) > 127 for mask in masks], axis=0)

    found = ready("BUSI", folder.parent, tmp_path / "out", truth)
    assert len(found) == 780
    for kind in stems:
        agree({stem: found[stem] for stem in stems[kind]}, by_hash(stems[kind]), off=2)
    for stem in several:
        with Image.open(next((tmp_path / "out").glob(f"*/masks/{stem}.png"))) as mask:
            assert np.array_equal(np.array(mask), truth(stem)), stem


def test_endovis(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "EndoVis2017"

    def parts(stem: str) -> np.ndarray:
        return grey(source / f"instrument_dataset_1/ground_truth/{stem[-8:]}.png") // 10

    found = ready("EndoVis-2017-parts", source, tmp_path / "parts", parts)
    assert set(found.values()) == {"train"} and len(found) == 5  # one sequence, so one split
    ready("EndoVis-2017-binary", source, tmp_path / "binary", lambda stem: parts(stem) > 0)


def test_acdc(shared_data: Path, tmp_path: Path) -> None:
    whole = shared_data / "ACDC"
    patients = sorted(folder.name for folder in (whole / "database/training").iterdir())
    kept = patients[:10]
    source = subset(whole, tmp_path / "source", lambda file: file.parent.name in kept)

    def volume(stem: str, end: str) -> np.ndarray:
        file = whole / f"database/training/{stem[:10]}/{stem[:18]}{end}.nii.gz"
        return np.asarray(nibabel.load(file).dataobj)[:, :, int(stem[-3:])].T

    found = ready("ACDC", source, tmp_path / "out", lambda stem: volume(stem, "_gt"))
    bound = {patient: "train" if i < 7 else "val" if i < 8 else "test" for i, patient in enumerate(kept)}
    assert found == {stem: bound[stem[:10]] for stem in found}
    for stem in list(found)[::30]:
        assert np.array_equal(grey(next((tmp_path / "out").glob(f"*/images/{stem}.png"))), volume(stem, ""))
    cases = [case for part in find_cases(tmp_path / "out").splits.values() for case in part]
    assert len(cases) == len(found)
    for case in cases:
        assert case.facts.patient == case.name[:10] and case.facts.volume == case.name[:18]
        assert case.facts.slice == int(case.name[-3:])
    for case in cases[::50]:
        header = nibabel.load(whole / f"database/training/{case.name[:10]}/{case.name[:18]}.nii.gz").header
        spacing = (case.facts.column_mm, case.facts.row_mm, case.facts.slice_mm)
        assert spacing == pytest.approx(tuple(map(float, header.get_zooms())))
    assert list(in_order(patients).values()) == ["train"] * 28 + ["val"] * 4 + ["test"] * 8  # of all 40


def test_brats_slices(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "BraTS-slices"

    def truth(stem: str) -> np.ndarray:
        colours = np.array(Image.open(source / f"masks/{stem}.png")).astype(float)
        pure = np.concatenate([np.zeros((1, 3)), 255 * np.eye(3)])
        return np.linalg.norm(colours[..., None, :] - pure, axis=-1).argmin(-1)

    found = ready("BraTS-slices", source, tmp_path / "out", truth)
    patients = sorted({stem[:5] for stem in found})
    bound = {patient: "train" if i < 9 else "val" if i < 10 else "test" for i, patient in enumerate(patients)}
    assert found == {stem: bound[stem[:5]] for stem in found} and len(found) == 24


def pnm(file: Path) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(gzip.decompress(file.read_bytes()))))


def test_stare(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "STARE"
    found = ready("STARE", source, tmp_path / "out", lambda stem: pnm(source / f"labels-ah/{stem}.ah.ppm.gz") > 0)
    names = sorted(file.name[:6] for file in (source / "stare-images").iterdir())
    assert found == dict.fromkeys(names[:10], "train") | dict.fromkeys(names[10:], "test")
    with Image.open(tmp_path / "out/train/images/im0004.png") as image:
        assert np.array_equal(np.array(image), pnm(source / "stare-images/im0004.ppm.gz"))


def test_drive(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "DRIVE"

    def truth(stem: str) -> np.ndarray:
        folder = source / stem[3:]
        vessels = np.array(Image.open(folder / f"1st_manual/{stem[:2]}_manual1.gif").convert("L"))
        field = np.array(Image.open(folder / f"mask/{stem}_mask.gif").convert("L"))
        return np.where(field > 127, vessels > 127, 255)

    found = ready("DRIVE", source, tmp_path / "out", truth)
    expected = {f"{n:02d}_test": "test" for n in range(1, 21)} | {f"{n}_training": "train" for n in range(21, 37)}
    assert found == expected | {f"{n}_training": "val" for n in range(37, 41)}
    same_file(tmp_path / "out", "21_training.tif", source / "training/images/21_training.tif")


def test_chase(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "CHASE_DB1"
    found = ready("CHASE_DB1", source, tmp_path / "out", lambda stem: grey(source / f"{stem}_1stHO.png") > 127)
    assert found == {"Image_01L": "train", "Image_01R": "train"}
