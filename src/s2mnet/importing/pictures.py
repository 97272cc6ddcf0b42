"""One image and its mask as a record, whether they are files of pixels or volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from s2mnet.data import Dataset, LabelMap, read_image, read_mask
from s2mnet.data.images import is_image_file
from s2mnet.data.splits import Split
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.importing.stacks import Plane, read_label_stack, read_stack


@dataclass(frozen=True)
class Pair:
    """An image with its mask, in files.

    Attributes:
        name: of the record.
        images: one file; or one for each channel.
        mask: the file with label values.
        split, patient: if known.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path
    split: Split = "train"
    patient: str = ""

    @property
    def is_volume(self) -> bool:
        """Whether the image is a stack of slices."""
        return not is_image_file(self.images[0])


@dataclass(frozen=True)
class PairSet:
    """Pairs of one source. Its volumes are sliced along one plane.

    Attributes:
        pairs: at least one.
        labels: the meaning of mask values, if the source states it: any other value is an error.
    """

    pairs: Sequence[Pair]
    labels: LabelMap | None = None

    @cached_property
    def plane(self) -> Plane:
        """The plane of the volumes among them."""
        return Plane.of([pair.images[0] for pair in self.pairs if pair.is_volume])

    @property
    def dataset(self) -> Dataset:
        """What is known of the pairs."""
        return Dataset(orientation=self.plane.recorded)

    def records(self) -> list[Record]:
        """One record for each pair."""
        return [self._record(pair) for pair in self.pairs]

    def _record(self, pair: Pair) -> Record:
        group = pair.patient or pair.name
        if pair.is_volume:
            image = partial(read_stack, pair.images, pair.mask, self.plane.letters)
            labels = partial(read_label_stack, pair.mask, self.plane.letters, self.labels)
            return Record(pair.name, pair.split, group, image, labels)
        mask = partial(_checked_mask, pair.mask, self.labels) if self.labels else pair.mask
        one = len(pair.images) == 1
        return Record(pair.name, pair.split, group, pair.images[0] if one else partial(_channels, pair.images), mask)


def _checked_mask(mask: Path, labels: LabelMap) -> np.ndarray:
    raw = read_mask(mask, labels.raw_values)
    labels.encode(raw, mask)
    return raw


def _channels(images: Sequence[Path]) -> np.ndarray:
    """Grey images as channels (H, W, n)."""
    arrays = {file: read_image(file) for file in images}
    first = images[0]
    for file, array in arrays.items():
        if array.shape != arrays[first].shape or array.ndim != 2:
            shapes = [" × ".join(map(str, arrays[each].shape)) for each in (file, first)]
            problem = f"has the shape {shapes[0]}; {first.name} has {shapes[1]}"
            raise S2MNetError(file, problem, "Save all channels of a case alike, in grey.")
    return np.stack(list(arrays.values()), axis=-1)
