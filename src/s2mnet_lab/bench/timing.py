"""Rounds in which every job has its turn, and a budget of time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

REPEAT_SECONDS = 0.05  # a repeat that is shorter is made of several calls
# Before each turn of measurements. Threads of OpenMP wait for more work at full speed, up to 15 ms, and would share the
# cores with threads of another library in the next turn: OpenVINO took up to a fifth longer beside PyTorch than alone.
REST_SECONDS = 0.05


def alternate(jobs: Mapping[str, Callable[[], float]], rounds: int, rest: float = 0.0) -> dict[str, list[float]]:
    """What each job returns, round by round: no job has two turns in a row while another waits.

    Each round starts one job later than the one before, so that no job always follows the same neighbour's heat; each
    turn begins after ``rest`` seconds.

    Example:
        >>> turns = []
        >>> jobs = {name: lambda name=name: turns.append(name) or len(turns) for name in "abc"}
        >>> alternate(jobs, 2), "".join(turns)
        ({'a': [1, 6], 'b': [2, 4], 'c': [3, 5]}, 'abcbca')
    """
    found: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(rounds):
        start = turn % len(names) if len(names) > 2 else 0
        for name in names[start:] + names[:start]:
            time.sleep(rest)
            found[name].append(jobs[name]())
    return found


def calls_for(seconds: float) -> int:
    """How many calls of a job of so many seconds make up one repeat.

    Example:
        >>> calls_for(2.0), calls_for(0.01)
        (1, 5)
    """
    return max(1, min(1000, math.ceil(REPEAT_SECONDS / max(seconds, 1e-9))))


class Budget:
    """Time that is left, some of which is promised to jobs that have been admitted but not run.

    Example:
        >>> budget = Budget(minutes=1, clock=lambda: 0.0)
        >>> budget.reserve(40), budget.reserve(40), budget.left
        (True, False, 20.0)
    """

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end, self._promised = clock, clock() + 60 * minutes, 0.0

    @property
    def left(self) -> float:
        """Seconds that are not promised."""
        return self._end - self._clock() - self._promised

    def reserve(self, seconds: float) -> bool:
        """Promise so many seconds, if they are left."""
        if seconds > self.left:
            return False
        self._promised += seconds
        return True

    def settle(self) -> None:
        """What was promised has been run, and is on the clock."""
        self._promised = 0.0
