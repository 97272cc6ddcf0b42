"""Every public set, from a generated tree of its official layout: truth, pixels, split, no group torn apart."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from trees import BUILDERS, Tree, box, colour, nifti, noise, pnm_gz, save

from s2mnet.data import Dataset, find_cases, read_folder
from s2mnet.datasets import DATASETS, describe_datasets, prepare
from s2mnet.errors import S2MNetError

Prepared = Callable[[str], tuple[Path, Tree]]
FRAMES = ("CVC-ClinicDB", "CVC-ColonDB", "ETIS-LaribPolypDB", "CVC-300")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The prepared folder of a set and what it should hold; made once."""
    done: dict[str, tuple[Path, Tree]] = {}

    def make(name: str) -> tuple[Path, Tree]:
        if name not in done:
            folder = tmp_path_factory.mktemp("set")
            tree = BUILDERS[name](folder / "source")
            prepare(name, folder / "source", folder / "out")
            done[name] = folder / "out", tree
        return done[name]

    return make


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def splits(folder: Path) -> dict[str, str]:
    """Split of each image of a prepared folder, from the files alone."""
    return {file.stem: file.parts[-3] for file in folder.glob("*/images/*")}


def read(file: Path) -> np.ndarray:
    if file.suffix == ".tif" and "BraTS" in file.name:
        return tifffile.imread(file)
    with Image.open(file) as image:
        return np.array(image)


def test_every_set_has_a_tree_here() -> None:
    assert BUILDERS.keys() == DATASETS.keys()


@pytest.mark.parametrize("name", BUILDERS)
def test_truth_pixels_and_split(name: str, prepared: Prepared) -> None:
    out, tree = prepared(name)
    assert splits(out) == {stem: entry.split for stem, entry in tree.items()}
    assert {file.stem: file.parts[-3] for file in out.glob("*/masks/*.png")} == splits(out)
    for image in out.glob("*/images/*"):
        entry = tree[image.stem]
        mask = read(image.parents[1] / "masks" / f"{image.stem}.png")
        assert mask.dtype == np.uint8 and np.array_equal(mask, entry.mask), image
        pixels = read(image)
        assert pixels.dtype == entry.pixels.dtype and np.array_equal(pixels, entry.pixels), image


@pytest.mark.parametrize("name", BUILDERS)
def test_no_group_is_in_two_splits(name: str, prepared: Prepared) -> None:
    out, tree = prepared(name)
    where = defaultdict(set)
    for stem, split in splits(out).items():
        where[tree[stem].group].add(split)
    assert all(len(found) == 1 for found in where.values()), where
    assert len(where) >= 7  # so that there is something to tear apart
    if name in FRAMES:  # video: each split is a run of frames
        order = [splits(out)[stem] for stem in sorted(splits(out), key=int)]
        assert order == sorted(order, key=["train", "val", "test"].index)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "BraTS2020"])
def test_reads_as_a_data_folder(name: str, prepared: Prepared) -> None:
    out, tree = prepared(name)
    folder = find_cases(out)
    summary = read_folder(folder, progress=False)
    assert folder.name == name and DATASETS[name].modality == folder.dataset.modality
    assert summary.label_map.names == list(DATASETS[name].classes.values())
    assert sum(summary.counts.values()) == len(tree)
    assert DATASETS[name].citation == folder.dataset.citation and folder.dataset.split in summary.split_rule


@pytest.mark.parametrize("name", BUILDERS)
def test_from_an_archive_one_folder_deeper(name: str, prepared: Prepared, tmp_path: Path) -> None:
    out, _ = prepared(name)
    kind, suffix = [("zip", "zip"), ("gztar", "tar.gz"), ("tar", "tar")][len(name) % 3]
    (tmp_path / "pack").mkdir()
    shutil.copytree(out.parent / "source", tmp_path / "pack/download")
    shutil.make_archive(str(tmp_path / "archive"), kind, tmp_path / "pack")
    prepare(name, tmp_path / f"archive.{suffix}", tmp_path / "out")
    assert files(tmp_path / "out") == files(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"archive.{suffix}", "out", "pack"]


def test_overlapping_regions_and_channels_of_brats(prepared: Prepared) -> None:
    dataset = Dataset.load(prepared("BraTS2020")[0])
    assert dataset.regions == {"whole tumour": [1, 2, 3], "tumour core": [1, 3], "enhancing tumour": [3]}
    assert dataset.channels == ["flair", "t1", "t1ce", "t2"]


def test_rows_for_a_table() -> None:
    rows = describe_datasets()
    assert [row["name"] for row in rows] == list(DATASETS)
    assert all(cell for row in rows for cell in row.values())
    assert all(row["ask for it at"].startswith("http") for row in rows)


def test_official_splits_where_parts_are_missing(tmp_path: Path) -> None:
    """Without the official test part, or its masks: the project's split of the rest, and it is said."""
    tree = BUILDERS["ACDC"](tmp_path / "acdc")
    for mask in (tmp_path / "acdc").rglob("testing/*/*_gt.nii.gz"):
        mask.unlink()
    summary = prepare("ACDC", tmp_path / "acdc", tmp_path / "acdc-out")
    patients = sorted({entry.group for entry in tree.values() if entry.split != "test"})
    bound = {patient: "train" if i < 11 else "val" if i < 13 else "test" for i, patient in enumerate(patients)}
    assert {stem[:10]: split for stem, split in splits(tmp_path / "acdc-out").items()} == bound
    assert "testing" in summary.notes[0] and "70 %" in summary.dataset.split

    BUILDERS["ISIC-2018"](tmp_path / "isic")
    shutil.rmtree(tmp_path / "isic/ISIC2018_Task1_Test_GroundTruth")
    summary = prepare("ISIC-2018", tmp_path / "isic", tmp_path / "isic-out")
    assert sum(summary.counts.values()) == 5 and len(splits(tmp_path / "isic-out")) == 5
    assert "SHA-1" in summary.dataset.split and "test part" in " ".join(summary.notes)

    BUILDERS["DRIVE"](tmp_path / "drive")
    shutil.rmtree(tmp_path / "drive/DRIVE/test/1st_manual")
    summary = prepare("DRIVE", tmp_path / "drive", tmp_path / "drive-out")
    assert summary.counts == {"train": 4, "val": 4, "test": 0} and summary.notes[0].startswith("3 test images")


def test_other_layouts_of_the_same_sets(tmp_path: Path) -> None:
    """STARE unpacked into one folder, polyps as tiff without PNG/, merged EndoVis masks."""
    for place in range(3):
        pnm_gz(tmp_path / f"stare/im{place:04d}.ppm.gz", colour(place))
        pnm_gz(tmp_path / f"stare/im{place:04d}.ah.ppm.gz", box(place, 255))
    pnm_gz(tmp_path / "stare/im9999.ppm.gz", colour(9))
    summary = prepare("stare", tmp_path / "stare", tmp_path / "stare-out")
    assert summary.counts["train"] == 3 and "1 images without a truth" in summary.notes[0]

    for number in (1, 2, 3):
        save(tmp_path / f"clinic/Original/{number}.tif", colour(number))
        save(tmp_path / f"clinic/Ground Truth/{number}.tif", box(number, 255))
    assert prepare("CVC-ClinicDB", tmp_path / "clinic", tmp_path / "clinic-out").counts["train"] == 2

    truth = np.repeat(np.array([0, 10, 20, 30], np.uint8), 12)[None].repeat(40, axis=0)
    save(tmp_path / "endovis/instrument_dataset_1/ground_truth/frame000.png", truth)
    save(tmp_path / "endovis/instrument_dataset_1/left_frames/frame000.png", colour(0))
    prepare("EndoVis-2017-parts", tmp_path / "endovis", tmp_path / "parts")
    assert np.array_equal(read(tmp_path / "parts/train/masks/instrument_dataset_1_frame000.png"), truth // 10)
    with pytest.raises(S2MNetError, match="one folder per instrument"):
        prepare("EndoVis-2017-types", tmp_path / "endovis", tmp_path / "types")


def test_volumes_keep_their_values(tmp_path: Path) -> None:
    """Negative or fractional intensities go into a float TIFF; labels beyond the classes are refused."""
    volume = noise(0, 1, 40, 48).astype(np.float32) - 0.5
    folder = tmp_path / "training/patient001"
    nifti(folder / "patient001_frame01.nii.gz", volume)
    nifti(folder / "patient001_frame01_gt.nii.gz", box(0)[None])
    prepare("ACDC", tmp_path, tmp_path / "out")
    assert np.array_equal(tifffile.imread(tmp_path / "out/train/images/patient001_frame01_slice000.tif"), volume[0])
    nifti(folder / "patient001_frame01_gt.nii.gz", box(0, 5)[None])
    with pytest.raises(S2MNetError, match=r"patient001_frame01_gt\.nii\.gz: found the value 5 on 256 px"):
        prepare("ACDC", tmp_path, tmp_path / "again")
