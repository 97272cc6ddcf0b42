"""The network, its loss and its optimiser as one Lightning module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from s2mnet.data import IGNORE_INDEX, Case, load_case
from s2mnet.inference import predict_probabilities, to_labels
from s2mnet.loss import MASL
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet.network import S2MNet
from s2mnet.plan import Plan


class SegmentationModule(pl.LightningModule):
    """Trains a network on a plan; validates it as it will be used: whole images, own size, same extent."""

    def __init__(self, plan: Plan, val_cases: Sequence[Case]) -> None:
        super().__init__()
        self.plan, self.val_cases = plan, val_cases
        self.network = build_network(plan).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion = build_loss(plan)
        self.epoch_logs: list[dict[str, Tensor]] = []
        self.val_dice: list[float] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, masks = batch
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = self.criterion(logits, masks)
        self.epoch_logs.append({"loss": loss.detach(), **getattr(self.criterion, "log", {})})
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if isinstance(self.criterion, MASL):
            self.criterion.project_()  # keeps the weights in [0.1, 10] (SPEC 2.4)

    def validation_step(self, batch: list[int], batch_idx: int) -> None:
        pairs = [load_case(self.val_cases[index], self.plan.labels) for index in batch]
        predictions = predict_probabilities(
            self.network, [image for image, _ in pairs], self.plan.preprocessing, batch_size=len(batch)
        )
        for (_, truth), (probabilities, _) in zip(pairs, predictions, strict=True):
            self.val_dice.append(mean_dice(to_labels(probabilities), truth, self.plan.labels.num_classes))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        training = self.plan.training
        groups = [
            {"params": list(self.network.parameters()), "weight_decay": training.weight_decay},
            {"params": list(self.criterion.parameters()), "weight_decay": 0.0},
        ]
        optimiser = torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW
        return optimiser([group for group in groups if group["params"]], lr=training.lr, betas=(0.9, 0.999))


def build_network(plan: Plan) -> S2MNet:
    """The network of a plan, untrained."""
    return S2MNet(plan.preprocessing.channels, plan.labels.num_outputs, **plan.network)


def build_loss(plan: Plan) -> nn.Module:
    """The loss of a plan."""
    outputs = plan.labels.num_outputs
    return MASL(outputs, **plan.loss_options) if plan.loss == "masl" else DiceCrossEntropy(outputs)


def mean_dice(prediction: np.ndarray, truth: np.ndarray, num_classes: int) -> float:
    """Dice of an image, mean over the foreground classes; both empty is 1, one empty 0; ignored pixels left out."""
    valid = truth != IGNORE_INDEX
    scores = []
    for index in range(1, num_classes):
        p, t = (prediction == index) & valid, (truth == index) & valid
        total = int(p.sum()) + int(t.sum())
        scores.append(2 * int((p & t).sum()) / total if total else 1.0)
    return float(np.mean(scores))
