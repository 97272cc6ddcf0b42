"""What the machine can do: decides batch size and the number of steps of a plan."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from s2mnet.device import cpu_cores, multiplies_bf16

# Peak of a training step of the default network, per pixel and sample of a batch of 8 at 352², float32, on a CPU
# (5.6 GB: gradients, activations and the loss). bf16 takes less; the plan does not count on it.
BYTES_PER_PIXEL = 5700
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Machine:
    """Where training is going to run.

    Attributes:
        gpu: whether on a GPU.
        memory: bytes that are free there.
        cores: of the CPU, for this process.
        speed: training pixels a second (all samples of a batch count), None if it was not measured.
    """

    gpu: bool = False
    memory: int = 16 * 2**30
    cores: int = 1
    speed: float | None = None

    def batch_that_fits(self, pixels: int) -> int:
        """How many samples of so many pixels a step may have, in half of the free memory; at least 1.

        Example:
            >>> Machine(memory=8 * 2**30).batch_that_fits(352 * 352)
            6
        """
        return max(1, int(self.memory / 2 // (BYTES_PER_PIXEL * pixels)))


def this_machine(measure: bool = True) -> Machine:
    """The machine as it is now; ``measure`` trains the default network for a second or two to learn its speed."""
    import torch

    gpu = torch.cuda.is_available()
    memory = torch.cuda.mem_get_info()[0] if gpu else free_memory()
    return Machine(gpu, memory, cpu_cores(), _speed("cuda" if gpu else "cpu") if measure else None)


def free_memory() -> int:
    """Bytes of main memory that a new process may take: what the system calls available, and a container allows."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        known = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # no Linux: what is there, of which half is used
        known = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    for name in _CGROUPS:
        if Path(name).is_file() and (limit := Path(name).read_text().strip()).isdigit():
            known = min(known, int(limit))
    return known


def _speed(device: str) -> float:
    """Pixels a second of forward, loss and backward, after a first step that is not counted."""
    import torch

    from s2mnet.loss import MASL
    from s2mnet.network import S2MNet
    from s2mnet.network.fast import accelerate

    count, side = (8, 256) if device == "cuda" else (4, 128)
    network = accelerate(S2MNet(), "train", device).network
    network, criterion = network.to(device, memory_format=torch.channels_last), MASL()  # type: ignore[call-overload]
    images = torch.zeros(count, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    masks = torch.zeros(count, side, side, dtype=torch.long, device=device)
    masks[:, side // 4 : side // 2, side // 4 : side // 2] = 1
    steps, seconds = 2, 0.0
    with torch.random.fork_rng():
        for step in range(steps + 1):
            start = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=multiplies_bf16(device)):
                logits = network(images)
            criterion(logits, masks).backward()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds += time.perf_counter() - start if step else 0.0
    return count * side * side * steps / seconds
