"""EndoVis 2017, robotic instruments: whole instruments, their parts, or their types.

The truth of a frame is one file per instrument, in folders such as ``Left_Prograsp_Forceps_labels``, or one merged
file, with values 0, 10 shaft, 20 wrist, 30 clasper and 40 probe. ``Other_labels`` (such as an ultrasound probe) is no
robotic instrument: background for whole instruments and parts, a type of its own. The masks of sequence 7 are RGB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data import read_image
from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.data.splits import in_order
from s2mnet.datasets.reading import COMPLETE, by_stem, check_shapes, natural
from s2mnet.datasets.record import Download, PublicSet, Record
from s2mnet.errors import S2MNetError

_VALUES = (0, 10, 20, 30, 40)
_PARTS = np.zeros(256, np.uint8)  # the class of each value
_PARTS[[10, 20, 30]] = 1, 2, 3
_MAX_STRANGE = 0.01  # share of pixels of another value: sequence 7 is said to have a few
_TYPES = {
    1: "bipolar forceps",
    2: "prograsp forceps",
    3: "large needle driver",
    4: "vessel sealer",
    5: "grasping retractor",
    6: "monopolar curved scissors",
    7: "other",
}
_OTHER = 7
_DEPTHS = ("", "*/", "*/*/")  # the download comes as instrument_1_4_training and instrument_5_8_training
_SEQUENCES, _FRAMES = 8, 225  # of the training part; frames 225 to 299, and sequences 9 and 10, are the test part
_OFFICIAL = "Give the official download."
_VIDEO, _CAMERA = (1080, 1920), np.s_[28:1052, 320:1600]  # "crop the image from the pixel (320, 28)", as its page says


def _camera(pixels: np.ndarray) -> np.ndarray:
    """The camera image, 1280 × 1024, without the black border of the video."""
    return pixels[_CAMERA] if pixels.shape[:2] == _VIDEO else pixels


def _frame(file: Path) -> np.ndarray:
    return _camera(read_image(file))


def _labels(file: Path) -> np.ndarray:
    """The values of a mask file, 255 where the value is unknown."""
    raw = read_image(file)
    first = raw if raw.ndim == 2 else raw[..., 0]
    strange = ~np.isin(first, _VALUES)
    if raw.ndim == 3:
        strange |= (raw != raw[..., :1]).any(axis=-1)
    if strange.mean() > _MAX_STRANGE:
        problem = f"has {strange.mean():.0%} of pixels of no part, not {', '.join(map(str, _VALUES))}"
        raise S2MNetError(file, problem, _OFFICIAL)
    return np.where(strange, np.uint8(IGNORE_INDEX), first)


_ENCODE: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "binary": lambda labels, kind: (kind != _OTHER) * (_PARTS[labels] > 0),
    "parts": lambda labels, kind: (kind != _OTHER) * _PARTS[labels],
    "types": lambda labels, kind: kind * (labels > 0),
}
"""Classes of each variant, from the values of a mask file and the type of its instrument (0: merged)."""


def _mask(variant: str, files: dict[Path, int]) -> np.ndarray:
    """The class of each pixel, from the files of a frame and their types; later files on top."""
    read = {file: _labels(file) for file in files}
    check_shapes(read)
    result = np.zeros_like(next(iter(read.values())))
    for file, labels in read.items():
        classes = np.where(labels == IGNORE_INDEX, labels, _ENCODE[variant](labels, files[file])).astype(np.uint8)
        result = np.where(classes > 0, classes, result)
    return _camera(result)


def _type_of(folder: Path) -> int:
    plain = folder.name.casefold().replace("_", " ")
    for kind, name in _TYPES.items():
        if name in plain:
            return kind
    problem = f"names no known type of instrument: {', '.join(_TYPES.values())}"
    raise S2MNetError(folder, problem, "Check the name of the folder.")


def _truths(truth: Path, variant: str) -> dict[str, dict[Path, int]]:
    """The mask files of each frame, with their types."""
    folders = sorted(folder for folder in truth.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    frames: dict[str, dict[Path, int]] = {}
    for folder in folders:
        for stem, file in by_stem(folder).items():
            frames.setdefault(stem, {})[file] = _type_of(folder)
    if not folders and variant != "types":
        frames = {stem: {file: 0} for stem, file in by_stem(truth).items()}
    if not frames:
        merged = "" if variant == "types" else ", or merged files"
        raise S2MNetError(truth, f"lacks one folder per instrument{merged}, with a file per frame", _OFFICIAL)
    return frames


def _number(name: str) -> int:
    """The number at the end of a name, 0 if there is none."""
    match = re.search(r"[0-9]+$", name)
    return int(match[0]) if match else 0


def _is_training(sequence: Path) -> bool:
    truth = sequence / "ground_truth"
    released = any(truth.glob("*Segmentation"))  # the masks of the test part, released later with other values
    return truth.is_dir() and not released and _number(sequence.name) <= _SEQUENCES


def _find(variant: str, _: PublicSet, root: Path) -> Download:
    places = {folder for depth in _DEPTHS for folder in root.glob(f"{depth}instrument_dataset_*")}
    sequences = sorted(
        (folder for folder in places if (folder / "left_frames").is_dir()), key=lambda folder: natural(folder.name)
    )
    training = [sequence for sequence in sequences if _is_training(sequence)]
    split = in_order(sequence.name for sequence in training)
    records, later = [], 0
    for sequence in training:
        truths = _truths(sequence / "ground_truth", variant)
        for stem, image in by_stem(sequence / "left_frames").items():
            if _number(stem) >= _FRAMES:
                later += 1
                continue
            if stem not in truths:
                raise S2MNetError(image, "is a frame without a mask of the same name", COMPLETE)
            name, group = f"{sequence.name}_{stem}", sequence.name
            records.append(
                Record(name, split[group], group, partial(_frame, image), partial(_mask, variant, truths[stem]))
            )
    hidden = len(sequences) - len(training)
    parts = [f"{hidden} sequences without training masks"] * (hidden > 0) + [f"{later} test frames"] * (later > 0)
    return Download(records, [f"{' and '.join(parts)} were left out."] if parts else [])


find_binary, find_parts, find_types = (partial(_find, variant) for variant in ("binary", "parts", "types"))
