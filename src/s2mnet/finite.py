"""Weights and states hold numbers: checked where they are written and where they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor


def not_finite(state: Any, name: str = "") -> str | None:
    """The name of the first tensor, or number, in a nested state that holds NaN or infinity; None if all are finite.

    Args:
        state: tensors and numbers in mappings and sequences, such as a state dict or a checkpoint.
        name: of the state itself.

    Example:
        >>> import torch
        >>> not_finite({"net": {"w": torch.ones(2)}, "m": [torch.tensor([0.0, float("nan")])]})
        'm.0'
    """
    if isinstance(state, Tensor):
        exact = not (state.is_floating_point() or state.is_complex())
        # A sum is finite only if all its terms are, and takes a third of the time; it may overflow, hence the second.
        return None if exact or bool(state.sum().isfinite()) or bool(state.isfinite().all()) else name
    if isinstance(state, float):
        return None if abs(state) < float("inf") else name
    return next(
        (where for key, part in _parts(state) if (where := not_finite(part, f"{name}.{key}".lstrip(".")))), None
    )


def _parts(state: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(state, Mapping):
        yield from state.items()
    elif isinstance(state, Sequence) and not isinstance(state, (str, bytes)):
        yield from enumerate(state)
