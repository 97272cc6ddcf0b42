"""EndoVis 2017, robotic instruments: whole instruments, their parts, or their types.

The truth of a frame is one file per instrument, in folders such as ``Left_Prograsp_Forceps_labels``, or one merged
file; values 0, 10 shaft, 20 wrist, 30 clasper, 40 probe. ``Other_labels`` (an ultrasound probe, for one) is no robotic
instrument: background for whole instruments and parts, a type of its own. The masks of sequence 7 are RGB.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data import IGNORE_INDEX, read_image
from s2mnet.data.splits import in_order
from s2mnet.datasets.reading import by_stem, natural
from s2mnet.datasets.record import Found, PublicSet, Record
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
_VIDEO, _CAMERA = (1080, 1920), np.s_[28:1052, 320:1600]  # "crop the image from the pixel (320, 28)", says the page


def _camera(pixels: np.ndarray) -> np.ndarray:
    """The image of the camera, 1280 × 1024, without the black border of the video."""
    return pixels[_CAMERA] if pixels.shape[:2] == _VIDEO else pixels


def _frame(file: Path) -> np.ndarray:
    return _camera(read_image(file))


def _labels(file: Path) -> np.ndarray:
    """The values of a file of the truth, 255 where it has none of those it should have."""
    raw = read_image(file)
    first = raw if raw.ndim == 2 else raw[..., 0]
    strange = ~np.isin(first, _VALUES)
    if raw.ndim == 3:
        strange |= (raw != raw[..., :1]).any(axis=-1)
    if strange.mean() > _MAX_STRANGE:
        found, expected = f"{strange.mean():.0%} of pixels of no part", f"values {', '.join(map(str, _VALUES))}"
        raise S2MNetError(file, found, expected, "Give the official download.")
    return np.where(strange, np.uint8(IGNORE_INDEX), first)


def _merged(files: dict[Path, int], encode: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """Class of each pixel, from the files of a frame and their types (0: merged); a later file is above an earlier."""
    result = None
    for file, kind in files.items():
        labels = _labels(file)
        now = np.where(labels == IGNORE_INDEX, labels, encode(labels, kind)).astype(np.uint8)
        result = now if result is None else np.where(now > 0, now, _same(result, now, file))
    return _camera(np.asarray(result))


def _parts(files: dict[Path, int]) -> np.ndarray:
    table = np.array([_PARTS.get(value, 0) for value in range(256)])
    return _merged(files, lambda labels, kind: np.zeros_like(labels) if kind == _OTHER else table[labels])


def _binary(files: dict[Path, int]) -> np.ndarray:
    parts = _parts(files)
    return np.where(parts == IGNORE_INDEX, parts, parts > 0).astype(np.uint8)


def _types(files: dict[Path, int]) -> np.ndarray:
    return _merged(files, lambda labels, kind: kind * (labels > 0))


def _same(before: np.ndarray, now: np.ndarray, file: Path) -> np.ndarray:
    if before.shape != now.shape:
        raise S2MNetError(
            file, f"{now.shape} pixels", f"{before.shape}, as the instrument before", "Download it again."
        )
    return before


def _type_of(folder: Path) -> int:
    plain = folder.name.casefold().replace("_", " ")
    for kind, name in _TYPES.items():
        if name in plain:
            return kind
    mend = "Check the name of the folder."
    raise S2MNetError(folder, "an instrument of no known type", "one of " + ", ".join(_TYPES.values()), mend)


def _truths(truth: Path, split_by_type: bool) -> dict[str, dict[Path, int]]:
    """For each frame the files of its truth with their types."""
    folders = sorted(folder for folder in truth.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    frames: dict[str, dict[Path, int]] = {}
    for folder in folders:
        for stem, file in by_stem(folder).items():
            frames.setdefault(stem, {})[file] = _type_of(folder)
    if not folders and not split_by_type:
        frames = {stem: {file: 0} for stem, file in by_stem(truth).items()}
    if not frames:
        expected = (
            "one folder per instrument" + ("" if split_by_type else ", or merged files") + ", with a file per frame"
        )
        raise S2MNetError(truth, "no such truth", expected, "Give the official download.")
    return frames


def _number(name: str) -> int:
    """The number at the end of a name, 0 if there is none."""
    match = re.search(r"[0-9]+$", name)
    return int(match[0]) if match else 0


def _is_training(sequence: Path) -> bool:
    truth = sequence / "ground_truth"
    released = any(truth.glob("*Segmentation"))  # how the truth of the test part came later, with other values
    return truth.is_dir() and not released and _number(sequence.name) <= _SEQUENCES


def _find(mask: Callable[[dict[Path, int]], np.ndarray], root: Path) -> Found:
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
                raise S2MNetError(image, "a frame without a truth", "a file of its name", "Complete the download.")
            name = f"{sequence.name}_{stem}"
            record = Record(
                name, split[sequence.name], sequence.name, partial(_frame, image), partial(mask, truths[stem])
            )
            records.append(record)
    hidden = len(sequences) - len(training)
    parts = [f"{hidden} sequences without a training truth"] * (hidden > 0) + [f"{later} test frames"] * (later > 0)
    return Found(records, [f"{' and '.join(parts)} were left out."] if parts else [])


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
        "that of all eight 1–6 are train, 7 validation, 8 test; the official test frames follow each training "
        "sequence, their masks come apart and with other values, and they are left out",
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
