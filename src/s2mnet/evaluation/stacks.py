"""Slices assembled into volumes as they come; each volume is released when its last slice is in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from s2mnet.data.casetable import CaseFacts
from s2mnet.errors import S2MNetError


@dataclass(eq=False)
class Stack:
    """Prediction and truth of a volume, (D, H, W) class indices.

    A slice missing between the first and the last is background in both: ``s2mnet prepare`` leaves out slices without
    signal.
    """

    facts: CaseFacts
    prediction: np.ndarray
    truth: np.ndarray
    slices: int = 0


class Stacks:
    """Collects slices by the number that ``cases.csv`` gives them.

    Args:
        facts: of all slices to come; each names a volume.

    Example:
        >>> one, two = (CaseFacts(volume="v", slice=number) for number in (4, 6))
        >>> stacks, plane = Stacks([one, two]), np.ones((1, 2), np.uint8)
        >>> stacks.add(one, plane, plane) is None
        True
        >>> stacks.add(two, plane, plane).truth[:, 0, 0].tolist()
        [1, 0, 1]
    """

    def __init__(self, facts: Iterable[CaseFacts]) -> None:
        self._numbers: dict[str, list[int]] = defaultdict(list)
        for own in facts:
            volume, number = _place(own)
            self._numbers[volume].append(number)
        self._open: dict[str, Stack] = {}

    def add(self, facts: CaseFacts, prediction: np.ndarray, truth: np.ndarray) -> Stack | None:
        """Put a slice (H, W) into its volume; returns the volume if that was its last slice, else None.

        Raises:
            S2MNetError: slices of one volume differ in size.
        """
        volume, number = _place(facts)
        numbers = self._numbers[volume]
        first, shape = min(numbers), (max(numbers) - min(numbers) + 1, *truth.shape)
        if volume not in self._open:
            self._open[volume] = Stack(facts, np.zeros(shape, prediction.dtype), np.zeros(shape, truth.dtype))
        stack = self._open[volume]
        if stack.truth.shape != shape:
            sizes = [f"{height} × {width}" for height, width in (truth.shape, stack.truth.shape[1:])]
            problem = f"has a slice of {sizes[0]} px, but its first slice is {sizes[1]} px"
            raise S2MNetError(f"volume {volume}", problem, "Correct cases.csv.")
        stack.prediction[number - first], stack.truth[number - first] = prediction, truth
        stack.slices += 1
        return self._open.pop(volume) if stack.slices == len(numbers) else None


def _place(facts: CaseFacts) -> tuple[str, int]:
    if facts.volume is None or facts.slice is None:
        raise ValueError(f"{facts} names no volume or slice")
    return facts.volume, facts.slice
