"""How far batches agree on the gradient of a weight: before training, and after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor

from s2mnet.network import MultiReceptiveFieldSE, S2MNet, TruncatedSpectralFilter
from s2mnet.plan import Plan
from s2mnet.training.module import build_loss, build_network, targets
from s2mnet.training.samples import TrainingSamples
from s2mnet_lab.markdown import table
from s2mnet_lab.probe.trained import TrainedRun, shuffled, stack


def gradients_table(run: TrainedRun, batches: int) -> str:
    """The signal in the gradient of each part of S2M-Net, for the untrained network and for the trained one.

    The gradient of the loss is taken over batches of augmented training samples with the weights held still. Its mean
    over batches is what a step is meant to do, its scatter is chance; see :func:`signal`. A spectral filter is measured
    weight by weight and pooled: by octave (the frequencies of an octave move together, for each channel) and by channel
    (all frequencies do).

    Args:
        run: the trained network, an S2M-Net, and its data.
        batches: how many, at least 2.

    Raises:
        S2MNetError: the run trained another network.
    """
    plan, trained, samples = run.plan, run.s2mnet(), run.samples()
    torch.manual_seed(plan.training.seed)
    untrained = cast(S2MNet, build_network(plan))
    before, after = (_signals(network, plan, samples, batches) for network in (untrained, trained))
    rows = [[name, f"{count:,}", f"{first:.4f}", f"{after[name][1]:.4f}"] for name, (count, first) in before.items()]
    return table(["weights", "number", "signal, untrained", "signal, trained"], rows)


def signal(total: Tensor, total_of_squares: Tensor, batches: int) -> float:
    """mean² / scatter² of one batch, less what chance alone gives: the ratio of their sums over the weights.

    Args:
        total: the sum of the gradients over batches, one number for each weight.
        total_of_squares: the sum of their squares.
        batches: how many, at least 2.

    Example:
        >>> gradients = torch.tensor([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])  # three batches, two weights
        >>> round(signal(gradients.sum(0), (gradients**2).sum(0), 3), 4)  # (2·4 − 2·1/3) / (2·1)
        3.6667
    """
    mean = total / batches
    scatter = (total_of_squares / batches - mean**2) * batches / (batches - 1)
    return float((mean**2 - scatter / batches).sum() / scatter.sum())


def _signals(network: S2MNet, plan: Plan, samples: TrainingSamples, batches: int) -> dict[str, tuple[int, float]]:
    """For each part of the network the number of its weights, and their signal."""
    network.train().requires_grad_(True)
    criterion, size = build_loss(plan), plan.training.batch_size
    order = shuffled(samples)
    sums: dict[str, list[Tensor]] = {}
    for number in range(batches):
        chosen = [order[(number * size + index) % len(order)] for index in range(size)]
        images, masks = stack(samples, number, chosen)
        network.zero_grad()
        criterion(network(images), targets(masks, plan.labels)).backward()
        for name, gradient in _gradients(network):
            total, total_of_squares = sums.setdefault(name, [torch.zeros_like(gradient), torch.zeros_like(gradient)])
            total += gradient
            total_of_squares += gradient**2
    return {name: (len(total), signal(total, squares, batches)) for name, (total, squares) in sums.items()}


def _gradients(network: S2MNet) -> Iterator[tuple[str, Tensor]]:
    """Flat float64 gradients by stage and part, those of filters also pooled."""
    for number, (stage, mixer) in enumerate(zip(network.stages, network.mixers, strict=True), 1):
        if mixer:
            for name, gradient in _filter_gradients(mixer.spectral):
                yield f"stage {number}: filters, {name}", gradient
            yield f"stage {number}: 1×1 of the mixer", _flat([mixer.fuse.weight])
        for part in stage.modules():
            if isinstance(part, MultiReceptiveFieldSE):
                yield f"stage {number}: depthwise fields", _flat(part.fields.parameters())
    yield "decoder", _flat(network.decoder.parameters())


def _filter_gradients(part: TruncatedSpectralFilter) -> Iterator[tuple[str, Tensor]]:
    gradient = cast(Tensor, part.weight.grad).double()
    if part.complex_filter:
        gradient = gradient[..., 0]
    used = gradient.abs().amax(0) > 0  # leaves out frequencies beyond the band of a map smaller than K
    rows = torch.arange(part.num_frequencies) - part.num_frequencies // 2
    columns = torch.arange(gradient.shape[2]) if part.complex_filter else rows
    octave = torch.hypot(rows[:, None].float(), columns.float()).add(1).log2().long()
    yield "one by one", gradient[:, used].flatten()
    yield "by octave", torch.cat([gradient[:, octave == index].sum(1) for index in octave[used].unique()])
    yield "by channel", gradient.sum((1, 2))


def _flat(weights: Iterable[Tensor]) -> Tensor:
    gradients = [weight.grad for weight in weights if weight.dim() > 1]
    return torch.cat([gradient.double().flatten() for gradient in gradients if gradient is not None])
