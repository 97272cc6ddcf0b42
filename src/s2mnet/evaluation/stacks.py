"""Slices assembled into volumes as they come; each volume is released when its last slice is in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np

from s2mnet.data.casetable import CaseFacts
from s2mnet.errors import S2MNetError


class Stacks:
    """Collects slices by the number that ``cases.csv`` gives them.

    Args:
        facts: of all slices to come; each names a volume.

    Example:
        >>> one, two = (CaseFacts(volume="v", slice=number) for number in (4, 6))
        >>> stacks, plane = Stacks([one, two]), np.ones((1, 2), np.uint8)
        >>> stacks.add(one, plane, plane) is None
        True
        >>> prediction, truth, slices = stacks.add(two, plane, plane)
        >>> truth[:, 0, 0].tolist(), slices
        ([1, 0, 1], 2)
    """

    def __init__(self, facts: Iterable[CaseFacts]) -> None:
        self._awaited = Counter(own.volume for own in facts)
        self._open: dict[str | None, list[tuple[int | None, np.ndarray, np.ndarray]]] = defaultdict(list)

    def add(
        self, facts: CaseFacts, prediction: np.ndarray, truth: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, int] | None:
        """Put a slice (H, W) into its volume.

        Returns:
            None, or with the last slice prediction and truth of the volume, (D, H, W), and the number of slices. One
            missing in between is background in both: ``s2mnet prepare`` leaves out slices without signal.

        Raises:
            S2MNetError: slices of one volume differ in size.
        """
        slices = self._open[facts.volume]
        slices.append((facts.slice, prediction, truth))
        first = slices[0][2].shape
        if truth.shape != first:
            sizes = [f"{height} × {width}" for height, width in (truth.shape, first)]
            problem = f"has a slice of {sizes[0]} px, but its first slice is {sizes[1]} px"
            raise S2MNetError(f"volume {facts.volume}", problem, "Correct cases.csv.")
        if len(slices) < self._awaited[facts.volume]:
            return None
        numbers, *planes = zip(*self._open.pop(facts.volume), strict=True)
        depths = np.array(numbers) - min(numbers)
        whole = [np.zeros((depths.max() + 1, *first), part[0].dtype) for part in planes]
        for stack, part in zip(whole, planes, strict=True):
            stack[depths] = part
        return whole[0], whole[1], len(numbers)
