"""What the machine can do, which decides the batch size and the number of steps of a plan."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from s2mnet.device import choose_device, multiplies_bf16, worker_count

if TYPE_CHECKING:
    import torch

# Peak memory (VmHWM) of a training step of the default network with MASL, float32, on a CPU, beyond what a step of two
# images of 32² leaves: 5700 bytes per pixel for a batch of 8 at 352² and one output; at 128² for 1, 5, 10, 20, 40, 60
# and 100 outputs 5584, 5767, 6259, 6442, 9079, 11182 and 18899. With few outputs the peak is in the backward pass of
# the network, with many in the loss. bf16 takes less, but no plan relies on it.
NETWORK_BYTES, LOSS_BYTES, OUTPUT_BYTES = 5700, 3000, 165


def bytes_per_pixel(outputs: int) -> int:
    """Memory of a training step per pixel of the batch, for a network with this many outputs.

    Example:
        >>> bytes_per_pixel(1), bytes_per_pixel(100)
        (5700, 19500)
    """
    return max(NETWORK_BYTES, LOSS_BYTES + OUTPUT_BYTES * outputs)


_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Machine:
    """The machine that trains.

    Attributes:
        gpu: whether it trains on a GPU.
        memory: free bytes there.
        workers: processes that load data for a GPU.
        speed: training pixels per second (all samples of a batch count); None if not measured.
    """

    gpu: bool = False
    memory: int = 16 * 2**30
    workers: int = 0
    speed: float | None = None

    def batch_that_fits(self, pixels: int, outputs: int = 1) -> int:
        """Samples of this many pixels that fit half of the free memory in one step of a network; at least 1.

        Example:
            >>> Machine(memory=8 * 2**30).batch_that_fits(352 * 352)
            6
        """
        return max(1, int(self.memory / 2 // (bytes_per_pixel(outputs) * pixels)))


def this_machine(device: str = "auto", measure: bool = True, encoder: str = "mrf") -> Machine:
    """This machine in its present state.

    Args:
        device: see :func:`s2mnet.device.choose_device`.
        measure: train a network for a second or two to time it.
        encoder: of that network, see :class:`s2mnet.S2MNet`.
    """
    import torch

    chosen = choose_device(device)
    memory = torch.cuda.mem_get_info(chosen)[0] if chosen.type == "cuda" else free_memory()
    return Machine(chosen.type != "cpu", memory, worker_count(), _speed(chosen, encoder) if measure else None)


def free_memory() -> int:
    """Main memory in bytes that a new process may use: available to the system, and allowed by a container."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        known = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: all memory, of which the plan uses half
        known = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    for name in _CGROUPS:
        if Path(name).is_file() and (limit := Path(name).read_text().strip()).isdigit():
            known = min(known, int(limit))
    return known


def _speed(device: torch.device, encoder: str) -> float:
    """Pixels per second of forward, loss and backward, after a first step that is not counted."""
    import torch

    from s2mnet.loss import MASL
    from s2mnet.network import S2MNet
    from s2mnet.network.fast import accelerate

    count, side = (4, 128) if device.type == "cpu" else (8, 256)
    network = accelerate(S2MNet(encoder=encoder), "train", device).network
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    criterion = MASL().to(device)
    images = torch.zeros(count, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    masks = torch.zeros(count, side, side, dtype=torch.long, device=device)
    masks[:, side // 4 : side // 2, side // 4 : side // 2] = 1
    steps, seconds = 2, 0.0
    with torch.random.fork_rng():
        for step in range(steps + 1):
            start = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bf16(device.type)):
                logits = network(images)
            criterion(logits, masks).backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds += time.perf_counter() - start if step else 0.0
    return count * side * side * steps / seconds
