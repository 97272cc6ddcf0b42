"""One image and its mask, read once: everything that the inspection wants to know of them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from s2mnet.data.cases import Case, Split
from s2mnet.data.channels import GREY, select_channels, to_show
from s2mnet.data.label_rules import histogram
from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.data.pairs import read_pair
from s2mnet.errors import S2MNetError
from s2mnet.inspection.spectrum import energy_within
from s2mnet.inspection.storedform import stored_form

THUMBNAIL = 32


@dataclass(frozen=True)
class PackedMask:
    """Raw mask values, compressed, so that some hundred masks can wait for their labels to be understood."""

    content: bytes
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, mask: NDArray[np.integer]) -> PackedMask:
        """Example:
        >>> PackedMask.of(np.array([[0, 7]])).unpack().tolist()
        [[0, 7]]
        """
        return cls(zlib.compress(np.ascontiguousarray(mask).tobytes(), 1), mask.shape, mask.dtype.str)

    def unpack(self) -> NDArray[np.integer]:
        return np.frombuffer(zlib.decompress(self.content), self.dtype).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """Facts about one pair, small enough to keep for each pair of a large folder.

    Attributes:
        grey: whether all channels are equal.
        levels: (channels, 256) pixels of each level, one row if grey.
        values: pixels of each raw mask value.
        image_hash, mask_hash: of the decoded pixels and their shape; a grey image hashes alike however it is stored.
        thumbnail: (32, 32) float32, the grey image (of a stack the middle channel) by area averaging.
        mask_is_image: whether the mask holds the very pixels of the image.
        mask_likeness: correlation of the thumbnails of mask and image, -1 to 1; 0 if either is constant.
        energy: (K, with and without DC) as `energy_within` gives it, if it was asked for.
        packed: the mask, if it was asked for.
    """

    case: Case
    split: Split
    height: int
    width: int
    grey: bool
    mode: str
    bits: int
    mask_mode: str
    levels: NDArray[np.int64]
    values: dict[int, int]
    image_hash: bytes
    mask_hash: bytes
    thumbnail: NDArray[np.float32]
    mask_is_image: bool
    mask_likeness: float
    energy: NDArray[np.float64] | None
    packed: PackedMask | None

    @property
    def constant(self) -> bool:
        """Whether each channel of the image has one value everywhere."""
        return bool((np.count_nonzero(self.levels, axis=1) == 1).all())


def measure(case: Case, split: Split, with_mask: bool, with_energy: bool) -> CaseFacts:
    """Read a pair once and measure it.

    Args:
        with_mask: keep the mask, compressed.
        with_energy: measure the spectral energy.

    Raises:
        S2MNetError: either file cannot be read, their sizes differ, or there is no mask.
    """
    if case.mask is None:
        raise S2MNetError(case.image, "no mask", "a mask of the same name", "Add the mask.")
    image, mask = read_pair(case.image, case.mask)
    if image.ndim == 3 and image.shape[2] == 3 and (image == image[..., :1]).all():
        image = np.ascontiguousarray(image[..., 0])
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    grey = select_channels(to_show(image), [GREY])[0]
    thumbnail, mask_thumbnail = _thumbnail(grey), _thumbnail(mask)
    mode, bits = stored_form(case.image)
    return CaseFacts(
        case=case,
        split=split,
        height=image.shape[0],
        width=image.shape[1],
        grey=image.ndim == 2,
        mode=mode,
        bits=bits,
        mask_mode=stored_form(case.mask)[0],
        levels=np.stack([np.bincount(plane.reshape(-1), minlength=256) for plane in planes]),
        values=histogram(mask),
        image_hash=_hash(image),
        mask_hash=_hash(mask),
        thumbnail=thumbnail,
        mask_is_image=bool(np.array_equal(grey, mask)),
        mask_likeness=_correlation(thumbnail, mask_thumbnail),
        energy=energy_within(image) if with_energy else None,
        packed=PackedMask.of(mask) if with_mask else None,
    )


def foreground_share(pixels: Mapping[int, int]) -> float:
    """Share of the pixels with a truth that are no background, from the pixels of each class index.

    Example:
        >>> foreground_share({0: 75, 1: 20, 2: 5, 255: 40})
        0.25
    """
    known = sum(held for index, held in pixels.items() if index != IGNORE_INDEX)
    return 1 - pixels.get(0, 0) / known if known else 0.0


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
