"""STARE: vessels of the retina, first observer (A. Hoover), in gzipped PPM files."""

from __future__ import annotations

import gzip
import io
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from s2mnet.data.splits import Split
from s2mnet.datasets.reading import COMPLETE
from s2mnet.datasets.record import Download, PublicSet, Record
from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded

_TRAIN = 10
_MAX_PNM = 256 * 2**20  # bytes; an image has 1.3 million


def find(_: PublicSet, root: Path) -> Download:
    """List the labelled images; the first ten are train."""
    nested = (root / "labels-ah").is_dir()
    images, labels = (root / "stare-images", root / "labels-ah") if nested else (root, root)
    truths = {file.name.partition(".")[0]: file for file in sorted(labels.glob("im*.ah.ppm*"))}
    files = {file.name.partition(".")[0]: file for file in sorted(images.glob("im[0-9][0-9][0-9][0-9].ppm*"))}
    records = []
    for place, (stem, truth) in enumerate(truths.items()):
        if stem not in files:
            raise S2MNetError(truth, f"is a mask without its image {stem}.ppm.gz", COMPLETE)
        split: Split = "train" if place < _TRAIN else "test"
        records.append(Record(stem, split, stem, partial(read_ppm, files[stem]), partial(_vessels, truth)))
    others = len(files.keys() - truths.keys())
    return Download(records, [f"{others} images without a mask were left out."] if others else [])


def _vessels(file: Path) -> np.ndarray:
    labels = read_ppm(file)
    return ((labels if labels.ndim == 2 else labels[..., 0]) > 127).astype(np.uint8)


def read_ppm(path: Path) -> np.ndarray:
    """Read a ppm or pgm file, gzipped or not, as uint8 (H, W) or (H, W, 3).

    Raises:
        S2MNetError: the file cannot be read.
    """
    with guarded(path, "is a damaged ppm image", "Download it again."):
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            content = file.read(_MAX_PNM)
        with Image.open(io.BytesIO(content), formats=["PPM"]) as image:
            return np.array(image)
