"""The network, its loss and its optimiser as one Lightning module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from s2mnet.architecture import PeerNetwork, build_architecture
from s2mnet.data import IGNORE_INDEX, LabelMap
from s2mnet.inference import Inference, to_labels
from s2mnet.loss import MASL
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet.modelfolder import ModelConfig
from s2mnet.network import S2MNet, TruncatedSpectralFilter
from s2mnet.network.fast import accelerate
from s2mnet.network.pretrained import SHIPPED
from s2mnet.plan import Plan, Training
from s2mnet.training.distributed import synchronise_batch_norm, total
from s2mnet.training.store import Pair, PreparedCases

FACTOR = "factor"  # key of a parameter group: multiplies its learning rate


class EpochFigures(NamedTuple):
    """The figures of one epoch, over all processes.

    Attributes:
        loss: mean over the steps.
        val_dice: mean over the validation images.
        loss_log: mean over the steps of what the loss logs, by kind ("term", "weight", …) and name.
    """

    loss: float
    val_dice: float
    loss_log: dict[str, dict[str, float]]


class SegmentationModule(pl.LightningModule):
    """Trains a network by a plan and validates it as it will be used: whole images, at their own size.

    Args:
        plan: what to do.
        network, criterion: from :func:`build_network` and :func:`build_loss`.
        val_cases: prepared validation images, with masks in their own size.

    Attributes:
        fast_forms: names of the network's fast forms, once training has started.
    """

    def __init__(
        self,
        plan: Plan,
        network: S2MNet | PeerNetwork,
        criterion: nn.Module,
        val_cases: Sequence[Pair] | PreparedCases = (),
    ) -> None:
        super().__init__()
        self.plan, self.criterion, self.val_cases = plan, criterion, val_cases
        self.network = synchronise_batch_norm(network)
        self.fast_forms: list[str] = []
        self.inference = Inference(self.network, ModelConfig(preprocessing=plan.preprocessing, labels=plan.labels))
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._sums: dict[str, Tensor] = {}  # over the steps: the loss and what it logs
        self._steps = 0
        self._val_dice: list[float] = []  # of the images that this process validated

    def on_fit_start(self) -> None:
        self.fast_forms = accelerate(self.network, "train", self.device).installed

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, masks = batch
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = self.criterion(logits, targets(masks, self.plan.labels))
        figures = {"loss": loss.detach(), **getattr(self.criterion, "log", {})}
        self._sums = {name: self._sums.get(name, 0) + value for name, value in figures.items()}
        self._steps += 1
        return loss

    def finish_epoch(self) -> EpochFigures:
        """The figures since the last call, over all processes; the next epoch starts from zero."""
        sums = [float(value) for value in self._sums.values()]
        *sums, steps, dice, cases = total([*sums, self._steps, sum(self._val_dice), len(self._val_dice)])
        means = {name: value / steps for name, value in zip(self._sums, sums, strict=True)}
        self._start_epoch()
        loss, log = means.pop("loss"), dict[str, dict[str, float]]()
        for name, value in means.items():
            kind, _, part = name.partition("/")
            log.setdefault(kind, {})[part] = value
        return EpochFigures(loss, dice / max(1, cases), log)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if isinstance(self.criterion, MASL):
            self.criterion.project_()  # clips the weights to [0.1, 10] (SPEC 2.4)

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        # Lightning refuses to clip for fused optimisers, because of float16's loss scaling, which is not used here.
        nn.utils.clip_grad_norm_(self.parameters(), self.plan.training.clip)

    def validation_step(self, batch: list[int], batch_idx: int) -> None:
        self._val_dice += validation_dice(self.inference, [self.val_cases[index] for index in batch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimiser(self.network, self.criterion, self.plan.training)


def build_optimiser(network: nn.Module, criterion: nn.Module, training: Training) -> torch.optim.Optimizer:
    """The optimiser of a plan. A group with the key :data:`FACTOR` learns at that multiple of the learning rate.

    Args:
        network: S2M-Net, another network, or a module that contains one.
        criterion: the loss, whose weights do not decay.
        training: optimiser, weight decay and learning rates.
    """
    own = [(training.filter_lr, _filters(network)), (training.encoder_lr, _pretrained(network))]
    slower: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": training.weight_decay, FACTOR: factor}
        for factor, weights in own
        if factor != 1
    ]
    named = {id(weight) for group in slower for weight in group["params"]}
    rest = [weight for weight in network.parameters() if id(weight) not in named]
    groups: list[dict[str, Any]] = [
        {"params": rest, "weight_decay": training.weight_decay},
        {"params": list(criterion.parameters()), "weight_decay": 0.0},
        *slower,
    ]
    optimiser = torch.optim.Adam if training.optimiser == "adam" else torch.optim.AdamW
    # Fused: one call instead of a dozen for each of about 250 weights saves 2.5 % of a step at 128² on one core.
    return optimiser([group for group in groups if group["params"]], lr=training.lr, betas=(0.9, 0.999), fused=True)


def _filters(network: nn.Module) -> list[nn.Parameter]:
    """The weights of the spectral filters."""
    return [part.weight for part in network.modules() if isinstance(part, TruncatedSpectralFilter)]


def _pretrained(network: nn.Module) -> list[nn.Parameter]:
    """The weights of an encoder that can start from ImageNet."""
    ours = [part for part in network.modules() if isinstance(part, S2MNet) and part.encoder in SHIPPED]
    return [weight for part in ours for weight in part.stages.parameters()]


def build_network(plan: Plan) -> S2MNet | PeerNetwork:
    """The untrained network of a plan, in the memory format of training."""
    channels = len(plan.preprocessing.channels)
    network = build_architecture(plan.architecture, channels, plan.labels.num_outputs, plan.network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def build_loss(plan: Plan) -> nn.Module:
    """The loss of a plan."""
    outputs, multilabel = plan.labels.num_outputs, bool(plan.labels.regions)
    kind = MASL if plan.loss == "masl" else DiceCrossEntropy
    return kind(outputs, multilabel=multilabel, **plan.loss_options)


def targets(masks: Tensor, labels: LabelMap) -> Tensor:
    """The targets of the loss: the class indices, or maps of the regions if the labels have regions."""
    return region_maps(masks, labels) if labels.regions else masks


def region_maps(masks: Tensor, labels: LabelMap) -> Tensor:
    """Class indices (B, H, W) → 0 or 1 for each region, 255 for ignored pixels: int64 (B, regions, H, W).

    Example:
        >>> labels = LabelMap(kind="classes", values=[0, 1, 2], regions={"tumour": [1, 2], "core": [2]})
        >>> region_maps(torch.tensor([[[0, 1, 2, 255]]]), labels)[0, :, 0].tolist()
        [[0, 1, 1, 255], [0, 0, 1, 255]]
    """
    table = torch.full((IGNORE_INDEX + 1, len(labels.regions)), IGNORE_INDEX, device=masks.device)
    table[: labels.num_classes] = torch.from_numpy(labels.membership.T).to(table)
    return table[masks].movedim(-1, 1)


def validation_dice(inference: Inference, pairs: Sequence[Pair]) -> Iterator[float]:
    """:func:`mean_dice` of prepared images with masks in their own size; whole images are predicted in one batch."""
    labels, count = inference.config.labels, len(pairs)
    groups = [pairs] if inference.config.preprocessing.extent == "whole" else [[pair] for pair in pairs]
    for group in groups:
        maps = inference.run(np.stack([image for image, _ in group]), windows=count)
        for one, (_, truth) in zip(maps, group, strict=True):
            probabilities, _ = inference.at_own_size(one, (truth.shape[0], truth.shape[1]))
            yield mean_dice(to_labels(probabilities, labels), truth, labels.structures.values())


def mean_dice(prediction: np.ndarray, truth: np.ndarray, structures: Iterable[Sequence[int]]) -> float:
    """Mean Dice over the structures of one image. Both empty counts as 1, one empty as 0; ignored pixels do not count.

    Args:
        prediction, truth: class indices (H, W); 255 in the truth is ignored.
        structures: the class indices of each structure.
    """
    valid = truth != IGNORE_INDEX
    scores = []
    for members in structures:
        p, t = np.isin(prediction, members) & valid, np.isin(truth, members) & valid
        total = int(p.sum()) + int(t.sum())
        scores.append(2 * int((p & t).sum()) / total if total else 1.0)
    return float(np.mean(scores))
