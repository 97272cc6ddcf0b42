"""What a figure was measured with: program, commit, library versions, hardware and date."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from s2mnet.device import cpu_cores
from s2mnet.version import __version__

LIBRARIES = ("torch", "lightning", "monai", "numpy")
LABORATORY = "s2mnet_lab"  # the package beside this one that measures with it


def environment() -> dict[str, Any]:
    """Everything to record with a figure, as JSON values; None where something is unknown.

    Returns:
        ``s2mnet``, ``python``, ``torch``, ``lightning``, ``monai``, ``numpy``: versions; ``commit``: see `commit`;
        ``cpu``: model, such as "AMD EPYC (family 26, model 2)"; ``cpu_count``: logical cores this process may use;
        ``gpu``: name, None if torch has not been imported or sees none; ``threads`` and ``instructions`` of torch on
        the CPU, such as AVX2, None if it has not been imported; ``date``: UTC, ISO 8601.

    Example:
        >>> environment()["date"].endswith("+00:00")
        True
    """
    return {
        "s2mnet": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        **{library: _version(library) for library in LIBRARIES},
        "cpu": _cpu_model(),
        "cpu_count": cpu_cores(),
        **_torch_state(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def commit(source: Path = Path(__file__)) -> str | None:
    """Git commit of the checkout that tracks ``source``, with ``+changes`` if its code differs from the commit.

    None where no checkout tracks it, such as a package in a virtual environment inside another project.
    The code is the folder of ``source`` and the package of the laboratory beside it. Results written elsewhere in the
    checkout are no changes.

    Example:
        >>> commit(Path("/no/such/place")) is None
        True
    """
    folder = source.parent
    if _git(folder, "ls-files", "--error-unmatch", source.name) is None:
        return None
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None
    packages = [".", *([f"../{LABORATORY}"] if (folder.parent / LABORATORY).is_dir() else [])]
    return head + ("+changes" if _git(folder, "status", "--porcelain", "--", *packages) else "")


def training_precision(history: Sequence[Mapping[str, Any]]) -> str | None:
    """The precision a model was trained in: what "auto" in a plan meant, with epochs where it changed.

    Args:
        history: the records of ``history.json``. Older versions did not record it: None.

    Example:
        >>> training_precision([{"epoch": 1, "precision": "bf16"}, {"epoch": 2, "precision": "bf16"}])
        'bf16'
        >>> training_precision([{"epoch": 1, "precision": "bf16"}, {"epoch": 2, "precision": "float32"}])
        'bf16, from epoch 2 on float32'
    """
    if not history or any(record.get("precision") is None for record in history):
        return None
    first, *changes = (next(same) for _, same in groupby(history, key=lambda record: record["precision"]))
    later = (f"from epoch {record['epoch']} on {record['precision']}" for record in changes)
    return ", ".join([first["precision"], *later])


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, timeout=10, check=True, encoding="utf-8"
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Name, with family and model where Linux knows them: virtual machines give several generations one name."""
    if cpuinfo.is_file():
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
        name, family, model = (facts.get(key) for key in ("model name", "cpu family", "model"))
        if name:
            return f"{name} (family {family}, model {model})" if family and model else name
    return platform.processor() or platform.machine() or None


def _torch_state() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {"gpu": None, "threads": None, "instructions": None}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    instructions = torch.backends.cpu.get_cpu_capability()
    return {"gpu": gpu, "threads": torch.get_num_threads(), "instructions": instructions}
