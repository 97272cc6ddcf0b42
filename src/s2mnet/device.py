"""The one place that decides where and how things are computed: devices, precisions and processor cores."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from s2mnet.errors import S2MNetError

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bf16"]
PLAIN = "S2MNET_PLAIN"


def plain_forms() -> bool:
    """Whether the environment variable ``S2MNET_PLAIN`` is 1, which turns the fast forms of network and loss off."""
    return os.environ.get(PLAIN) == "1"


def choose_device(asked: str = "auto") -> torch.device:
    """The device that computes, for training, planning and prediction alike.

    Args:
        asked: "auto": the current CUDA GPU if there is one, else the CPU. Or "cpu", "cuda", "cuda:1", "mps" (Apple).
            "auto" never chooses MPS, on which none of this has been measured.

    Raises:
        S2MNetError: there is no such device here.

    Example:
        >>> choose_device("cpu")
        device(type='cpu')
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ["cpu", *(["cuda"] if gpus else []), *(["mps"] if torch.backends.mps.is_available() else [])]
    known += [f"cuda:{number}" for number in range(gpus)] if gpus > 1 or asked == "cuda:0" else []
    if asked == "auto":
        asked = "cuda" if gpus else "cpu"
    if asked not in known:
        raise S2MNetError(f"device {asked!r}", "is not one that PyTorch finds here", f"Choose {' or '.join(known)}.")
    return torch.device("cuda", torch.cuda.current_device()) if asked == "cuda" else torch.device(asked)


def multiplies_bf16(device: str) -> bool:
    """Whether a type of device multiplies bf16 natively: emulated it is slower than float32. On MPS it is not used."""
    import torch

    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device != "cpu":
        return False
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
