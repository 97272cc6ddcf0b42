"""One model at a time predicts into a folder; processes with the same model and options share it."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from s2mnet.errors import S2MNetError
from s2mnet.files import is_locked, locked


@contextlib.contextmanager
def shared_by_one_model(out: Path, made_by: str) -> Iterator[None]:
    """Hold a lock file in a folder that says which model predicts into it.

    Each process takes a lock of its own first and then looks for those of other models. So of two that start at the
    same moment at least one sees the other. Lock files that killed processes left are deleted.

    Args:
        out: the folder.
        made_by: model and options. Processes that agree in it write the same files, such as the shards of a folder.

    Raises:
        S2MNetError: a process with another model or other options writes there.
    """
    model = hashlib.sha256(made_by.encode()).hexdigest()[:12]
    with locked(out / f".s2mnet-{model}-{secrets.token_hex(4)}.lock", out):
        for file in out.glob(".s2mnet-*-*.lock"):
            if not is_locked(file):
                file.unlink(missing_ok=True)
            elif not file.name.startswith(f".s2mnet-{model}-"):
                problem = "is being written by a prediction with another model or other options"
                raise S2MNetError(out, problem, "Wait until it ends, or choose another folder with -o.")
        yield
