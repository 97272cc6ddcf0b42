"""One guard for all readers: whatever a library raises on a broken file becomes one message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from s2mnet.errors import S2MNetError
from s2mnet.text import shown

_LONGEST = 200  # characters of a library's own words


@contextlib.contextmanager
def guarded(path: Path, problem: str, fix: str) -> Iterator[None]:
    """Turn any error inside the block into an S2MNetError that names ``path`` and quotes the library.

    Libraries raise nearly anything on broken bytes, so no list of exceptions is complete. Errors of ours and a lack of
    memory pass through.

    Example:
        >>> with guarded(Path("a.nii"), "is damaged", "Export it again."):
        ...     raise KeyError("dim")
        Traceback (most recent call last):
        s2mnet.errors.S2MNetError: a.nii is damaged (KeyError: 'dim'). Export it again.
    """
    try:
        yield
    except (S2MNetError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # of the system; a damaged gzip file has no number
            fix = "Check the file, the disk and the permissions."
            raise S2MNetError(path, f"cannot be read ({error.strerror})", fix) from None
        reason = shown(" ".join(str(error).split()), _LONGEST)
        raise S2MNetError(path, f"{problem} ({type(error).__name__}: {reason})", fix) from None
