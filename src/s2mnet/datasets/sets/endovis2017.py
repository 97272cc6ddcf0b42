"""EndoVis 2017, robotic instruments: whole instruments, their parts, or their types.

The truth of a frame is one file per instrument, in folders such as ``Left_Prograsp_Forceps_labels``, or one merged
file; values 0, 10 shaft, 20 wrist, 30 clasper. ``Other_labels`` (an ultrasound probe, for one) is no robotic
instrument: background for whole instruments and parts, a type of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data import LabelMap, read_mask
from s2mnet.data.splits import in_order
from s2mnet.datasets.reading import by_stem, natural
from s2mnet.datasets.record import Found, PublicSet, Record
from s2mnet.errors import S2MNetError

_PARTS = LabelMap(kind="classes", values=[0, 10, 20, 30])
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


def _parts(files: dict[Path, int]) -> np.ndarray:
    """Part of each pixel, from the files of a frame and their types (0: merged)."""
    result = None
    for file, kind in files.items():
        raw = read_mask(file)
        part = np.zeros(raw.shape, np.uint8) if kind == _OTHER else _PARTS.encode(raw, file)
        result = part if result is None else np.where(part > 0, part, _same(result, part, file))
    return np.asarray(result, np.uint8)


def _binary(files: dict[Path, int]) -> np.ndarray:
    return (_parts(files) > 0).astype(np.uint8)


def _types(files: dict[Path, int]) -> np.ndarray:
    result = None
    for file, kind in files.items():
        raw = read_mask(file)
        before = np.zeros(raw.shape, np.uint8) if result is None else result
        result = np.where(raw > 0, np.uint8(kind), _same(before, raw, file))
    return np.asarray(result, np.uint8)


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


def _find(mask: Callable[[dict[Path, int]], np.ndarray], root: Path) -> Found:
    sequences = sorted(
        {folder for depth in _DEPTHS for folder in root.glob(f"{depth}instrument_dataset_*") if folder.is_dir()},
        key=lambda folder: natural(folder.name),
    )
    labelled = [sequence for sequence in sequences if (sequence / "ground_truth").is_dir()]
    split = in_order(sequence.name for sequence in labelled)
    records = []
    for sequence in labelled:
        truths = _truths(sequence / "ground_truth", mask is _types)
        for stem, image in by_stem(sequence / "left_frames").items():
            if stem not in truths:
                raise S2MNetError(image, "a frame without a truth", "a file of its name", "Complete the download.")
            name = f"{sequence.name}_{stem}"
            records.append(Record(name, split[sequence.name], sequence.name, image, partial(mask, truths[stem])))
    hidden = len(sequences) - len(labelled)
    return Found(records, [f"{hidden} sequences without ground_truth were left out."] if hidden else [])


def _set(
    variant: str, mask: Callable[[dict[Path, int]], np.ndarray], names: list[str], colours: list[str]
) -> PublicSet:
    return PublicSet(
        name=f"EndoVis-2017-{variant}",
        modality="robotic surgery",
        images=1800,
        unit="frames",
        url="https://endovissub2017-roboticinstrumentsegmentation.grand-challenge.org/",
        terms="Terms of the challenge: research only, after registration.",
        citation="Allan et al., 2017 robotic instrument segmentation challenge. arXiv:1902.06426.",
        split="by sequence, in order of number: 70 % train, 10 % validation, 20 % test of the labelled sequences, so "
        "that of all eight 1–6 are train, 7 validation, 8 test; the official test frames follow each training "
        "sequence, without public masks, and are left out",
        classes=dict(enumerate(["background", *names])),
        colours=dict(enumerate(colours, start=1)),
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
