"""The description of a public data set, and the records of a download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s2mnet.data import Dataset
from s2mnet.data.splits import Split
from s2mnet.datasets.volumes import Slices
from s2mnet.names import safe_stem

_LONGEST_END = "_slice00000.tif"  # of a file name that begins with the name of a record


@dataclass(frozen=True)
class Record:
    """One image with its mask, or one volume of slices.

    Attributes:
        name: file stem in the prepared folder, made safe if it is not; slices of a volume append ``_sliceNNN``, from 0.
        split: train, val or test.
        group: what a split must not separate (patient, sequence); the name itself where no group is known.
        image: the file to copy; or a function that returns the pixels, (H, W) or (H, W, C), or the slices of a volume.
        mask: returns class indices, uint8 (H, W) or (slices, H, W), 255 where the truth is unknown.
    """

    name: str
    split: Split
    group: str
    image: Path | Callable[[], np.ndarray | Slices]
    mask: Callable[[], np.ndarray]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", safe_stem(self.name, _LONGEST_END))


@dataclass(frozen=True)
class Download:
    """What a download holds.

    Attributes:
        records: every image with a public mask.
        left_out: one sentence for each part that is skipped.
        split: the split rule, where it depends on the content of the download.
    """

    records: list[Record]
    left_out: list[str] = field(default_factory=list)
    split: str = ""


@dataclass(frozen=True)
class PublicSet:
    """A public data set: its description, and the reader of its official download.

    Attributes:
        name: as ``s2mnet prepare`` takes it.
        modality: such as "colonoscopy".
        images: how many images or volumes of the official download are used; None if nobody says.
        unit: what ``images`` counts: "images", "frames" or "volumes".
        url: where to ask for it.
        terms, citation, split: one sentence each.
        classes: name of each class index, background first.
        colours: "#rrggbb" of each class but the background.
        layouts: how to recognise the folder of the download: alternatives, each of globs that must all match.
        find: lists the records of that folder.
        regions, channels, ignore, field_of_view: as in :class:`~s2mnet.data.Dataset`.
    """

    name: str
    modality: str
    images: int | None
    url: str
    terms: str
    citation: str
    split: str
    classes: dict[int, str]
    colours: dict[int, str]
    layouts: tuple[tuple[str, ...], ...]
    find: Callable[[Path], Download]
    unit: str = "images"
    regions: dict[str, list[int]] = field(default_factory=dict)
    channels: list[str] = field(default_factory=list)
    ignore: int | None = None
    field_of_view: str = ""

    def dataset(self, split: str = "", neighbours: int = 0, orientation: str = "") -> Dataset:
        """The content of ``dataset.yaml``; ``split`` replaces the general split rule."""
        offsets = [f"{offset:+d}" if offset else "0" for offset in range(-neighbours, neighbours + 1)]
        stacked = [f"{channel} {offset}" for channel in self.channels or ["slice"] for offset in offsets]
        return Dataset(
            name=self.name,
            modality=self.modality,
            classes=self.classes,
            ignore=self.ignore,
            colours=self.colours,
            regions=self.regions,
            channels=stacked if neighbours else self.channels,
            neighbours=neighbours,
            orientation=orientation,
            field_of_view=self.field_of_view,
            split=split or self.split,
            source=self.url,
            citation=self.citation,
            terms=self.terms,
        )
