"""Keep the memory that tensors free for the next ones: it halves the time of a training step."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_USUAL_MMAP_MAX, _LARGEST_MMAP_THRESHOLD = 65_536, 32 * 2**20


def keep_freed_memory(keep: bool = True) -> bool:
    """Let this process keep freed memory instead of returning it to the system; every command calls this first.

    The C library gives each tensor above 32 MB fresh pages, which the system must clear: at 352², batch 8, two million
    of them for every step. The price: a process keeps its peak memory until it ends. Call this before the first tensor
    is made.

    Args:
        keep: False restores the C library's default, for comparisons.

    Returns:
        Whether the C library supports it: glibc, on most Linux systems, does; elsewhere nothing happens.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library, such as musl
        return False
    if keep:
        # One arena: otherwise autograd's thread has its own, whose memory goes back to the system.
        settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _ARENA_MAX: 1}  # -1: never trimmed, whatever its size
    else:
        settings = {_MMAP_MAX: _USUAL_MMAP_MAX, _MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])
