"""The same training step, or prediction of one image, in two checkouts, in turns: whether a change costs speed.

Each checkout works in a process of its own, as users run it; the other waits. Ratios are taken within each turn, so
that what slows the machine for a while slows both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal, cast

from s2mnet.device import Precision
from s2mnet.errors import S2MNetError
from s2mnet.progress import Progress

Work = Literal["train", "predict"]

# Runs in either checkout, so it only calls what both have; `accelerate` came later than the network.
_WORKER = """
import sys, time
import torch
from s2mnet.allocator import keep_freed_memory

work, precision, size, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
keep_freed_memory()
from s2mnet import MASL, S2MNet
torch.manual_seed(0)
network = S2MNet().to(memory_format=torch.channels_last)
images = torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
if work == "train":
    try:
        from s2mnet.network.fast import accelerate
        accelerated = accelerate(network, "train")
        network = accelerated if isinstance(accelerated, torch.nn.Module) else network
    except ImportError:
        pass
    criterion, target = MASL(), torch.zeros(batch, size, size, dtype=torch.long)
    target[:, size // 4 : size // 2, size // 4 : size // 2] = 1
    optimiser = torch.optim.AdamW(network.parameters())
    def once():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        optimiser.zero_grad()
        criterion(logits, target).backward()
        optimiser.step()
else:
    from s2mnet.engines import build
    engine = build(network.eval(), "torch", *([precision] if precision == "bf16" else []))
    def once():
        with torch.inference_mode():
            engine(images)
for line in sys.stdin:
    start = time.perf_counter()
    once()
    print(time.perf_counter() - start, flush=True)
"""


def compare_checkouts(
    other: Path, work: Work, precision: Precision, size: int, batch: int, turns: int, progress: Progress
) -> tuple[list[float], list[float]]:
    """Seconds of each turn here and in the other checkout, after two turns that are not counted.

    Args:
        other: a checkout of this repository at another commit.
        work: a training step with the optimiser, or prediction by the torch engine.
        size, batch: of the images, square, in pixels.

    Raises:
        S2MNetError: ``other`` is no checkout, or its process ended.
    """
    if not (other / "src" / "s2mnet" / "__init__.py").is_file():
        raise S2MNetError(other, "is not a checkout of s2mnet", "Name its root folder, with src/s2mnet in it.")
    here = Path(__file__).resolve().parents[3]
    arguments = [work, precision, str(size), str(batch)]
    workers = [_start(root, arguments) for root in (here, other)]
    seconds: tuple[list[float], list[float]] = ([], [])
    try:
        for turn in range(turns + 2):
            for index, worker in enumerate(workers):
                took = _once(worker, (here, other)[index])
                if turn >= 2:
                    seconds[index].append(took)
            progress(turn + 1, turns + 2)
    finally:
        for worker in workers:
            worker.kill()
    return seconds


def summary(here: Sequence[float], other: Sequence[float]) -> str:
    """Medians, and the speed here over that of the other checkout: the median of the turns' ratios, and their range.

    Example:
        >>> summary([1.0, 1.1, 1.0], [1.0, 1.1, 1.2])
        'here 1.000 s, other 1.100 s; speed here over other 1.00 (1.00 to 1.20)'
    """
    ratios = [b / a for a, b in zip(here, other, strict=True)]
    return (
        f"here {statistics.median(here):.3f} s, other {statistics.median(other):.3f} s; speed here over other "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def _start(root: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-c", _WORKER, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=root)


def _once(worker: subprocess.Popen[str], root: Path) -> float:
    stdin, stdout = cast(IO[str], worker.stdin), cast(IO[str], worker.stdout)
    stdin.write("\n")
    stdin.flush()
    line = stdout.readline()
    if not line:
        raise S2MNetError(root, "ended its process; its words are above", "Run its own tests first.")
    return float(line)
