"""One image and its mask as a record, whether they are files of pixels or volumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from s2mnet.data import Dataset, LabelMap, read_image, read_mask
from s2mnet.data.images import is_image_file
from s2mnet.data.splits import Split
from s2mnet.datasets.record import Record
from s2mnet.datasets.volumes import Slices
from s2mnet.errors import S2MNetError
from s2mnet.text import listed
from s2mnet.volumes import Volume, check_same_grid, read_volume, to_uint8
from s2mnet.volumes.nifti import is_nifti_name, orientation_of, read_nifti_channels, read_nifti_grid, whole_numbers

_SAME = "Save all channels of a case in one grid."


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
    def _shown(self) -> Counter[str]:
        """The ways in which `predict` would show the volumes, with the number of volumes."""
        files = [pair.images[0] for pair in self.pairs if pair.is_volume]
        return Counter(shown_orientation(read_nifti_grid(file)) for file in files if is_nifti_name(file))

    @property
    def plane(self) -> str:
        """The directions of slices, rows and columns for all volumes, such as "SPL"; "" if none is known."""
        known = [(count, way) for way, count in self._shown.items() if way]
        return max(known)[1] if known else ""

    @property
    def orientation(self) -> str:
        """The plane, if the header of every volume allows to slice in it."""
        return "" if "" in self._shown else self.plane

    @property
    def dataset(self) -> Dataset:
        """What is known of the pairs."""
        return Dataset(orientation=self.orientation)

    @property
    def notes(self) -> list[str]:
        """What is to be said of the slices."""
        if self._shown and not self.orientation:
            return ["The orientation of the slices is not recorded: not every volume states it."]
        ways = sorted(self._shown)
        return [f"Volumes would be shown as {listed(ways)}; all are sliced as {self.plane}."] if len(ways) > 1 else []

    def records(self) -> list[Record]:
        """One record for each pair."""
        return [self._record(pair) for pair in self.pairs]

    def _record(self, pair: Pair) -> Record:
        group = pair.patient or pair.name
        if pair.is_volume:
            image = partial(read_stack, pair.images, pair.mask, self.plane)
            labels = partial(read_label_stack, pair.mask, self.plane, self.labels)
            return Record(pair.name, pair.split, group, image, labels)
        mask = partial(_checked_mask, pair.mask, self.labels) if self.labels else pair.mask
        one = len(pair.images) == 1
        return Record(pair.name, pair.split, group, pair.images[0] if one else partial(_channels, pair.images), mask)


def shown_orientation(volume: Volume) -> str:
    """The directions in which slices, rows and columns of a volume count up; "" if unknown."""
    from nibabel.orientations import aff2axcodes

    if volume.affine is None or (volume.header is not None and not orientation_of(volume)):
        return ""
    opposite = dict(zip("LRAPSI", "RLPAIS", strict=True))
    codes = [str(aff2axcodes(volume.affine)[axis]) for axis in volume.axes]
    return "".join(opposite[code] if place in volume.flipped else code for place, code in enumerate(codes))


def read_stack(images: Sequence[Path], mask: Path | None, plane: str) -> Slices:
    """Read a volume in 8 bits, with one window for each channel, as ``predict`` does.

    Args:
        images: one volume, whose fourth axis are channels if there is one; or one for each channel.
        mask: a NIfTI volume that must have the same grid.
        plane: the directions of slices, rows and columns.

    Raises:
        S2MNetError: a file cannot be read, or the grids differ.
    """
    channels = [volume for file in images for volume in _volumes(file, plane)]
    if mask is not None:
        check_same_grid(channels[0], read_nifti_grid(mask, plane))
    for other in channels[1:]:
        if other.array.shape != channels[0].array.shape:
            sizes = [" × ".join(map(str, volume.array.shape)) for volume in (other, channels[0])]
            raise S2MNetError(other.path, f"has {sizes[0]} voxels; {channels[0].path.name} has {sizes[1]}", _SAME)
    pixels = [to_uint8(volume) for volume in channels]
    stacked = pixels[0] if len(pixels) == 1 else np.stack(pixels, axis=-1)
    return Slices(stacked, channels[0].spacing, shown_orientation(channels[0]))


def _volumes(file: Path, plane: str) -> list[Volume]:
    return read_nifti_channels(file, plane) if is_nifti_name(file) else [read_volume(file, plane)]


def read_label_stack(mask: Path, plane: str, labels: LabelMap | None = None) -> np.ndarray:
    """Read the labels of a volume (slices, H, W), as they are in the file.

    Raises:
        S2MNetError: the file cannot be read, or holds a value that is no label.
    """
    raw = whole_numbers(read_volume(mask, plane))
    if labels is not None:
        labels.encode(raw, mask)
    return raw


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
            raise S2MNetError(file, f"has the shape {shapes[0]}; {first.name} has {shapes[1]}", _SAME)
    return np.stack(list(arrays.values()), axis=-1)
