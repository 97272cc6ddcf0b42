"""Whether memory that tensors free is kept for the next ones, which spares a training step half of its time."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
_USUAL_MMAP_MAX, _LARGEST_MMAP_THRESHOLD = 65_536, 32 * 2**20


def keep_freed_memory(keep: bool = True) -> bool:
    """Let this process keep freed memory instead of giving it back to the system; every command does so at its start.

    The C library gives each tensor above 32 MB fresh pages, which the system must clear first: at 352², batch 8, two
    million of them for every step. The price is that a process holds what it needed most until it ends. It should be
    called before the first tensor is made.

    Args:
        keep: False turns to the C library's own way, for comparisons.

    Returns:
        Whether the C library knows it: glibc, of most Linux systems, does; elsewhere nothing happens.

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
        # One arena: autograd's thread has one of its own otherwise, whose pieces go back to the system.
        settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _ARENA_MAX: 1}  # -1: never trimmed, whatever its size
    else:
        settings = {_MMAP_MAX: _USUAL_MMAP_MAX, _MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD}
    return all([mallopt(name, value) == 1 for name, value in settings.items()])
