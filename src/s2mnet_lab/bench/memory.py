"""Peak memory and time of one network in a separate process."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import NamedTuple

from s2mnet.allocator import keep_freed_memory
from s2mnet_lab.bench.contestants import CONTESTANTS, Contestant
from s2mnet_lab.bench.record import Case
from s2mnet_lab.bench.work import network_job, timed

CALLS = 6  # the first warms up; our networks need three calls until their time settles


class Alone(NamedTuple):
    """Peak bytes beyond what the process held before it built the network, and in total; seconds of a call.

    On a GPU both peaks are the memory that torch allocated there.
    """

    memory: int
    memory_process: int
    seconds: float


def alone(contestant: Contestant, case: Case, form: str, device: str, threads: int, seconds: float) -> Alone:
    """Six calls in a fresh process: one to warm up, and the median of the other five.

    Raises:
        RuntimeError: the process ended without a result, probably killed for using too much memory, or took too long.
    """
    request = json.dumps([contestant.name, case.model_dump(), form, device, threads])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "s2mnet_lab.bench.memory", request], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError("no time left to measure its memory") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed, probably for using too much memory"])[-1]
        raise RuntimeError(f"its process ended with {done.returncode}: {last}")
    return Alone(*json.loads(done.stdout.splitlines()[-1]))


def _measure(name: str, fields: dict[str, object], form: str, device: str, threads: int) -> Alone:
    import torch

    torch.set_num_threads(threads)
    if CONTESTANTS[name].keeps_memory:
        keep_freed_memory()
    contestant, case = CONTESTANTS[name], Case.model_validate(fields)
    contestant.build(case.size)  # loads the libraries that it needs
    before = resident("VmRSS")
    job = network_job(contestant, case, form, device)
    job()
    seconds = median(timed(job, device) for _ in range(CALLS - 1))
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
        return Alone(peak, peak, seconds)
    peak = resident("VmHWM")
    return Alone(peak - before, peak, seconds)


def resident(field: str) -> int:
    """Bytes of "VmRSS" or "VmHWM". From /proc: on Linux getrusage inherits the peak of the parent process."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines[field].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    print(json.dumps(_measure(*json.loads(sys.argv[1]))))
