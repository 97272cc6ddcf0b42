"""The network, its loss and its optimiser as one Lightning module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from s2mnet.architecture import PeerNetwork, build_architecture
from s2mnet.data import IGNORE_INDEX, LabelMap
from s2mnet.inference import predict_prepared, to_labels
from s2mnet.loss import MASL
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet.network import S2MNet, TruncatedSpectralFilter
from s2mnet.network.fast import accelerate
from s2mnet.plan import Plan
from s2mnet.training.store import PreparedCases

FACTOR = "factor"  # of a group's learning rate


class SegmentationModule(pl.LightningModule):
    """Trains a network on a plan; validates it as it will be used: whole images, own size, same extent.

    Attributes:
        fast_forms: names of the network's fast forms, once training has started.
        val_cases: prepared images with their masks in their own size.
        epoch_sums: sums over the steps of this epoch of the loss and of what it logs; epoch_steps: how many these are.
        val_dice: of the images that this process validated in this epoch.
    """

    def __init__(self, plan: Plan, val_cases: Sequence[tuple[np.ndarray, np.ndarray]] | PreparedCases = ()) -> None:
        super().__init__()
        self.plan, self.val_cases = plan, val_cases
        self.network = build_network(plan).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.fast_forms: list[str] = []
        self.criterion = build_loss(plan)
        self.epoch_sums: dict[str, Tensor] = {}
        self.epoch_steps = 0
        self.val_dice: list[float] = []

    def on_fit_start(self) -> None:
        self.fast_forms = accelerate(self.network, "train", self.device).installed

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, masks = batch
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = self.criterion(logits, targets(masks, self.plan.labels))
        figures = {"loss": loss.detach(), **getattr(self.criterion, "log", {})}
        self.epoch_sums = {name: self.epoch_sums.get(name, 0) + value for name, value in figures.items()}
        self.epoch_steps += 1
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if isinstance(self.criterion, MASL):
            self.criterion.project_()  # keeps the weights in [0.1, 10] (SPEC 2.4)

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        # Lightning's own refuses fused optimisers, which undo the scaling that float16 needs; neither 32 nor bf16 does.
        nn.utils.clip_grad_norm_(self.parameters(), self.plan.training.clip)

    def validation_step(self, batch: list[int], batch_idx: int) -> None:
        labels = self.plan.labels
        pairs = [self.val_cases[index] for index in batch]
        predictions = predict_prepared(
            self.network,
            [image for image, _ in pairs],
            [(truth.shape[0], truth.shape[1]) for _, truth in pairs],
            self.plan.preprocessing,
            labels,
            batch_size=len(batch),
        )
        for (_, truth), (probabilities, _) in zip(pairs, predictions, strict=True):
            self.val_dice.append(mean_dice(to_labels(probabilities, labels), truth, labels.structures.values()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        training = self.plan.training
        groups: list[dict[str, Any]] = [
            {"params": list(self.network.parameters()), "weight_decay": training.weight_decay},
            {"params": list(self.criterion.parameters()), "weight_decay": 0.0},
        ]
        if training.filter_lr != 1:
            filters = [part.weight for part in self.network.modules() if isinstance(part, TruncatedSpectralFilter)]
            named = {id(weight) for weight in filters}
            groups[0]["params"] = [weight for weight in groups[0]["params"] if id(weight) not in named]
            groups.append({"params": filters, "weight_decay": training.weight_decay, FACTOR: training.filter_lr})
        optimiser = torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW
        # Fused: one call instead of a dozen for each of some 250 weights, a fortieth of a step at 128² on one core.
        return optimiser([group for group in groups if group["params"]], lr=training.lr, betas=(0.9, 0.999), fused=True)


def build_network(plan: Plan) -> S2MNet | PeerNetwork:
    """The network of a plan, untrained."""
    channels = len(plan.preprocessing.channels)
    return build_architecture(plan.architecture, channels, plan.labels.num_outputs, plan.network)


def build_loss(plan: Plan) -> nn.Module:
    """The loss of a plan."""
    outputs, multilabel = plan.labels.num_outputs, bool(plan.labels.regions)
    kind = MASL if plan.loss == "masl" else DiceCrossEntropy
    return kind(outputs, multilabel=multilabel, **plan.loss_options)


def targets(masks: Tensor, labels: LabelMap) -> Tensor:
    """What the loss compares with: class indices as they are, or the regions if the labels have some."""
    return region_maps(masks, labels) if labels.regions else masks


def region_maps(masks: Tensor, labels: LabelMap) -> Tensor:
    """Class indices (B, H, W) → 0 or 1 for each region, 255 where there is no truth: int64 (B, regions, H, W).

    Example:
        >>> labels = LabelMap(kind="classes", values=[0, 1, 2], regions={"tumour": [1, 2], "core": [2]})
        >>> region_maps(torch.tensor([[[0, 1, 2, 255]]]), labels)[0, :, 0].tolist()
        [[0, 1, 1, 255], [0, 0, 1, 255]]
    """
    table = torch.full((IGNORE_INDEX + 1, len(labels.regions)), IGNORE_INDEX)
    table[: labels.num_classes] = torch.from_numpy(labels.membership.T).long()
    return table.to(masks.device)[masks].movedim(-1, 1)


def mean_dice(prediction: np.ndarray, truth: np.ndarray, structures: Iterable[Sequence[int]]) -> float:
    """Dice of an image, mean over its structures; both empty is 1, one empty 0; ignored pixels left out.

    Args:
        prediction, truth: class indices (H, W), 255 without a truth.
        structures: the class indices that each is made of.
    """
    valid = truth != IGNORE_INDEX
    scores = []
    for members in structures:
        p, t = np.isin(prediction, members) & valid, np.isin(truth, members) & valid
        total = int(p.sum()) + int(t.sum())
        scores.append(2 * int((p & t).sum()) / total if total else 1.0)
    return float(np.mean(scores))
