"""Tiny trees in the official layout of each public data set, with what a right preparation of them holds.

Truths are rectangles whose place depends on a number; nothing here uses the readers under test.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 48


@dataclass
class Entry:
    """One image of the prepared folder: its split, class indices, pixels, and what must not be torn apart."""

    split: str
    mask: np.ndarray
    pixels: np.ndarray
    group: str


Tree = dict[str, Entry]


def share(ordered: list[str]) -> dict[str, str]:
    """70, 10 and 20 %: rounded to the nearest, halves up, at least one for train and for val."""
    train = max(1, int(np.floor(0.7 * len(ordered) + 0.5 + 1e-9)))
    val = max(1, int(np.floor(0.1 * len(ordered) + 0.5 + 1e-9)))
    return {
        name: "train" if place < train else "val" if place < train + val else "test"
        for place, name in enumerate(ordered)
    }


def hashed(stems: list[str]) -> dict[str, str]:
    return share(sorted(stems, key=lambda stem: hashlib.sha1(stem.encode()).hexdigest()))


def noise(number: int, *shape: int, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(number).integers(0, high, shape).astype(dtype)


def box(number: int, value: int = 1) -> np.ndarray:
    """A rectangle on the grid of JPEG blocks."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    top, left = 8 * (number % 3), 8 * (number % 4)
    mask[top : top + 16, left : left + 16] = value
    return mask


def colour(number: int) -> np.ndarray:
    return noise(number, HEIGHT, WIDTH, 3)


def save(file: Path, array: np.ndarray, mode: str = "") -> np.ndarray:
    """Write the array; gives the pixels as the file holds them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, **({"quality": 95} if file.suffix == ".jpg" else {}))
    with Image.open(file) as stored:
        return np.array(stored)


def noisy(mask: np.ndarray, number: int) -> np.ndarray:
    """0 and 255 with up to 60 grey levels of noise, as RGB."""
    values = np.where(mask > 0, 255 - noise(number, *mask.shape, high=60), noise(number, *mask.shape, high=60))
    return np.stack([values.astype(np.uint8)] * 3, axis=-1)


def kvasir(root: Path) -> Tree:
    stems = [f"cju{number}abc" for number in range(10)]
    split, tree = hashed(stems), {}
    for number, stem in enumerate(stems):
        save(root / f"Kvasir-SEG/masks/{stem}.jpg", noisy(box(number), number))
        pixels = save(root / f"Kvasir-SEG/images/{stem}.jpg", colour(number))
        tree[stem] = Entry(split[stem], box(number), pixels, stem)
    (root / "Kvasir-SEG/kavsir_bboxes.json").write_text("{}")
    return tree


def _polyps(
    image: str, mask: str, truth: Callable[[np.ndarray, int], np.ndarray], others: tuple[str, ...] = ()
) -> Callable[[Path], Tree]:
    """``others``: masks of something else."""

    def build(root: Path) -> Tree:
        names = [str(number) for number in range(1, 13)]  # 10 sorts before 2 as text
        split, tree = share(names), {}
        for number, name in enumerate(names, start=1):
            save(root / mask.format(name), truth(box(number), number))
            for other in others:
                save(root / other.format(name), truth(box(number + 1), number))
            tree[name] = Entry(split[name], box(number), save(root / image.format(name), colour(number)), name)
        return tree

    return build


def _exact(mask: np.ndarray, _number: int) -> np.ndarray:
    return mask * 255


def isic(root: Path) -> Tree:
    tree, start = {}, 0
    for split, part, count in (("train", "Training", 5), ("val", "Validation", 2), ("test", "Test", 3)):
        images, masks = root / f"ISIC2018_Task1-2_{part}_Input", root / f"ISIC2018_Task1_{part}_GroundTruth"
        for number in range(start, start + count):
            stem = f"ISIC_{number:07d}"
            save(masks / f"{stem}_segmentation.png", box(number, 255))
            tree[stem] = Entry(split, box(number), save(images / f"{stem}.jpg", colour(number)), stem)
        (images / "ATTRIBUTION.txt").write_text("who")
        start += count
    return tree


def ph2(root: Path) -> Tree:
    stems = [f"IMD{number:03d}" for number in range(10)]
    split, tree = hashed(stems), {}
    for number, stem in enumerate(stems):
        folder = root / f"PH2Dataset/PH2 Dataset images/{stem}"
        save(folder / f"{stem}_lesion/{stem}_lesion.bmp", box(number, 255), "1")  # one bit per pixel
        save(folder / f"{stem}_roi/{stem}_R1_Label4.bmp", box(0, 255), "1")
        pixels = save(folder / f"{stem}_Dermoscopic_Image/{stem}.bmp", colour(number))
        tree[stem] = Entry(split[stem], box(number), pixels, stem)
    return tree


def glas(root: Path) -> Tree:
    folder, tree = root / "Warwick QU Dataset (Released 2016_07_08)", {}
    for part, split, count in (("train", "train", 11), ("testA", "test", 3), ("testB", "", 2)):
        for number in range(1, count + 1):
            stem = f"{part}_{number}"
            save(folder / f"{stem}_anno.bmp", box(number, 2) + box(number + 1, 1))  # glands 1, 2 and, touching, 3
            pixels = save(folder / f"{stem}.bmp", colour(number))
            if split:
                mask = np.maximum(box(number), box(number + 1))
                tree[stem] = Entry(split, mask, pixels, stem)
    (folder / "Grade.csv").write_text("name, patient ID, grade")
    return tree


def busi(root: Path) -> Tree:
    tree: Tree = {}
    for kind, count in (("benign", 10), ("malignant", 5), ("normal", 4)):
        stems = [f"{kind} ({number})" for number in range(1, count + 1)]
        split, folder = hashed(stems), root / f"Dataset_BUSI_with_GT/{kind}"
        for number, stem in enumerate(stems):
            mask = np.zeros_like(box(0)) if kind == "normal" else box(number)
            save(folder / f"{stem}_mask.png", mask * 255)
            if kind == "benign" and number < 2:
                save(folder / f"{stem}_mask_1.png", box(number + 2, 255))
                mask = np.maximum(mask, box(number + 2))
            tree[stem] = Entry(split[stem], mask, save(folder / f"{stem}.png", colour(number)), stem)
    return tree


_INSTRUMENTS: dict[int, dict[str, int]] = {  # official folders of each sequence, with the number of their type
    1: {"Left_Prograsp_Forceps_labels": 2, "Maryland_Bipolar_Forceps_labels": 1, "Other_labels": 7},
    2: {"Left_Prograsp_Forceps_labels": 2, "Other_labels": 7, "Right_Prograsp_Forceps_labels": 2},
    3: {"Left_Large_Needle_Driver_labels": 3, "Right_Large_Needle_Driver_labels": 3},
    4: {"Large_Needle_Driver_Left_labels": 3, "Large_Needle_Driver_Right_labels": 3, "Prograsp_Forceps_labels": 2},
    5: {"Bipolar_Forceps_labels": 1, "Grasping_Retractor_labels": 5, "Vessel_Sealer_labels": 4},
    6: {"Left_Large_Needle_Driver_labels": 3, "Monopolar_Curved_Scissors_labels": 6, "Prograsp_Forceps": 2},
    7: {"Left_Bipolar_Forceps": 1, "Right_Vessel_Sealer": 4},
    8: {"Bipolar_Forceps_labels": 1, "Left_Grasping_Retractor_labels": 5, "Monopolar_Curved_Scissors_labels": 6},
}


def _endovis(variant: str) -> Callable[[Path], Tree]:
    def build(root: Path) -> Tree:
        tree: Tree = {}
        for sequence, instruments in _INSTRUMENTS.items():
            half = "instrument_1_4_training" if sequence < 5 else "instrument_5_8_training"
            folder = root / f"{half}/instrument_dataset_{sequence}"
            split = "train" if sequence < 7 else "val" if sequence == 7 else "test"
            for frame in range(2):
                stem, number = f"frame{frame:03d}", 2 * sequence + frame
                mask = np.zeros((HEIGHT, WIDTH), np.uint8)
                for place, (name, kind) in enumerate(instruments.items()):
                    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
                    rows = labels[12 * place :, number:]
                    if kind == 7:
                        rows[:7] = 40
                    else:
                        rows[:3], rows[3:5], rows[5:7] = 10, 20, 30
                    rows = mask[12 * place :, number:]
                    if variant == "types":
                        rows[:7] = kind
                    elif kind < 7:
                        rows[:3], rows[3:5], rows[5:7] = (1, 2, 3) if variant == "parts" else (1, 1, 1)
                    if sequence == 7:  # colours, grey but for a few pixels without a meaning
                        labels = np.stack([labels] * 3, axis=-1)
                        labels[12 * place + 9, :2] = (10, 11, 10), (31, 31, 31)
                        mask[12 * place + 9, :2] = 255
                    save(folder / f"ground_truth/{name}/{stem}.png", labels)
                pixels = save(folder / f"left_frames/{stem}.png", colour(number))
                save(folder / f"right_frames/{stem}.png", colour(number + 99))
                name = f"instrument_dataset_{sequence}_{stem}"
                tree[name] = Entry(split, mask, pixels, f"instrument_dataset_{sequence}")
        # of the test part: frames that follow, another sequence, and the truth of it in its own form
        save(root / "instrument_1_4_training/instrument_dataset_1/left_frames/frame225.png", colour(0))
        save(root / "instrument_9_10_testing/instrument_dataset_9/left_frames/frame000.png", colour(0))
        save(root / "test/instrument_dataset_1/left_frames/frame225.png", colour(0))
        save(root / "test/instrument_dataset_1/ground_truth/PartsSegmentation/frame225.png", box(0, 100))
        return tree

    return build


SPACING = (4.0, 0.75, 0.5)  # mm between slices, rows and columns


def nifti(file: Path, slices: np.ndarray) -> None:
    """Write (slices, H, W) as a volume (x, y, z)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(slices.transpose(2, 1, 0), np.diag([*SPACING[::-1], 1.0])).to_filename(file)


def windowed(volume: np.ndarray) -> np.ndarray:
    """8 bits by one window for the volume, 0.5 to 99.5 % of its values."""
    low, high = np.quantile(volume.astype(float), [0.005, 0.995])
    return np.rint(255 * np.clip((volume - low) / (high - low), 0, 1)).astype(np.uint8)


def brats(root: Path) -> Tree:
    folder, tree = root / "BraTS2020_TrainingData/MICCAI_BraTS2020_TrainingData", {}
    patients = [f"BraTS20_Training_{number:03d}" for number in range(1, 11)]
    split = share(patients)
    for number, patient in enumerate(patients):
        volumes = {}
        for place, sequence in enumerate(("flair", "t1", "t1ce", "t2")):
            volume = noise(10 * number + place, 3, HEIGHT, WIDTH, high=3000, dtype=np.int16)
            volume[0] = 0  # above the head
            volumes[sequence] = windowed(volume)
            nifti(folder / patient / f"{patient}_{sequence}.nii.gz", volume)
        labels = np.zeros((3, HEIGHT, WIDTH), np.int16)
        for slice_ in (1, 2):
            labels[slice_] = 2 * box(slice_)
            labels[slice_, 4:12, number : number + 9], labels[slice_, 6:9, 20:24] = 4, 1
        nifti(folder / patient / (f"{patient}_seg.nii.gz" if number else "W39_1998.09.19_Segm.nii"), labels)
        for slice_ in (1, 2):
            mask = np.where(labels[slice_] == 4, 3, labels[slice_]).astype(np.uint8)
            pixels = np.stack([volume[slice_] for volume in volumes.values()], axis=-1)
            tree[f"{patient}_slice{slice_:03d}"] = Entry(split[patient], mask, pixels, patient)
    (folder / "name_mapping.csv").write_text("Grade")
    hidden = root / "BraTS2020_ValidationData/MICCAI_BraTS2020_ValidationData/BraTS20_Validation_001"
    nifti(hidden / "BraTS20_Validation_001_flair.nii.gz", np.ones((3, 8, 8), np.int16))
    return tree


def brats_slices(root: Path) -> Tree:
    tree: Tree = {}
    patients = [str(10000 + number) for number in range(10)]
    split = share(patients)
    for number, patient in enumerate(patients):
        for slice_ in (9, 80 + number):
            mask = np.maximum(box(number, 2), box(number + 1, 1 + 2 * (number % 2)))
            colours = np.array([[9, 0, 30], [240, 40, 90], [100, 180, 0], [30, 60, 200]], np.uint8)[mask]
            save(root / f"masks/{patient}_{slice_}.png", colours)
            pixels = save(root / f"images/{patient}_{slice_}.png", colour(slice_))
            tree[f"{patient}_{slice_}"] = Entry(split[patient], mask, pixels, patient)
    return tree


def acdc(root: Path) -> Tree:
    tree: Tree = {}
    for part, numbers in (("training", range(1, 17)), ("testing", range(101, 104))):
        for number in numbers:
            patient = f"patient{number:03d}"
            folder = root / f"ACDC/database/{part}/{patient}"
            split = "test" if part == "testing" else "train" if number <= 14 else "val"
            for frame in (1, 12):
                name, kind = f"{patient}_frame{frame:02d}", np.uint8 if frame == 1 else np.int16
                volume = noise(number + frame, 2, HEIGHT, WIDTH, high=200 if frame == 1 else 900, dtype=kind)
                labels = np.stack([box(number), 2 * box(number) + box(number + 1)])
                nifti(folder / f"{name}.nii.gz", volume)
                nifti(folder / f"{name}_gt.nii.gz", labels)
                for slice_ in range(2):
                    pixels = volume[slice_] if frame == 1 else windowed(volume)[slice_]
                    tree[f"{name}_slice{slice_:03d}"] = Entry(split, labels[slice_], pixels, patient)
            nifti(folder / f"{patient}_4d.nii.gz", np.ones((2, 8, 8), np.int16))
            (folder / "Info.cfg").write_text("ED: 1")
    return tree


def pnm_gz(file: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PPM")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(buffer.getvalue()))


def stare(root: Path) -> Tree:
    tree: Tree = {}
    for place in range(20):
        stem = f"im{7 * place + 1:04d}"
        pnm_gz(root / f"stare-images/{stem}.ppm.gz", colour(place))
        pnm_gz(root / f"labels-ah/{stem}.ah.ppm.gz", box(place, 255))
        pnm_gz(root / f"labels-vk/{stem}.vk.ppm.gz", box(place + 1, 255))
        tree[stem] = Entry("train" if place < 10 else "test", box(place), colour(place), stem)
    return tree


def drive(root: Path) -> Tree:
    tree: Tree = {}
    for part, numbers in (("training", (21, 22, 23, 36, 37, 38, 39, 40)), ("test", (1, 2, 3))):
        for number in numbers:
            stem, folder = f"{number:02d}_{part}", root / f"DRIVE/{part}"
            field = np.zeros((HEIGHT, WIDTH), np.uint8)
            field[4:36, 4:44] = 255
            save(folder / f"mask/{stem}_mask.gif", field)
            save(folder / f"1st_manual/{number:02d}_manual1.gif", box(number, 255))
            if part == "test":
                save(folder / f"2nd_manual/{number:02d}_manual2.gif", box(number + 1, 255))
            split = "test" if part == "test" else "val" if number >= 37 else "train"
            mask = np.where(field, box(number), 255).astype(np.uint8)
            tree[stem] = Entry(split, mask, save(folder / f"images/{stem}.tif", colour(number)), stem)
    return tree


def chase(root: Path) -> Tree:
    tree: Tree = {}
    for child in (1, 2, 8, 9, 10, 11, 14):
        for side in "LR":
            stem = f"Image_{child:02d}{side}"
            save(root / f"{stem}_1stHO.png", box(child, 255), "1")
            save(root / f"{stem}_2ndHO.png", box(child + 1, 255), "1")
            split = "train" if child <= 8 else "val" if child <= 10 else "test"
            tree[stem] = Entry(split, box(child), save(root / f"{stem}.jpg", colour(child)), f"child {child}")
    return tree


BUILDERS: dict[str, Callable[[Path], Tree]] = {
    "Kvasir-SEG": kvasir,
    "CVC-ClinicDB": _polyps("CVC-ClinicDB/PNG/Original/{}.png", "CVC-ClinicDB/PNG/Ground Truth/{}.png", noisy),
    "CVC-ColonDB": _polyps(
        "CVC-ColonDB/{}.bmp", "CVC-ColonDB/p{}.bmp", _exact, ("CVC-ColonDB/s{}.bmp", "CVC-ColonDB/c{}.bmp")
    ),
    "ETIS-LaribPolypDB": _polyps(
        "ETIS-LaribPolypDB/ETIS-LaribPolypDB/{}.tif", "ETIS-LaribPolypDB/Ground Truth/p{}.tif", _exact
    ),
    "CVC-300": _polyps("CVC-300/bbdd/{}.bmp", "CVC-300/gtpolyp/{}.bmp", _exact),
    "ISIC-2018": isic,
    "PH2": ph2,
    "GlaS": glas,
    "BUSI": busi,
    "EndoVis-2017-binary": _endovis("binary"),
    "EndoVis-2017-parts": _endovis("parts"),
    "EndoVis-2017-types": _endovis("types"),
    "BraTS2020": brats,
    "BraTS-slices": brats_slices,
    "ACDC": acdc,
    "STARE": stare,
    "DRIVE": drive,
    "CHASE_DB1": chase,
}
