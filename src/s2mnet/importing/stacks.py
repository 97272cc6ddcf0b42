"""The volumes of a source as stacks of slices along one plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s2mnet.data import LabelMap
from s2mnet.datasets.volumes import Slices
from s2mnet.errors import S2MNetError
from s2mnet.text import listed
from s2mnet.volumes import Volume, check_same_grid, read_volume, to_uint8
from s2mnet.volumes.dicom.reader import read_dicom_grid
from s2mnet.volumes.nifti import is_nifti_name, orientation_of, read_nifti_channels, read_nifti_grid, whole_numbers

_SAME = "Save all channels of a case in one grid."


@dataclass(frozen=True)
class Plane:
    """The directions in which the slices of all volumes of a source are cut and shown.

    Attributes:
        ways: how ``predict`` would show the volumes, with the number of volumes; "" counts those of unknown position.
    """

    ways: Counter[str]

    @classmethod
    def of(cls, volumes: Iterable[Path]) -> Plane:
        """The plane of NIfTI files, DICOM files and folders of DICOM series.

        Raises:
            S2MNetError: a header cannot be read.
        """
        return cls(Counter(shown_orientation(read_grid(volume)) for volume in volumes))

    @property
    def letters(self) -> str:
        """The most common way of those that are known, such as "SPL"; "" if none is."""
        known = [(count, way) for way, count in self.ways.items() if way]
        return max(known)[1] if known else ""

    @property
    def recorded(self) -> str:
        """The same for ``dataset.yaml``: "" also where a volume does not state its position."""
        return "" if "" in self.ways else self.letters

    @property
    def notes(self) -> list[str]:
        """What is to be said of the slices."""
        ways = sorted(self.ways)
        if "" in ways:
            return ["The orientation of the slices is not recorded: not every volume states it."]
        return [f"Volumes would be shown as {listed(ways)}; all are sliced as {self.letters}."] if len(ways) > 1 else []


def read_grid(path: Path, plane: str = "") -> Volume:
    """The grid of a NIfTI file, a DICOM file or a folder with a DICOM series, without its values.

    Raises:
        S2MNetError: it cannot be read, or is of another kind.
    """
    if is_nifti_name(path):
        return read_nifti_grid(path, plane)
    return read_dicom_grid(path, plane) if path.is_dir() else read_volume(path, plane)


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
        check_same_grid(channels[0], read_grid(mask, plane))
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
