"""The one vocabulary for where and how things are computed: precisions and processor cores."""

from __future__ import annotations

import os
from typing import Literal

Precision = Literal["float32", "bf16"]


def multiplies_bf16(device: str) -> bool:
    """Whether a device, "cpu" or "cuda", multiplies bf16 natively: emulated it is slower than float32."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def cpu_cores() -> int:
    """Logical cores that this process may use.

    Example:
        >>> cpu_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):  # Linux: honours taskset and a container's cpuset
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_count() -> int:
    """Threads that read and decode files side by side: one for each core, at most 8.

    Example:
        >>> 1 <= worker_count() <= 8
        True
    """
    return min(8, cpu_cores())
