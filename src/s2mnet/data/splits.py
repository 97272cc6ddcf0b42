"""The split of a data set without one of its own: 70 % train, 10 % validation, 20 % test."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
BY_SHARE = "by SHA-1 of the file stem as a share of its range: below 70 % train, below 80 % validation, above it test"


def in_order(groups: Iterable[str], weights: tuple[int, ...] = (7, 1, 2)) -> dict[str, Split]:
    """The split of each group, contiguous in the order given; repeated groups count once.

    The borders are rounded, halves up; train and validation get at least one group each if there are enough.

    Args:
        groups: patients, sequences or images.
        weights: of train, validation and, unless there is a test set already, test.

    Example:
        >>> in_order("abcdeabcde")
        {'a': 'train', 'b': 'train', 'c': 'train', 'd': 'train', 'e': 'val'}
        >>> list(in_order(map(str, range(40))).values()).count("train")
        28
    """
    ordered = list(dict.fromkeys(groups))
    total, start = sum(weights), 0
    result: dict[str, Split] = {}
    for split, weight in zip(SPLITS, weights, strict=False):
        count = max(1, (2 * weight * len(ordered) + total) // (2 * total))  # integers: halves go up, exactly
        stop = len(ordered) if split == SPLITS[len(weights) - 1] else start + count
        result |= dict.fromkeys(ordered[start:stop], split)
        start += count
    return result


def by_hash(stems: Iterable[str]) -> dict[str, Split]:
    """The split of each file stem, or patient, in the order of the SHA-1 hex digest of its name.

    Example:
        >>> by_hash(["a", "b"])
        {'a': 'train', 'b': 'val'}
    """
    return in_order(sorted(stems, key=digest))


def by_share(groups: Iterable[str], shares: tuple[float, float] = (0.7, 0.8)) -> dict[str, Split]:
    """The split of each group by its SHA-1 alone, so that it keeps its split when others are added or removed.

    The sizes of the splits are therefore approximate. Only where one would be empty, the nearest group moves into it:
    into test and validation from below.

    Args:
        groups: patients, volumes or images, at least two.
        shares: of the range of SHA-1 below which a group is train, and below which it is validation; 1: there is no
            test split.

    Example:
        >>> by_share(["a", "b", "c"])
        {'c': 'train', 'a': 'val', 'b': 'test'}
    """
    ordered = sorted(set(groups), key=digest)
    train, val = (sum(int(digest(group), 16) < share * 2**160 for group in ordered) for share in shares)
    if val == len(ordered) > 2 and shares[1] < 1:
        val -= 1  # the last one is test
    if train >= val:
        train = val - 1
    train = max(1, train)
    val = max(train + 1, val)
    return {group: "train" if n < train else "val" if n < val else "test" for n, group in enumerate(ordered)}


def digest(stem: str) -> str:
    """SHA-1 of a name in hexadecimal: an order that is unrelated to the images and the same everywhere.

    Example:
        >>> digest("a")[:8]
        '86f7e437'
    """
    return hashlib.sha1(os.fsencode(stem), usedforsecurity=False).hexdigest()
