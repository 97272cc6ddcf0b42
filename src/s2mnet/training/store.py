"""Prepared cases, decoded once: cached in files that are memory-mapped and shared by all runs."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from s2mnet.data import Case, LabelMap, load_case
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.files import prefetch, write_atomically
from s2mnet.inference import prepare_image, prepare_mask
from s2mnet.plan import Preprocessing
from s2mnet.progress import progress_bar

VARIABLE = "S2MNET_CACHE"
FORMAT = 1  # increase it when the same files are prepared differently
KEPT_DAYS = 30

Pair = tuple[np.ndarray, np.ndarray]


class _Stored(NamedTuple):
    """The files of a prepared image and its mask."""

    image: Path
    mask: Path


def cache_folder() -> Path | None:
    """The folder for prepared cases: ``$S2MNET_CACHE`` ("off": None), else ``s2mnet`` in the user's cache folder.

    None for a user without a home folder, such as an unknown user id in a container.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return None if named == "off" else Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s2mnet"
    except RuntimeError:  # neither $HOME nor an entry in the password file
        return None


class PreparedCases:
    """Cases as the network takes them, each decoded only once.

    The key of an entry is the content of its two files and what the plan does to them: a changed file or plan makes a
    new entry, and runs share entries. Entries unused for 30 days are deleted. What cannot be written is kept in memory.

    Args:
        cases: each with a mask.
        preprocessing: what is done to the images.
        labels: what the mask values mean.
        resized: whether to resize masks to the input size, for training; validation keeps their own size.
        folder: see :func:`cache_folder`; None keeps everything in memory.
        title: of the progress bar.

    Attributes:
        write_error: why entries are kept in memory although there is a folder; None if they are not.

    Raises:
        S2MNetError: a file that cannot be read, or an image and mask that do not match.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        preprocessing: Preprocessing,
        labels: LabelMap,
        resized: bool,
        folder: Path | None,
        title: str = "preparing",
    ) -> None:
        self.preprocessing, self.labels, self.resized, self.folder = preprocessing, labels, resized, folder
        self.cases = cases
        self.write_error: S2MNetError | None = None
        if folder:
            _delete_unused(folder)
        self.entries: list[_Stored | Pair] = []
        workers = worker_count()
        with progress_bar(title) as advance, ThreadPoolExecutor(workers) as pool:
            for done, (_, (entry, error)) in enumerate(prefetch(pool, self._entry, cases, 4 * workers), 1):
                self.entries.append(entry)
                self.write_error = self.write_error or error
                advance(done, len(cases))

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Pair:
        """Image uint8 (channels, h, w) and class indices uint8 (h, w); do not write to them.

        The files are mapped anew each time: a map holds its file open, and a system allows about a thousand open files.
        """
        entry = self.entries[index]
        pair = self._load(entry) if isinstance(entry, _Stored) else entry
        if pair is None:  # another programme emptied or damaged the cache
            entry, self.write_error = self._entry(self.cases[index])
            pair = self._load(entry) if isinstance(entry, _Stored) else entry
        if pair is None:
            raise S2MNetError(self.folder or "cache", "loses files while they are used", f"Choose another ${VARIABLE}.")
        return pair

    def _load(self, stored: _Stored) -> Pair | None:
        """The entry, or None if a file is missing, damaged or not of the shape that this training needs."""
        try:
            # "c": copy on write. With "r", torch warns of arrays that are not writable.
            image, mask = np.load(stored.image, "c"), np.load(stored.mask, "c")
        except Exception:  # NumPy raises nearly anything on broken bytes
            return None
        whole, size = self.preprocessing.extent == "whole", self.preprocessing.size
        fits = (
            image.dtype == mask.dtype == np.uint8
            and image.ndim == 3
            and image.shape[0] == len(self.preprocessing.channels)
            and mask.ndim == 2
            and (not whole or image.shape[1:] == size)
            and (mask.shape == image.shape[1:] or (whole and not self.resized))
        )
        return (image, mask) if fits else None

    def _entry(self, case: Case) -> tuple[_Stored | Pair, S2MNetError | None]:
        """The entry of a case, and why it could not be written, if so."""
        stored = self._place(case) if self.folder else None
        if stored and self._load(stored):
            _mark_used(stored)
            return stored, None
        image, mask = load_case(case, self.labels)
        mask = prepare_mask(mask, self.preprocessing) if self.resized else mask
        pair = prepare_image(image, self.preprocessing), mask
        if stored is None:
            return pair, None
        try:
            for path, array in zip(stored, pair, strict=True):
                content = io.BytesIO()
                np.save(content, array)
                write_atomically(path, content.getvalue())
        except S2MNetError as error:
            return pair, error
        return stored, None

    def _place(self, case: Case) -> _Stored | None:
        changes = self.preprocessing.model_dump(include={"extent", "size", "channels", "stored", "clahe"})
        settings = [FORMAT, self.resized, changes, self.labels.model_dump(exclude={"names", "regions"})]
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=20)
        try:
            for file in (case.image, case.mask, case.field):
                digest.update(hashlib.blake2b(file.read_bytes()).digest() if file else b"")
        except OSError:
            return None  # load_case will say what is wrong with the file
        key = digest.hexdigest()
        folder = (self.folder or Path()) / key[:2]
        return _Stored(folder / f"{key[2:]}.image.npy", folder / f"{key[2:]}.mask.npy")


def _mark_used(stored: _Stored) -> None:
    for path in stored:
        with contextlib.suppress(OSError):
            os.utime(path)


def _delete_unused(folder: Path) -> None:
    limit = time.time() - KEPT_DAYS * 86400
    for path in folder.glob("??/*.npy"):
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
        except OSError:  # another run deleted it, or permission is denied
            continue
