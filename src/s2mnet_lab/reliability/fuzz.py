"""Damaged files of every format through the readers of s2mnet: each is read, or refused in one message."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import resource
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s2mnet.errors import S2MNetError
from s2mnet_lab.markdown import table
from s2mnet_lab.reliability.damage import damaged
from s2mnet_lab.reliability.seeds import write_seeds

BATCH = 500  # mutants of one process; a crash of it ends no more than these
SECONDS, MEMORY = 20, 12 * 2**30  # of one mutant: more is a hang; bytes of address space
LONGEST = 70_000  # characters of a message


@dataclass
class Count:
    """What became of the mutants of one kind. ``others`` has a line for each that was neither read nor refused."""

    read: int = 0
    refused: int = 0
    others: list[str] = field(default_factory=list)

    def __add__(self, other: Count) -> Count:
        return Count(self.read + other.read, self.refused + other.refused, self.others + other.others)


def fuzz(mutants: int, seed: int, progress: Callable[[str], Any] = str) -> dict[str, Count]:
    """Read damaged files of every kind in processes of their own.

    Args:
        mutants: how many, shared by the kinds.
        seed: of all damage: the same gives the same mutants.
        progress: called with the name of each kind and its counts.

    Returns:
        The counts by kind of reader.
    """
    with tempfile.TemporaryDirectory() as folder:
        kinds = list(write_seeds(Path(folder)))
    counts = {}
    for place, kind in enumerate(kinds):
        total = mutants // len(kinds) + (place < mutants % len(kinds))
        counts[kind] = sum(
            (_apart(kind, min(BATCH, total - start), f"{seed} {kind} {start}") for start in range(0, total, BATCH)),
            Count(),
        )
        progress(f"{kind}: {counts[kind].read} read, {counts[kind].refused} refused, {len(counts[kind].others)} others")
    return counts


def read_mutants(kind: str, number: int, seed: str) -> Count:
    """Read so many mutants of one kind in this process."""
    count, choice = Count(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        seeds = write_seeds(Path(folder))[kind]
        contents = [file.read_bytes() for file, _ in seeds]
        for mutant in range(number):
            place = choice.randrange(len(seeds))
            (file, reader), content = seeds[place], damaged(contents[place], contents, choice)
            file.write_bytes(content)
            try:
                with _limited(), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                    warnings.simplefilter("ignore")
                    reader(file)
                count.read += 1
            except S2MNetError as error:
                count.refused += 1
                if len(str(error)) > LONGEST or not str(error).replace("\n", "").isprintable():
                    count.others.append(f"{kind}, {seed}, mutant {mutant} of {file.name}: message {str(error)[:200]!r}")
            except Exception as error:
                line = f"{type(error).__name__}: {error}"[:200]
                count.others.append(f"{kind}, {seed}, mutant {mutant} of {file.name}: {line}")
            file.write_bytes(contents[place])
    return count


def summary(counts: dict[str, Count]) -> str:
    """The counts as text for the page."""
    rows = [(kind, f"{c.read:,}", f"{c.refused:,}", str(len(c.others))) for kind, c in counts.items()]
    whole = sum(counts.values(), Count())
    rows.append(("all", f"{whole.read:,}", f"{whole.refused:,}", str(len(whole.others))))
    text = (
        "`s2mnet-lab reliability fuzz` damages small files of every format (flipped bits, cuts, splices, extreme "
        "header fields, hostile texts) and reads each. It is read, as far as its damage allows, or refused in one "
        "message; anything else (another error, a crash, more than 20 s or 12 GiB) is counted as other."
    )
    return f"{text}\n\n{table(('kind', 'read', 'refused', 'other'), rows)}"


def _apart(kind: str, number: int, seed: str) -> Count:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _bounded) as pool:
        try:
            return pool.submit(read_mutants, kind, number, seed).result()
        except BrokenProcessPool:
            return Count(others=[f"{kind}, {seed}: the process ended"])


def _bounded() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C have words of their own
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"it took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
