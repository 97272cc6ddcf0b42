"""Rounds in which every job has one turn, and a time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

REPEAT_SECONDS = 0.05  # shorter repeats consist of several calls
# Rest before each turn. Threads of OpenMP spin for up to 15 ms while they wait for more work, and would compete with
# the threads of another library in the next turn: OpenVINO took up to 20 % longer beside PyTorch than alone.
REST_SECONDS = 0.05


def alternate(jobs: Mapping[str, Callable[[], float]], rounds: int, rest: float = 0.0) -> dict[str, list[float]]:
    """Run the jobs in rounds and collect what each returns. No job has two turns in a row.

    Each round starts one job later than the previous one, so that no job always follows the same neighbour.

    Args:
        jobs: by name.
        rounds: number of rounds.
        rest: seconds before each turn.

    Example:
        >>> turns = []
        >>> jobs = {name: lambda name=name: turns.append(name) or len(turns) for name in "abc"}
        >>> alternate(jobs, 2), "".join(turns)
        ({'a': [1, 6], 'b': [2, 4], 'c': [3, 5]}, 'abcbca')
    """
    results: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(rounds):
        start = turn % len(names) if len(names) > 2 else 0
        for name in names[start:] + names[:start]:
            time.sleep(rest)
            results[name].append(jobs[name]())
    return results


def calls_for(seconds: float) -> int:
    """Number of calls in one repeat of a job that takes this many seconds.

    Example:
        >>> calls_for(2.0), calls_for(0.01)
        (1, 5)
    """
    return max(1, min(1000, math.ceil(REPEAT_SECONDS / max(seconds, 1e-9))))


class Budget:
    """The time left, less what is reserved for admitted jobs that have not run yet.

    Example:
        >>> budget = Budget(minutes=1, clock=lambda: 0.0)
        >>> budget.reserve(40), budget.reserve(40), budget.left
        (True, False, 20.0)
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end, self._reserved = clock, clock() + 60 * minutes, 0.0

    @property
    def left(self) -> float:
        """Seconds that are not reserved."""
        return self._end - self._clock() - self._reserved

    def reserve(self, seconds: float) -> bool:
        """Reserve this many seconds, if they are left."""
        if seconds > self.left:
            return False
        self._reserved += seconds
        return True

    def settle(self) -> None:
        """Release what was reserved: the jobs have run, and their time is on the clock."""
        self._reserved = 0.0
