"""One image and its mask, read once and measured."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2mnet.data.cases import Case, Split
from s2mnet.data.channels import GREY, select_channels, to_show
from s2mnet.data.label_rules import histogram
from s2mnet.data.labels import IGNORE_INDEX, LabelMap
from s2mnet.data.pairs import class_indices, mask_of, read_field, read_pair
from s2mnet.fingerprint.shapes import contrast
from s2mnet.fingerprint.spectrum import energy_within
from s2mnet.fingerprint.storedform import stored_form

Shares = Mapping[int, int]  # pixels of each class index
THUMBNAIL = 32


@dataclass(frozen=True)
class Packed:
    """An array, compressed, so that some hundred masks can wait until their labels are understood."""

    content: bytes
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, array: NDArray[Any]) -> Packed:
        """Example:
        >>> Packed.of(np.array([[0, 7]])).unpack().tolist()
        [[0, 7]]
        """
        return cls(zlib.compress(np.ascontiguousarray(array).tobytes(), 1), array.shape, array.dtype.str)

    def unpack(self) -> NDArray[Any]:
        return np.frombuffer(zlib.decompress(self.content), self.dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Sample:
    """What is kept of a pair until the labels are understood.

    Attributes:
        mask: raw mask values.
        field: where there is a truth, bool; None for everywhere.
        contrasts: contrast in each channel, by the set of mask values that is taken for the foreground.
    """

    mask: Packed
    field: Packed | None
    contrasts: dict[frozenset[int], list[float]]

    def indices(self, labels: LabelMap, where: Path) -> NDArray[np.uint8]:
        """Class indices (H, W), 255 where there is no truth."""
        return class_indices(self.mask.unpack(), self.field.unpack() if self.field else None, labels, where)


@dataclass(frozen=True, eq=False)
class Pair:
    """Facts about one pair, small enough to keep for each pair of a large folder.

    Attributes:
        channels: 1, 3, or those of a stack, as the file stores them.
        grey: whether there is one channel, or three equal ones.
        constant: whether each channel of the image has one value everywhere.
        values: pixels of each raw mask value.
        sample: of a chosen pair.
    """

    case: Case
    split: Split
    height: int
    width: int
    channels: int
    grey: bool
    constant: bool
    values: dict[int, int]
    sample: Sample | None

    @property
    def mask(self) -> Path:
        return mask_of(self.case)


@dataclass(frozen=True, eq=False)
class InspectedPair(Pair):
    """More facts, which only an inspection needs.

    Attributes:
        mode, mask_mode, bits: see :class:`~s2mnet.fingerprint.record.ImageFacts`.
        image_hash, mask_hash: of the decoded pixels and their shape; a grey image hashes alike however it is stored.
        thumbnail: (32, 32) float32, the grey image (of a stack the middle channel) by area averaging.
        mask_is_image: whether the pixels of the mask are those of the image.
        mask_likeness: correlation of the thumbnails of mask and image, -1 to 1; 0 if either is constant.
        energy: as :func:`~s2mnet.fingerprint.spectrum.energy_within` gives it, of a chosen pair.
    """

    mode: str
    bits: int
    mask_mode: str
    image_hash: bytes
    mask_hash: bytes
    thumbnail: NDArray[np.float32]
    mask_is_image: bool
    mask_likeness: float
    energy: NDArray[np.float64] | None


def measure(
    case: Case, split: Split, labels: LabelMap | None = None, sample: bool = False, inspect: bool = False,
    energy: bool = False,
) -> tuple[Pair, NDArray[np.int64]]:  # fmt: skip
    """Read a pair once and measure it.

    Args:
        labels: what the mask values mean, if that is known before they are read.
        sample: keep a sample.
        inspect: give an :class:`InspectedPair`.
        energy: measure its spectral energy.

    Returns:
        The facts, and the pixels of each level: (channels, 256), one row if grey.

    Raises:
        S2MNetError: either file cannot be read, their sizes differ, or there is no mask.
    """
    image, mask = read_pair(case.image, mask_of(case), labels)
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    grey = len(planes) in (1, 3) and all(np.array_equal(planes[0], plane) for plane in planes[1:])
    levels = np.stack([np.bincount(plane.reshape(-1), minlength=256) for plane in (planes[:1] if grey else planes)])
    values = histogram(mask)
    facts: dict[str, Any] = dict(
        case=case,
        split=split,
        height=image.shape[0],
        width=image.shape[1],
        channels=len(planes),
        grey=grey,
        constant=bool((np.count_nonzero(levels, axis=1) == 1).all()),
        values=values,
        sample=_sample(case, image, mask, _likely_foregrounds(values, labels, split)) if sample else None,
    )
    if not inspect:
        return Pair(**facts), levels
    image = np.ascontiguousarray(planes[0]) if grey else image
    shown = select_channels(to_show(image), [GREY])[0]
    thumbnail = _thumbnail(shown)
    mode, bits = stored_form(case.image)
    pair = InspectedPair(
        **facts,
        mode=mode,
        bits=bits,
        mask_mode=stored_form(mask_of(case))[0],
        image_hash=_hash(image),
        mask_hash=_hash(mask),
        thumbnail=thumbnail,
        mask_is_image=bool(np.array_equal(shown, mask)),
        mask_likeness=_correlation(thumbnail, _thumbnail(mask)),
        energy=energy_within(image) if energy else None,
    )
    return pair, levels


def read_sample(case: Case, labels: LabelMap, foreground: frozenset[int]) -> Sample:
    """A sample of a pair that was not chosen when it was measured."""
    return _sample(case, *read_pair(case.image, mask_of(case), labels), [foreground])


def foreground_share(pixels: Mapping[int, int]) -> float:
    """Share of foreground among the pixels with a truth, from the pixels of each class index.

    Example:
        >>> foreground_share({0: 75, 1: 20, 2: 5, 255: 40})
        0.25
    """
    known = sum(count for index, count in pixels.items() if index != IGNORE_INDEX)
    return 1 - pixels.get(0, 0) / known if known else 0.0


def _likely_foregrounds(values: Collection[int], labels: LabelMap | None, split: Split) -> list[frozenset[int]]:
    """The sets of values that may turn out to be the foreground: for the contrast, which is of train images only."""
    if split != "train":
        return []
    if labels:
        return [labels.foreground(values)]
    above = [frozenset(value for value in values if value > limit) for limit in (0, 127)]
    return [foreground for foreground in {*above, above[0] - {IGNORE_INDEX}} if foreground]


def _sample(case: Case, image: np.ndarray, mask: np.ndarray, foregrounds: Collection[frozenset[int]]) -> Sample:
    field = read_field(case, image)
    inside = True if field is None else field
    contrasts = {chosen: contrast(image, np.isin(mask, list(chosen)) & inside) for chosen in foregrounds}
    return Sample(Packed.of(mask), None if field is None else Packed.of(field), contrasts)


def _hash(array: NDArray[np.generic]) -> bytes:
    digest = hashlib.blake2b(repr(array.shape).encode(), digest_size=16)
    # The values and not their type: a mask may be stored in 8 or 16 bits.
    digest.update(np.ascontiguousarray(array if array.dtype == np.uint8 else array.astype(np.int64)).data)
    return digest.digest()


def _thumbnail(plane: NDArray[np.generic]) -> NDArray[np.float32]:
    source = Image.fromarray(plane if plane.dtype == np.uint8 else plane.astype(np.float32))
    return np.asarray(source.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), dtype=np.float32)


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    a, b = first - first.mean(dtype=np.float64), second - second.mean(dtype=np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / norm) if norm > 1e-6 else 0.0
