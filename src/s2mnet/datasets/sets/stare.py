"""STARE: vessels of the retina, first observer (A. Hoover)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.datasets.reading import COMPLETE, read_pnm
from s2mnet.datasets.record import Download, PublicSet, Record
from s2mnet.errors import S2MNetError

_TRAIN = 10


def _vessels(file: Path) -> np.ndarray:
    labels = read_pnm(file)
    return ((labels if labels.ndim == 2 else labels[..., 0]) > 127).astype(np.uint8)


def _find(root: Path) -> Download:
    nested = (root / "labels-ah").is_dir()  # the two archives, unpacked side by side or into one folder
    images, labels = (root / "stare-images", root / "labels-ah") if nested else (root, root)
    truths = {file.name.partition(".")[0]: file for file in sorted(labels.glob("im*.ah.ppm*"))}
    files = {file.name.partition(".")[0]: file for file in sorted(images.glob("im[0-9][0-9][0-9][0-9].ppm*"))}
    for stem, truth in truths.items():
        if stem not in files:
            raise S2MNetError(truth, f"is a mask without its image {stem}.ppm.gz", COMPLETE)
    records = [
        Record(
            stem, "train" if place < _TRAIN else "test", stem, partial(read_pnm, files[stem]), partial(_vessels, truth)
        )
        for place, (stem, truth) in enumerate(truths.items())
    ]
    others = len(files.keys() - truths.keys())
    return Download(records, [f"{others} images without a mask were left out."] if others else [])


SET = PublicSet(
    name="STARE",
    modality="fundus photography",
    images=20,
    url="https://cecas.clemson.edu/~ahoover/stare/probing/index.html",
    terms="Research only.",
    citation="Hoover et al., Locating blood vessels in retinal images by piecewise threshold probing of a matched "
    "filter response. IEEE Transactions on Medical Imaging, 2000.",
    split="sorted by name: first 10 train, last 10 test",
    classes={0: "background", 1: "vessel"},
    colours={1: "#00ff80"},
    layouts=(("stare-images/im*.ppm*", "labels-ah/im*.ah.ppm*"), ("im[0-9][0-9][0-9][0-9].ppm*", "im*.ah.ppm*")),
    find=_find,
    field_of_view="no mask of it is supplied; the dark surround counts as background",
)
