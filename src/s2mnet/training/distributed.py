"""Several processes training one network: who they are, what they agree on, and batch statistics over all of them.

Processes are started by ``torchrun`` or a SLURM step; each sees its part of every batch. One process alone, the usual
case, needs none of this: every function here is then the identity.
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


def processes() -> tuple[int, int, int]:
    """(number of this process, processes in all, processes on this machine), as the launcher says; else (0, 1, 1)."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"])
    if env.get("SLURM_STEP_ID") and int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in env:
        total = int(env["SLURM_STEP_NUM_TASKS"])
        return int(env["SLURM_PROCID"]), total, total // int(env.get("SLURM_STEP_NUM_NODES", "1"))
    return 0, 1, 1


def is_main() -> bool:
    """Whether this process is the one that writes and speaks."""
    return processes()[0] == 0


def connect() -> None:
    """Meet the other processes, if there are any and it has not been done: NCCL on GPUs, gloo on CPUs."""
    rank, total, local = processes()
    if total > 1 and not dist.is_initialized():
        from lightning.fabric.plugins.environments import SLURMEnvironment

        if "TORCHELASTIC_RUN_ID" not in os.environ:
            cluster = SLURMEnvironment()
            os.environ.setdefault("MASTER_ADDR", cluster.main_address)
            os.environ.setdefault("MASTER_PORT", str(cluster.main_port))
        if torch.cuda.is_available():
            torch.cuda.set_device(rank % local)
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", rank=rank, world_size=total)


def agreed(value: Value) -> Value:
    """What the main process says of it."""
    if not _many():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def from_main(find: Callable[[], Value]) -> Value:
    """What the main process finds; the others wait for it and do not look themselves."""
    return agreed(cast(Value, find() if is_main() else None))


def total(values: list[float]) -> list[float]:
    """Sums over all processes."""
    if not _many():
        return values
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return sums.tolist()


def share_of(batch: int) -> int:
    """Samples of a batch that each process takes.

    Raises:
        S2MNetError: the batch cannot be divided evenly.
    """
    _, count, _ = processes()
    if batch % count:
        found = f"{batch} for {count} processes"
        raise S2MNetError("--batch-size", found, f"a multiple of {count}", "It is the batch of all of them together.")
    return batch // count


def synchronise_batch_norm(network: nn.Module) -> nn.Module:
    """The network with batch statistics over all processes: so it trains as one process does on the whole batch."""
    if not _many():
        return network
    if torch.cuda.is_available():
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _BatchNormOfAll  # the same parameters and buffers; PyTorch's own is for GPUs alone
    return network


class _BatchNormOfAll(nn.BatchNorm2d):
    """Batch normalisation whose mean and variance are those of all processes' samples; each has equally many."""

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
