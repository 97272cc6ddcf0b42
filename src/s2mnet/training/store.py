"""Decoded, prepared cases: made once, kept in files that are mapped into memory and shared by all runs."""

from __future__ import annotations

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
from s2mnet.files import ahead, write_atomically
from s2mnet.inference import prepare_image, prepare_mask
from s2mnet.plan import Preprocessing
from s2mnet.progress import progress_bar

VARIABLE = "S2MNET_CACHE"
FORMAT = 1  # to be raised whenever the same files would be prepared in another way
KEPT_DAYS = 30

Pair = tuple[np.ndarray, np.ndarray]


class _Stored(NamedTuple):
    """Where a prepared image and its mask lie."""

    image: Path
    mask: Path


def cache_folder() -> Path | None:
    """Where prepared cases are kept: ``$S2MNET_CACHE``, else ``s2mnet`` in the user's cache; "off" is nowhere."""
    named = os.environ.get(VARIABLE)
    if named:
        return None if named == "off" else Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "s2mnet"


class PreparedCases:
    """Cases as the network takes them, each decoded once and for all.

    A pair is found again by the content of its two files and by what the plan does to them, so that a changed file or
    plan is prepared anew, and runs share what they have in common. What nobody used for 30 days is taken away. Where
    the folder cannot be written to, what is missing there is kept in memory.

    Args:
        cases: each with a mask.
        preprocessing: what is done to the images.
        labels: what the mask values mean.
        resized: whether masks are brought to the size of the input, too, as training needs them; else they keep their
            own size, as validation does.
        folder: see :func:`cache_folder`; None keeps all in memory.
        title: of the progress bar.

    Raises:
        S2MNetError: a file that cannot be read or does not fit its partner.
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
        self.unwritable: S2MNetError | None = None
        if folder:
            _take_away_the_old(folder)
        self.entries: list[_Stored | Pair] = []
        workers = worker_count()
        with progress_bar(title) as advance, ThreadPoolExecutor(workers) as pool:
            for done, (_, entry) in enumerate(ahead(pool, self._entry, cases, 4 * workers), 1):
                self.entries.append(entry)
                advance(done, len(cases))

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Pair:
        """Image uint8 (channels, h, w) and class indices uint8 (h, w): not to be written to.

        The files are opened for this one look: a map holds a file open, and a system allows about a thousand.
        """
        entry = self.entries[index]
        # "c": changes would not reach the file; unlike "r" it gives torch no reason to warn.
        return (np.load(entry.image, "c"), np.load(entry.mask, "c")) if isinstance(entry, _Stored) else entry

    def _entry(self, case: Case) -> _Stored | Pair:
        stored = self._place(case) if self.folder else None
        if stored and _is_whole(stored):
            return stored
        image, mask = load_case(case, self.labels)
        pair = (
            prepare_image(image, self.preprocessing),
            prepare_mask(mask, self.preprocessing) if self.resized else mask,
        )
        if stored is None:
            return pair
        try:
            for path, array in zip(stored, pair, strict=True):
                content = io.BytesIO()
                np.save(content, array)
                write_atomically(path, content.getvalue())
        except S2MNetError as error:
            self.unwritable = error
            return pair
        return stored

    def _place(self, case: Case) -> _Stored | None:
        changes = self.preprocessing.model_dump(include={"extent", "size", "channels", "stored", "clahe"})
        settings = [FORMAT, self.resized, changes, self.labels.model_dump(exclude={"names", "regions"})]
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=20)
        try:
            for file in (case.image, case.mask, case.field):
                digest.update(hashlib.blake2b(file.read_bytes()).digest() if file else b"")
        except OSError:
            return None  # reading it says what is wrong with it
        key = digest.hexdigest()
        folder = (self.folder or Path()) / key[:2]
        return _Stored(folder / f"{key[2:]}.image.npy", folder / f"{key[2:]}.mask.npy")


def _is_whole(stored: _Stored) -> bool:
    try:
        for path in stored:
            np.load(path, "r")
            os.utime(path)
    except (OSError, ValueError, EOFError):  # not there, or cut off
        return False
    return True


def _take_away_the_old(folder: Path) -> None:
    limit = time.time() - KEPT_DAYS * 86400
    for path in folder.glob("??/*.npy"):
        try:
            if path.stat().st_mtime < limit:
                path.unlink()
        except OSError:  # another run took it away, or it may not be taken away
            continue
