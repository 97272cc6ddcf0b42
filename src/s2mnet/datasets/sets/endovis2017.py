"""EndoVis 2017, robotic instruments: whole instruments, their parts, or their types.

The truth of a frame is one file per instrument, in folders such as ``Left_Prograsp_Forceps_labels``, or one merged
file, with values 0, 10 shaft, 20 wrist, 30 clasper and 40 probe. ``Other_labels`` (such as an ultrasound probe) is no
robotic instrument: background for whole instruments and parts, a type of its own. The masks of sequence 7 are RGB.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data import read_image
from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.data.splits import in_order
from s2mnet.datasets.reading import COMPLETE, by_stem, check_shapes, natural
from s2mnet.datasets.record import Download, PublicSet, Record
from s2mnet.errors import S2MNetError

_PARTS = {10: 1, 20: 2, 30: 3}
_VALUES = (0, *_PARTS, 40)
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


def _merged(files: dict[Path, int], encode: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """The class of each pixel, from the files of a frame and their types (0: merged); later files on top."""
    read = {file: _labels(file) for file in files}
    check_shapes(read)
    result = np.zeros_like(next(iter(read.values())))
    for file, labels in read.items():
        classes = np.where(labels == IGNORE_INDEX, labels, encode(labels, files[file])).astype(np.uint8)
        result = np.where(classes > 0, classes, result)
    return _camera(result)


def _parts(files: dict[Path, int]) -> np.ndarray:
    table = np.array([_PARTS.get(value, 0) for value in range(256)])
    return _merged(files, lambda labels, kind: np.zeros_like(labels) if kind == _OTHER else table[labels])


def _binary(files: dict[Path, int]) -> np.ndarray:
    parts = _parts(files)
    return np.where(parts == IGNORE_INDEX, parts, parts > 0).astype(np.uint8)


def _types(files: dict[Path, int]) -> np.ndarray:
    return _merged(files, lambda labels, kind: kind * (labels > 0))


def _type_of(folder: Path) -> int:
    plain = folder.name.casefold().replace("_", " ")
    for kind, name in _TYPES.items():
        if name in plain:
            return kind
    problem = f"names no known type of instrument: {', '.join(_TYPES.values())}"
    raise S2MNetError(folder, problem, "Check the name of the folder.")


def _truths(truth: Path, split_by_type: bool) -> dict[str, dict[Path, int]]:
    """The mask files of each frame, with their types."""
    folders = sorted(folder for folder in truth.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    frames: dict[str, dict[Path, int]] = {}
    for folder in folders:
        for stem, file in by_stem(folder).items():
            frames.setdefault(stem, {})[file] = _type_of(folder)
    if not folders and not split_by_type:
        frames = {stem: {file: 0} for stem, file in by_stem(truth).items()}
    if not frames:
        merged = "" if split_by_type else ", or merged files"
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


def _find(mask: Callable[[dict[Path, int]], np.ndarray], root: Path) -> Download:
    places = {folder for depth in _DEPTHS for folder in root.glob(f"{depth}instrument_dataset_*")}
    sequences = sorted(
        (folder for folder in places if (folder / "left_frames").is_dir()), key=lambda folder: natural(folder.name)
    )
    training = [sequence for sequence in sequences if _is_training(sequence)]
    split = in_order(sequence.name for sequence in training)
    records, later = [], 0
    for sequence in training:
        truths = _truths(sequence / "ground_truth", mask is _types)
        for stem, image in by_stem(sequence / "left_frames").items():
            if _number(stem) >= _FRAMES:
                later += 1
                continue
            if stem not in truths:
                raise S2MNetError(image, "is a frame without a mask of the same name", COMPLETE)
            name, group = f"{sequence.name}_{stem}", sequence.name
            records.append(Record(name, split[group], group, partial(_frame, image), partial(mask, truths[stem])))
    hidden = len(sequences) - len(training)
    parts = [f"{hidden} sequences without training masks"] * (hidden > 0) + [f"{later} test frames"] * (later > 0)
    return Download(records, [f"{' and '.join(parts)} were left out."] if parts else [])


def _set(
    variant: str, mask: Callable[[dict[Path, int]], np.ndarray], names: list[str], colours: list[str]
) -> PublicSet:
    return PublicSet(
        name=f"EndoVis-2017-{variant}",
        modality="robotic surgery",
        images=1800,
        unit="frames",
        url="https://endovissub2017-roboticinstrumentsegmentation.grand-challenge.org/",
        terms="Terms of the challenge: research only, after registration. CC BY-NC 4.0 in the copy of its organiser, "
        "https://huggingface.co/datasets/maxhallan7/robotic-instrument-segmentation-miccai-2017.",
        citation="Allan et al., 2017 robotic instrument segmentation challenge. arXiv:1902.06426, 2019.",
        split="by sequence, in order of number: 70 % train, 10 % validation, 20 % test of the labelled sequences, so "
        "that of all eight 1–6 are train, 7 validation, 8 test; the official test frames, which follow each training "
        "sequence and have separate masks with other values, are left out",
        classes=dict(enumerate(["background", *names])),
        colours=dict(enumerate(colours, start=1)),
        ignore=IGNORE_INDEX,
        field_of_view="of video frames of 1920 × 1080 the image of the camera: 1280 × 1024 from column 320, row 28",
        layouts=tuple(
            (f"{depth}instrument_dataset_*/left_frames", f"{depth}instrument_dataset_*/ground_truth")
            for depth in _DEPTHS
        ),
        find=partial(_find, mask),
    )


SETS = (
    _set("binary", _binary, ["instrument"], ["#00c8ff"]),
    _set("parts", _parts, ["shaft", "wrist", "clasper"], ["#00c8ff", "#ffb000", "#e000c0"]),
    _set(
        "types",
        _types,
        list(_TYPES.values()),
        ["#e6194b", "#3cb44b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#46f0f0"],
    ),
)
