"""A corpus: a folder of data folders, each with its own plan, training images and held-out images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from s2mnet.data import Case, Dataset, find_cases
from s2mnet.data.splits import by_share
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import read_folder
from s2mnet.plan import IMAGENET, Plan, make_plan
from s2mnet.progress import progress_bar

KEPT = (0.85, 1.0)  # train below the first, held out above: shares of the range of SHA-1
MANY_STEPS = 1_000_000  # each image is seen often, so that the plan has the strong augmentation
COLOURS = 3  # inputs of the network


@dataclass(frozen=True)
class Source:
    """One data set of a corpus.

    Attributes:
        name: of its folder.
        dataset: its ``dataset.yaml``.
        plan: preprocessing, augmentation, labels and loss; three input channels.
        train, held_out: cases, about 85 and 15 %, by the SHA-1 of the patient, the volume or the file stem.
        checksum: SHA-256 of all images and masks, in the order of their names.
    """

    name: str
    dataset: Dataset
    plan: Plan
    train: list[Case]
    held_out: list[Case]
    checksum: str


def read_corpus(folder: Path, size: int, seed: int, batch_size: int) -> list[Source]:
    """Every data folder of the corpus, by name.

    Args:
        folder: its subfolders with a ``dataset.yaml`` are the data sets.
        size: side of the network's input in pixels.
        seed, batch_size: of all plans.

    Raises:
        S2MNetError: there is none; or one cannot be trained on.
    """
    folders = sorted(path.parent for path in Path(folder).glob("*/dataset.yaml"))
    if not folders:
        fix = "Pass a folder of data folders, each with images, masks and a dataset.yaml."
        raise S2MNetError(folder, "holds no data folder with a dataset.yaml", fix)
    sources = []
    with progress_bar("reading the corpus") as advance:
        for done, path in enumerate(folders, 1):
            sources.append(_read(path, size, seed, batch_size))
            advance(done, len(folders))
    return sources


def _read(path: Path, size: int, seed: int, batch_size: int) -> Source:
    found = find_cases(path)
    fingerprint = read_folder(found)
    plan = make_plan(fingerprint, size=size, start=IMAGENET, seed=seed, batch_size=batch_size, steps=MANY_STEPS)
    cases = found.cases_of("all")
    split = by_share({case.group for case in cases}, KEPT)
    train, held_out = ([case for case in cases if split[case.group] == name] for name in ("train", "val"))
    return Source(path.name, found.dataset, _in_colour(plan, path), train, held_out, _checksum(cases))


def _checksum(cases: Sequence[Case]) -> str:
    total = hashlib.sha256()
    for case in sorted(cases, key=lambda case: case.image.name):
        total.update(case.image.read_bytes())
        total.update(case.mask.read_bytes() if case.mask else b"")
    return total.hexdigest()


def _in_colour(plan: Plan, path: Path) -> Plan:
    """A plan whose single channel, grey or green, is all three inputs of a network for colours."""
    preprocessing = plan.preprocessing
    count = len(preprocessing.channels)
    if count not in (1, COLOURS):
        fix = f"Pretrain on grey and colour images; move {path.name} out of the corpus."
        raise S2MNetError(path, f"has images of {count} channels", fix)

    def three(values: Sequence[object]) -> list[object]:
        return [*values] * (COLOURS // count)

    changes = {name: three(getattr(preprocessing, name)) for name in ("channels", "mean", "std")}
    return plan.model_copy(update={"preprocessing": preprocessing.model_copy(update=changes)})
