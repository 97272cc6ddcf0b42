"""The folder of compiled code: it is run as it lies there, so nobody else may be able to write to it.

PyTorch's default is a folder of a known name in the temporary folder that all users share: whoever makes it first can
plant a library in it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

VARIABLE, DEFAULT = "TORCHINDUCTOR_CACHE_DIR", "torchinductor_"


def use_own_folder() -> None:
    """Let PyTorch keep compiled code in ``$TORCHINDUCTOR_CACHE_DIR``, or in a private folder of the user's cache.

    Raises:
        OSError, RuntimeError: there is no home folder, or it cannot be written to.
        PermissionError: another user may write to the folder or replace it.
    """
    named = os.environ.get(VARIABLE, "")
    if Path(named).name.startswith(DEFAULT):  # which PyTorch sets, too, when it is imported
        named = ""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(named) if named else Path(cache) / "s2mnet" / "compiled"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder = folder.resolve()
    check_owned(folder)
    os.environ[VARIABLE] = str(folder)


def check_owned(folder: Path) -> None:
    """Raise PermissionError if another user may write to the folder, or replace it by way of a folder above.

    Args:
        folder: without symbolic links.
    """
    own = folder.stat()
    if own.st_uid != os.geteuid() or own.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"other users may write to {folder}; set ${VARIABLE} to a folder of yours with mode 0700")
    for above in folder.parents:
        facts = above.stat()
        replaceable = facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX
        if facts.st_uid not in (os.geteuid(), 0) or replaceable:
            raise PermissionError(f"other users may replace {folder}, which is in {above}")
