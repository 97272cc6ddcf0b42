"""Every public set, from a generated tree of its official layout: truth, pixels, split, no group torn apart."""

from __future__ import annotations

import csv
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from trees import BUILDERS, SPACING, Tree, box, colour, nifti, noise, pnm_gz, save, windowed

from s2mnet.data import Dataset, find_cases
from s2mnet.datasets import DATASETS, describe_datasets, prepare
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import read_folder
from s2mnet.volumes import read_volume, to_uint8

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
    assert all(len(parts) == 1 for parts in where.values()), where
    assert len(where) >= 7  # so that there is something to tear apart
    if name in FRAMES:  # video: each split is a run of frames
        order = [splits(out)[stem] for stem in sorted(splits(out), key=int)]
        assert order == sorted(order, key=["train", "val", "test"].index)


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "BraTS2020"])
def test_reads_as_a_data_folder(name: str, prepared: Prepared) -> None:
    out, tree = prepared(name)
    folder = find_cases(out)
    summary = read_folder(folder)
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


@pytest.mark.parametrize(("name", "count"), [("ACDC", 1), ("ACDC", 2), ("BraTS2020", 1)])
def test_neighbours_are_channels(name: str, count: int, prepared: Prepared, tmp_path: Path) -> None:
    """Against the slices of the tree, voxel by voxel: below, itself, above; the outermost repeated; per sequence."""
    out, tree = prepared(name)
    prepare(name, out.parent / "source", tmp_path / "out", neighbours=count)
    assert splits(tmp_path / "out") == splits(out)
    sequences = DATASETS[name].channels
    for stem, entry in tree.items():
        volume, number = stem[:-3], int(stem[-3:])
        slices = {int(other[-3:]): tree[other].pixels for other in tree if other[:-3] == volume}
        if sequences:
            slices[0] = np.zeros_like(entry.pixels)  # the slice without signal is no image, but a neighbour
        expected = []
        for sequence in range(len(sequences) or 1):
            for offset in range(-count, count + 1):
                pixels = slices[min(max(number + offset, 0), max(slices))]
                expected.append(pixels[..., sequence] if sequences else pixels)
        file = next((tmp_path / "out").glob(f"*/images/{stem}.*"))
        assert file.suffix == (".png" if len(expected) == 3 else ".tif")
        held = tifffile.imread(file) if file.suffix == ".tif" else read(file)
        assert held.dtype == np.uint8 and np.array_equal(held, np.stack(expected, axis=-1)), stem
        assert np.array_equal(read(file.parents[1] / "masks" / f"{stem}.png"), entry.mask)
    dataset = Dataset.load(tmp_path / "out")
    offsets = ["-2", "-1", "0", "+1", "+2"][2 - count : 3 + count]
    assert dataset.channels == [f"{sequence} {offset}" for sequence in sequences or ["slice"] for offset in offsets]
    assert dataset.neighbours == count
    assert (tmp_path / "out/cases.csv").read_bytes() == (out / "cases.csv").read_bytes()


@pytest.mark.parametrize("orientation", ["SA", "SAX", "SAA", "RLS", "sar"])
def test_an_orientation_has_three_directions_of_the_body(orientation: str) -> None:
    assert Dataset(orientation="SAR").orientation == "SAR" and Dataset().orientation == ""
    with pytest.raises(ValueError, match="three letters"):
        Dataset(orientation=orientation)


def test_volumes_that_differ_in_their_orientation_have_none(tmp_path: Path) -> None:
    for patient, sign in (("patient001", 1), ("patient002", -1)):
        for end in ("", "_gt"):
            file = tmp_path / f"source/{patient}/{patient}_frame01{end}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            volume = np.stack([box(0), box(1)]).transpose(2, 1, 0)
            nibabel.Nifti1Image(volume, np.diag([sign, 1, 4, 1.0])).to_filename(file)
    summary = prepare("ACDC", tmp_path / "source", tmp_path / "out")
    assert summary.dataset.orientation == "" and any("orientation" in note for note in summary.notes)


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
    assert summary.counts["train"] == 3 and "1 images without a mask" in summary.notes[0]

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


def test_more_layouts_of_the_same_sets(tmp_path: Path) -> None:
    """Polyps of CVC-300 beside CVC-612, PH2 with another spelling of its folder, and its images alone."""
    for name, suffix in (("CVC-300", "bmp"), ("CVC-612", "tif")):
        for number in (1, 2):
            save(tmp_path / f"CVC-EndoSceneStill/{name}/bbdd/{number}.bmp", colour(number))
            save(tmp_path / f"CVC-EndoSceneStill/{name}/gtpolyp/{number}.{suffix}", box(number, 255))
    summary = prepare("CVC-300", tmp_path / "CVC-EndoSceneStill", tmp_path / "cvc-300")
    assert sum(summary.counts.values()) == 2 and summary.notes[0].startswith("2 of the 300")

    for place in ("PH2Dataset/PH2_Dataset_images", "alone"):
        for stem in ("IMD002", "IMD003"):
            save(tmp_path / place / stem / f"{stem}_lesion/{stem}_lesion.bmp", box(1, 255), "1")
            save(tmp_path / place / stem / f"{stem}_Dermoscopic_Image/{stem}.bmp", colour(1))
    for number, place in enumerate(("PH2Dataset", "alone")):
        assert sum(prepare("PH2", tmp_path / place, tmp_path / f"ph2-{number}").counts.values()) == 2


def test_endovis_video_frames_and_strange_masks(tmp_path: Path) -> None:
    """The border of the video goes, in image and truth alike; the test part is told of; wrong values are refused."""
    frame, truth = noise(0, 1080, 1920, 3), np.zeros((1080, 1920), np.uint8)
    truth[28, 320], truth[1051, 1599], truth[27, 320] = 10, 30, 20
    folder = tmp_path / "download/instrument_dataset_1"
    save(folder / "left_frames/frame000.png", frame)
    save(folder / "ground_truth/Left_Prograsp_Forceps_labels/frame000.png", truth)
    save(folder / "left_frames/frame224.png", frame)
    save(folder / "ground_truth/Left_Prograsp_Forceps_labels/frame224.png", truth)
    for number in (225, 299):  # from 225 on they are the test part
        save(folder / f"left_frames/frame{number}.png", colour(0))
    save(tmp_path / "download/instrument_dataset_9/left_frames/frame000.png", colour(0))
    summary = prepare("EndoVis-2017-parts", tmp_path / "download", tmp_path / "out")
    assert summary.notes[0] == "1 sequences without training masks and 2 test frames were left out."
    assert {stem[-3:] for stem in splits(tmp_path / "out")} == {"000", "224"}
    image = read(tmp_path / "out/train/images/instrument_dataset_1_frame000.png")
    mask = read(tmp_path / "out/train/masks/instrument_dataset_1_frame000.png")
    assert np.array_equal(image, frame[28 : 28 + 1024, 320 : 320 + 1280])
    assert mask.shape == (1024, 1280) and mask[0, 0] == 1 and mask[-1, -1] == 3 and (mask > 0).sum() == 2

    truth[:16] = 77  # more than one pixel in a hundred
    save(folder / "ground_truth/Left_Prograsp_Forceps_labels/frame000.png", truth)
    with pytest.raises(S2MNetError, match="1% of pixels of no part"):
        prepare("EndoVis-2017-parts", tmp_path / "download", tmp_path / "few")
    save(folder / "ground_truth/Left_Prograsp_Forceps_labels/frame000.png", np.full_like(truth, 100))
    with pytest.raises(S2MNetError, match="100% of pixels of no part"):
        prepare("EndoVis-2017-parts", tmp_path / "download", tmp_path / "again")


@pytest.mark.parametrize("name", BUILDERS)
def test_the_table_of_cases_names_groups_volumes_and_spacing(name: str, prepared: Prepared) -> None:
    """Exactly where a group is more than its image; and what it says of groups is what the official layout says."""
    out, tree = prepared(name)
    volumes = DATASETS[name].unit == "volumes"
    if not volumes and all(entry.group == stem for stem, entry in tree.items()):
        assert not (out / "cases.csv").exists()
        return
    with (out / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = {row.pop("name"): row for row in csv.DictReader(file)}
    assert rows.keys() == tree.keys()
    for stem, row in rows.items():
        expected = {"patient": tree[stem].group}
        if volumes:
            volume, _, number = stem.rpartition("_slice")
            sizes = dict(zip(("slice_mm", "row_mm", "column_mm"), map(str, SPACING), strict=True))
            expected |= {"volume": volume, "slice": str(int(number))} | sizes
        assert row == expected
    cases = [case for part in find_cases(out).splits.values() for case in part]
    assert {case.name: case.facts.patient for case in cases} == {stem: entry.group for stem, entry in tree.items()}


def test_one_window_for_a_volume(tmp_path: Path) -> None:
    """As prediction has it, whatever the numbers are; a slice of foreground alone is kept, one of nothing is not."""
    volume = noise(0, 4, 40, 48).astype(np.float32) - 0.5
    volume[1] /= 9  # by a window of its own it would look like the others
    volume[2:] = volume.min()
    labels = np.stack([box(0), box(1), box(2), 0 * box(0)])
    folder = tmp_path / "training/patient001"
    nifti(folder / "patient001_frame01.nii.gz", volume)
    nifti(folder / "patient001_frame01_gt.nii.gz", labels)
    prepare("ACDC", tmp_path, tmp_path / "out")
    stems = [f"patient001_frame01_slice00{number}" for number in range(3)]
    assert splits(tmp_path / "out") == dict.fromkeys(stems, "train")
    for number, stem in enumerate(stems):
        assert np.array_equal(read(tmp_path / f"out/train/images/{stem}.png"), windowed(volume)[number])
    orientation = Dataset.load(tmp_path / "out").orientation
    assert orientation == "SAR"  # of the axes as the file has them, last first
    seen = to_uint8(read_volume(folder / "patient001_frame01.nii.gz", orientation))
    assert np.array_equal(read(tmp_path / f"out/train/images/{stems[1]}.png"), seen[1])
    nifti(folder / "patient001_frame01_gt.nii.gz", box(0, 5)[None])
    with pytest.raises(S2MNetError, match=r"patient001_frame01_gt\.nii\.gz .*the value 5 on 256 px"):
        prepare("ACDC", tmp_path, tmp_path / "again")
