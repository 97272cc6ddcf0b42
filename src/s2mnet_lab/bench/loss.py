"""MASL compared with Dice + cross-entropy, and with the whole training step."""

from __future__ import annotations

import torch
from torch import nn

from s2mnet.loss import MASL
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet_lab.bench.contestants import CONTESTANTS
from s2mnet_lab.bench.record import Case
from s2mnet_lab.bench.work import Job, disc, network_job

TITLES = {"masl": "MASL", "dice_ce": "Dice + cross-entropy", "step": "training step of S2M-Net with MASL"}


def loss_job(name: str, case: Case, device: str) -> Job:
    """Forward and backward pass of a loss on logits of the case's size, or the whole step ("step")."""
    if name == "step":
        return network_job(CONTESTANTS["s2mnet"], case, "channels_last", device, MASL())
    criterion: nn.Module = (MASL() if name == "masl" else DiceCrossEntropy()).to(device)
    logits = torch.randn(case.batch, 1, case.size, case.size, device=device, requires_grad=True)
    masks = disc(case.batch, case.size, device)

    def run() -> None:
        logits.grad = None
        criterion(logits, masks).backward()

    return run
