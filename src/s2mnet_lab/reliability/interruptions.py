"""Commands stopped at any moment by a kill or by a full disk: the next call goes on to the same end."""

from __future__ import annotations

import itertools
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2mnet_lab.markdown import table
from s2mnet_lab.reliability.jobs import Job, leftovers, make_jobs

KILLS_OF_ONE = 4  # of one output, before it may end
# Stands in for a full disk: the n-th write below a folder is cut in half, and so is every later one.
_FULL_DISK = """
import errno, os, pathlib, shutil
write, copy, count = pathlib.Path.write_bytes, shutil.copyfile, 0
def full(path):
    global count
    count += str(path).startswith({folder!r})
    return count >= {number} and str(path).startswith({folder!r})
def write_bytes(path, content):
    if full(path):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return write(path, content)
def copyfile(source, target, **options):
    if full(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return copy(source, target, **options)
pathlib.Path.write_bytes, shutil.copyfile = write_bytes, copyfile
from s2mnet.cli import main
main()
"""


@dataclass
class Tally:
    """What became of a job.

    Attributes:
        stops: how often it was stopped.
        ends: outputs that were brought to an end afterwards.
        different: of these, not equal to that of an uninterrupted call.
        left: temporary files that stayed.
        unclear: stops by a full disk without the one message and exit status 2.
    """

    stops: int = 0
    ends: int = 0
    different: int = 0
    left: int = 0
    unclear: int = 0

    @property
    def good(self) -> bool:
        return not (self.different or self.left or self.unclear)


def kill(count: int, seed: int, names: tuple[str, ...], progress: Callable[[str], Any] = str) -> dict[str, Tally]:
    """Kill each job at random instants, from its first file on, and let it go on to its end; ``count`` kills in all."""
    chance, tallies = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as folder:
        for place, job in enumerate(make_jobs(Path(folder), names)):
            tally = tallies[job.name] = Tally()
            whole = Path(folder, job.name, "whole", "out")
            seconds = _run_to_end(job, whole)
            share = count // len(names) + (place < count % len(names))
            attempts = itertools.count()
            while (before := tally.stops) < share:
                out = Path(folder, job.name, str(next(attempts)), "out")
                out.parent.mkdir(parents=True)
                for _ in range(min(KILLS_OF_ONE, share - tally.stops)):
                    if not _killed(job, out, chance.uniform(0, seconds)):
                        break
                    tally.stops += 1
                if tally.stops == before:
                    continue  # it ended before its kill, which shows nothing
                _finish(job, out, whole, tally)
                progress(f"{job.name}: {tally.stops} kills, {tally.different} outputs differ")
    return tallies


def fill_disk(count: int, names: tuple[str, ...], progress: Callable[[str], Any] = str) -> dict[str, Tally]:
    """Let the disk be full at the first, second, … write of each job, then free: ``count`` times each at most."""
    tallies = {}
    with tempfile.TemporaryDirectory() as folder:
        for job in make_jobs(Path(folder), names):
            tally = tallies[job.name] = Tally()
            whole = Path(folder, job.name, "whole", "out")
            _run_to_end(job, whole)
            for number in range(1, count + 1):
                out = Path(folder, job.name, str(number), "out")
                code = _FULL_DISK.format(folder=str(out.parent), number=number)
                done = subprocess.run(job.command(out, code), capture_output=True, text=True)
                if done.returncode == 0:  # it writes no more often
                    break
                tally.stops += 1
                clear = done.returncode == 2 and done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr
                tally.unclear += not clear
                tally.left += leftovers(out)
                _finish(job, out, whole, tally)
                progress(f"{job.name}: {tally.stops} full disks, {tally.different} outputs differ")
    return tallies


def summary(tallies: Mapping[str, Tally], stops: str) -> str:
    """A table, with a row for each job."""
    head = ("Command", stops, "Outputs", "Not equal", "Temporary files left", "Unclear messages")
    rows = [
        (f"`{name}`", *map(str, (tally.stops, tally.ends, tally.different, tally.left, tally.unclear)))
        for name, tally in tallies.items()
    ]
    return table(head, rows)


def _killed(job: Job, out: Path, seconds: float) -> bool:
    """Kill a call some time after its first new file, or during its start; False if it ended before."""
    before = sum(1 for _ in out.parent.rglob("*"))
    with subprocess.Popen(job.command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and sum(1 for _ in out.parent.rglob("*")) == before:
            time.sleep(0.01)
        try:
            return process.wait(seconds) != 0
        except subprocess.TimeoutExpired:
            process.kill()
            return True


def _finish(job: Job, out: Path, whole: Path, tally: Tally) -> None:
    expected = job.result(whole)
    subprocess.run(job.command(out), capture_output=True)  # prepare refuses to replace a whole output
    tally.ends += 1
    tally.different += job.result(out) != expected
    tally.left += leftovers(out)


def _run_to_end(job: Job, out: Path) -> float:
    """Seconds from the first file to the end."""
    out.parent.mkdir(parents=True)
    with subprocess.Popen(job.command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(out.parent.iterdir()):
            time.sleep(0.01)
        began = time.monotonic()
        if process.wait() != 0:
            raise RuntimeError(f"{' '.join(job.command(out))} ended with exit status {process.returncode}")
    return time.monotonic() - began
