"""Each step at 10 million pairs, and the number of pairs at which it breaks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from s2mnet_lab.scaling import IMAGES
from s2mnet_lab.scaling.growth import Growth
from s2mnet_lab.scaling.steps import STEPS

STEEPEST = 1.1  # exponent of code that is linear except for sorting; larger ones are noise of small measurements
MEMORY = 64e9  # bytes of the machine that a step breaks on
DAY = 24.0  # core-hours that are too many for one process


class Prediction(NamedTuple):
    """A step at 10 million pairs.

    Attributes:
        hours: core-hours.
        memory: bytes.
        time_exponent, memory_exponent: of the growth between the last two measurements.
        breaks: the number of pairs at which it breaks; why: "memory" or "time".
    """

    name: str
    hours: float
    memory: float
    time_exponent: float
    memory_exponent: float
    breaks: float
    why: str


def exponent(counts: Sequence[float], values: Sequence[float]) -> float:
    """Exponent of the growth between the last two counts.

    Example:
        >>> round(exponent([10, 20, 40], [1, 4, 16]), 3)
        2.0
    """
    return math.log(values[-1] / values[-2]) / math.log(counts[-1] / counts[-2])


def extrapolate(counts: Sequence[float], values: Sequence[float], count: float, quadratic: bool = False) -> float:
    """The value at ``count``: from the last value by the exponent, clipped to 1 … 1.1; or by the best a + b·n + c·n².

    Example:
        >>> round(extrapolate([10, 20, 40], [3, 6, 12], 4000), 6)
        1200.0
        >>> round(extrapolate([10, 20, 40], [110, 420, 1640], 1000, quadratic=True), 3)
        1001000.0
    """
    if not quadratic:
        return values[-1] * (count / counts[-1]) ** min(max(1.0, exponent(counts, values)), STEEPEST)
    n, y = np.asarray(counts, dtype=np.float64), np.asarray(values, dtype=np.float64)
    # Least squares of the relative errors, with no negative coefficient.
    parts = nnls(np.stack([1 / y, n / y, n**2 / y], axis=1), np.ones_like(n))[0]
    return float(parts @ [1.0, count, count**2])


def predict_step(name: str, growth: Growth) -> Prediction:
    """A step at 10 million pairs of a real size, and the number of pairs that take 64 GB or a day of one core."""
    own = [point for point in growth.points if point.step == name]
    tiny = sorted((point for point in own if point.size == "tiny"), key=lambda point: point.pairs)
    real = sorted((point for point in own if point.size == "real"), key=lambda point: point.pairs)
    counts, cpu = [point.pairs for point in tiny], [max(point.cpu, 1e-3) for point in tiny]
    memory = [float(max(point.memory, 4096)) for point in tiny]
    # Larger images take longer to decode, in proportion to their number.
    slope = (real[-1].cpu - real[0].cpu) / (real[-1].pairs - real[0].pairs) if real else 0.0
    more = max(0.0, slope - cpu[-1] / counts[-1])

    def hours(pairs: float) -> float:
        return (extrapolate(counts, cpu, pairs, STEPS[name].quadratic) + more * pairs) / 3600

    def held(pairs: float) -> float:
        return extrapolate(counts, memory, pairs)

    by_memory, by_time = (_first(need, limit) for need, limit in ((held, MEMORY), (hours, DAY)))
    why = "memory" if by_memory <= by_time else "time"
    return Prediction(
        name, hours(IMAGES), held(IMAGES), exponent(counts, cpu), exponent(counts, memory), min(by_memory, by_time), why
    )


def _first(need: Callable[[float], float], limit: float) -> float:
    """The number of pairs at which a growing need reaches its limit, by bisection; infinite beyond 10^12."""
    low, high = 0.0, 12.0
    if need(10**high) < limit:
        return math.inf
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if need(10**middle) < limit else (low, middle)
    return 10**high
