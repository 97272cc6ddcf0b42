"""One model at a time predicts into a folder; the shards of one model share it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from s2mnet.errors import S2MNetError
from s2mnet.files import is_locked, locked


@contextlib.contextmanager
def shared_by_one_model(out: Path, made_by: str, shard: tuple[int, int]) -> Iterator[None]:
    """Hold a lock file in a folder for one shard of one model.

    Each process takes a lock of its own first and then looks for those of other models. So of two that start at the
    same moment at least one sees the other.

    Args:
        out: the folder.
        made_by: model and options.
        shard: (i, n); (1, 1) is all images.

    Raises:
        S2MNetError: another process works on the same shard, or one with another model or other options writes there.
    """
    number, count = shard
    model = hashlib.sha256(made_by.encode()).hexdigest()[:12]
    with locked(out / f".s2mnet-{model}-{number}-{count}.lock", out):
        for file in out.glob(".s2mnet-*-*-*.lock"):
            if not file.name.startswith(f".s2mnet-{model}-") and is_locked(file):
                problem = "is being written by a prediction with another model or other options"
                raise S2MNetError(out, problem, "Wait until it ends, or choose another folder with -o.")
        yield
