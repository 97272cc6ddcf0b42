"""Whether the weights of the spectral filters are told the same thing by every batch, or by none.

    python experiments/slopes.py RUN FOLDER [--batches 48]

RUN is a folder that ``s2mnet train`` or ``s2mnet experiment`` wrote for S2M-Net, FOLDER the data that it was trained
on. The gradient of the loss by each weight is taken over so many batches of augmented training samples, with the
weights held still: untrained, and as the run left them. Its mean over batches is what a step means to do, its scatter
is chance.

"Signal" is mean² / scatter² of one batch, less what chance alone gives, as the ratio of sums over the weights of a
part. A spectral filter is measured weight by weight, and pooled: by octave (the frequencies of an octave move together,
for each channel) and by channel (all of them do).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor
from trained import arguments, shuffled, stack

from s2mnet.network import MultiReceptiveFieldSE, S2MNet, SpectralSelectiveTokenMixer, TruncatedSpectralFilter
from s2mnet.plan import Plan
from s2mnet.training.module import build_loss, build_network, targets
from s2mnet.training.samples import TrainingSamples
from s2mnet_lab.markdown import table


def main() -> None:
    """Measure and print."""
    run, asked = arguments(__doc__, batches=48)
    plan, trained, samples = run.plan, run.s2mnet(), run.samples()
    torch.manual_seed(plan.training.seed)
    before, after = (
        _signals(network, plan, samples, asked.batches) for network in (cast(S2MNet, build_network(plan)), trained)
    )
    rows = [
        [name, f"{count:,}", *(f"{of[name][1]:.4f}" for of in (before, after))] for name, (count, _) in before.items()
    ]
    print(table(["weights", "number", "signal, untrained", "signal, trained"], rows))


def _signals(network: S2MNet, plan: Plan, samples: TrainingSamples, batches: int) -> dict[str, tuple[int, float]]:
    """For each part of the network how many numbers it has, and their signal."""
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
            first, second = sums.setdefault(name, [torch.zeros_like(gradient), torch.zeros_like(gradient)])
            first += gradient
            second += gradient**2
    found = {}
    for name, (first, second) in sums.items():
        mean = first / batches
        scatter = (second / batches - mean**2) * batches / (batches - 1)
        signal = (mean**2 - scatter / batches).sum() / scatter.sum()
        found[name] = (mean.numel(), float(signal))
    return found


def _gradients(network: S2MNet) -> Iterator[tuple[str, Tensor]]:
    """By stage and part, filters also pooled; in float64, flat."""
    for number, stage in enumerate(network.stages, 1):
        for part in stage.modules():
            if isinstance(part, SpectralSelectiveTokenMixer):
                for name, gradient in _filter_gradients(part.spectral):
                    yield f"stage {number}: filters, {name}", gradient
                yield f"stage {number}: 1×1 of the mixer", _flat([part.fuse.weight])
            if isinstance(part, MultiReceptiveFieldSE):
                yield f"stage {number}: depthwise fields", _flat(part.fields.parameters())
    yield "decoder", _flat(network.decoder.parameters())


def _filter_gradients(part: TruncatedSpectralFilter) -> Iterator[tuple[str, Tensor]]:
    gradient = cast(Tensor, part.weight.grad).double()
    if part.complex_filter:
        gradient = gradient[..., 0]
    used = gradient.abs().amax(0) > 0  # not what lies beyond the band of a map smaller than K
    rows = torch.arange(part.num_frequencies) - part.num_frequencies // 2
    columns = torch.arange(gradient.shape[2]) if part.complex_filter else rows
    octave = torch.hypot(rows[:, None].float(), columns.float()).add(1).log2().long()
    yield "one by one", gradient[:, used].flatten()
    yield "by octave", torch.cat([gradient[:, octave == index].sum(1) for index in octave[used].unique()])
    yield "by channel", gradient.sum((1, 2))


def _flat(weights: Iterable[Tensor]) -> Tensor:
    gradients = [weight.grad for weight in weights if weight.dim() > 1]
    return torch.cat([gradient.double().flatten() for gradient in gradients if gradient is not None])


if __name__ == "__main__":
    main()
