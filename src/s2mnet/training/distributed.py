"""Training in several processes: their ranks, shared values and synchronised batch statistics.

``torchrun`` or a SLURM step starts the processes; each sees its part of every batch. With a single process, the usual
case, every function here is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from s2mnet.errors import S2MNetError

Value = TypeVar("Value")
Network = TypeVar("Network", bound=nn.Module)


def processes() -> tuple[int, int, int]:
    """(rank of this process, number of processes, number on this machine), from the launcher; else (0, 1, 1)."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"])
    if env.get("SLURM_STEP_ID") and int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in env:
        total = int(env["SLURM_STEP_NUM_TASKS"])
        return int(env["SLURM_PROCID"]), total, total // int(env.get("SLURM_STEP_NUM_NODES", "1"))
    return 0, 1, 1


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return processes()[0] == 0


def connect(device: torch.device) -> None:
    """Join the process group, if there are several processes: NCCL on GPUs, gloo on CPUs. Safe to call again."""
    rank, total, local = processes()
    if total > 1 and not dist.is_initialized():
        from lightning.fabric.plugins.environments import SLURMEnvironment

        if "TORCHELASTIC_RUN_ID" not in os.environ:
            cluster = SLURMEnvironment()
            os.environ.setdefault("MASTER_ADDR", cluster.main_address)
            os.environ.setdefault("MASTER_PORT", str(cluster.main_port))
        if device.type == "cuda":
            torch.cuda.set_device(rank % local)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=rank, world_size=total)


def agreed(value: Value) -> Value:
    """The value of the main process."""
    if not _many():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def from_main(function: Callable[[], Value]) -> Value:
    """The result of a function that only the main process calls; the others wait for it."""
    return agreed(cast(Value, function() if is_main() else None))


def total(values: list[float]) -> list[float]:
    """Sums over all processes."""
    if not _many():
        return values
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return sums.tolist()


def share_of(batch: int) -> int:
    """The number of samples of a batch for each process.

    Raises:
        S2MNetError: the batch cannot be divided evenly.
    """
    _, count, _ = processes()
    if batch % count:
        problem = f"is {batch} for {count} processes together, but must be a multiple of {count}"
        raise S2MNetError("--batch-size", problem, f"Use {max(1, batch // count) * count}, for instance.")
    return batch // count


def synchronise_batch_norm(network: Network) -> Network:
    """Compute batch statistics over all processes, so that they train as one process does on the whole batch."""
    if not _many():
        return network
    if dist.get_backend() == "nccl":
        return cast(Network, nn.SyncBatchNorm.convert_sync_batchnorm(network))
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _BatchNormOfAll  # same parameters and buffers; PyTorch's SyncBatchNorm needs a GPU
    return network


class _BatchNormOfAll(nn.BatchNorm2d):
    """Batch normalisation with mean and variance over all processes, which have equally many samples each."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        values, count = x.float(), x.numel() // x.shape[1] * dist.get_world_size()
        mean = all_reduce(values.mean((0, 2, 3))) / dist.get_world_size()
        centred = values - mean[:, None, None]
        variance = all_reduce(centred.square().mean((0, 2, 3))) / dist.get_world_size()
        with torch.no_grad():
            rate = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
            self.running_var.lerp_((variance * count / max(1, count - 1)).to(self.running_var.dtype), rate)
        scaled = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        return (scaled * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
