"""The description of a public data set, and the records of a download."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ImportString, model_validator

from s2mnet.data import Dataset
from s2mnet.data.splits import Split
from s2mnet.datasets.volumes import Slices
from s2mnet.names import safe_stem

_LONGEST_END = "_slice00000.tif"  # of a file name that begins with the name of a record

STEM = re.compile(r"\{[^}]*\}")
"""What stands for the stem of an image in a pattern."""


@dataclass(frozen=True)
class Record:
    """One image with its mask, or one volume of slices.

    Attributes:
        name: file stem in the prepared folder, made safe if it is not; slices of a volume append ``_sliceNNN``, from 0.
        split: train, val or test.
        group: what a split must not separate (patient, sequence); the name itself where no group is known.
        image: the file to copy; or a function that returns the pixels, (H, W) or (H, W, C), or the slices of a volume.
        mask: the file to copy; or a function that returns class indices, uint8 (H, W) or (slices, H, W), 255 where the
            truth is unknown.
    """

    name: str
    split: Split
    group: str
    image: Path | Callable[[], np.ndarray | Slices]
    mask: Path | Callable[[], np.ndarray]

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


class Part(BaseModel):
    """Images of a download and their masks, as globs relative to its folder.

    Attributes:
        images: the images. Masks among them do not count.
        masks: their masks, with ``{}`` for the stem of the image, or ``{:.2}`` for its first two letters. An image with
            several has their union.
        field: masks of the field of view, in the same form. Outside of it the truth is unknown.
        split: of the whole part; or by which rule its groups are divided.
        exceptions: groups with a split of their own.
        group: regular expression for all image stems; its parenthesis is the patient or sequence. Default: unknown.
        group_name: how to call one.
        required: whether a download without these files has another layout.
        left_out: the note on a part without masks, with ``{}`` for the number of its images.

    Example:
        >>> Part(images="images/[0-9]*", masks="masks/p{}.*").globs
        ['images/[0-9]*', 'masks/p[0-9]*.*']
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: str
    masks: str = ""
    field: str = ""
    split: Literal["by hash", "in order"] | Split = "by hash"
    exceptions: dict[str, Split] = {}
    group: str = "(.*)"
    group_name: str = "{}"
    required: bool = True
    left_out: str = ""

    @model_validator(mode="after")
    def _names_its_masks(self) -> Part:
        if not (self.masks or self.left_out) or not all(map(STEM.search, filter(None, (self.masks, self.field)))):
            raise ValueError("a part has masks with a {} for the stem of the image, or left_out")
        return self

    @property
    def globs(self) -> list[str]:
        """A glob for each kind of file that the part is made of."""
        stem = PurePath(self.images).stem
        return [STEM.sub(stem, pattern) for pattern in (self.images, self.masks, self.field) if pattern]


class Layout(BaseModel):
    """One form in which a data set is distributed.

    Attributes:
        parts: its images; none if the data set has a reader of its own.
        identified_by: globs that all match in a folder with this layout. Default: those of the required parts.
        rule: the split rule, if it is that of this layout alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: list[Part] = []
    identified_by: list[str] = []
    rule: str = ""

    @property
    def globs(self) -> list[str]:
        """Globs that all match in a folder with this layout."""
        return self.identified_by or [glob for part in self.parts if part.required for glob in part.globs]

    def fits(self, folder: Path) -> bool:
        """Whether a folder has this layout."""
        return all(any(folder.glob(glob)) for glob in self.globs)


class PublicSet(Dataset):
    """A public data set: its description, and the layout of its official download.

    Attributes:
        images: how many images or volumes of the official download are used; None if nobody says.
        unit: what ``images`` counts: "images", "frames" or "volumes".
        labels: how mask files are read, see :data:`s2mnet.datasets.recipe.LABELS`.
        layouts: alternatives; the first that fits counts.
        reader: the function that lists the records of a folder, if its layout does not describe them.
    """

    images: int | None = None
    unit: Literal["images", "frames", "volumes"] = "images"
    labels: Literal["two-valued", "above half", "nonzero", "nearest colour"] = "two-valued"
    layouts: list[Layout] = Field(min_length=1)
    reader: ImportString[Callable[[PublicSet, Path], Download]] = Field(
        "s2mnet.datasets.recipe.find", validate_default=True
    )

    def dataset(self, split: str = "", neighbours: int = 0, orientation: str = "") -> Dataset:
        """The content of ``dataset.yaml``; ``split`` replaces the general split rule."""
        offsets = [f"{offset:+d}" if offset else "0" for offset in range(-neighbours, neighbours + 1)]
        stacked = [f"{channel} {offset}" for channel in self.channels or ["slice"] for offset in offsets]
        own = {
            "channels": stacked if neighbours else self.channels,
            "neighbours": neighbours,
            "orientation": orientation,
            "split": split or self.split,
        }
        return Dataset(**self.model_dump(include=set(Dataset.model_fields)) | own)
