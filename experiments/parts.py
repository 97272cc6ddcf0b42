"""What a trained network loses when a part of it is taken out, without training again.

    python experiments/parts.py RUN FOLDER

RUN is a folder that ``s2mnet train`` or ``s2mnet experiment`` wrote for S2M-Net, FOLDER the data that it was trained
on. Dice on the validation images with each part changed in turn, beside the whole network's: a part that can go
without loss is one that the network has not learned to use. That is another question than whether a network that is
trained without the part does as well (``studies/small.yaml``, row ``no-sstm``).

"Filters at their start" puts the spectral filters W back to what they were before training. "Off" takes the branch, or
the whole mixer, out of the sum. "Constant" puts in place of a map its mean over pixels and images of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from trained import arguments

from s2mnet.inference import Inference
from s2mnet.modelfolder import ModelConfig
from s2mnet.network import S2MNet, SpectralSelectiveTokenMixer
from s2mnet.plan import Plan
from s2mnet.training.module import build_network, validation_dice
from s2mnet_lab.markdown import table
from s2mnet_lab.study.statistics import compare

BATCH = 8
Change = Callable[[SpectralSelectiveTokenMixer, SpectralSelectiveTokenMixer], None]


def main() -> None:
    """Measure and print."""
    run, _ = arguments(__doc__)
    plan, network, cases = run.plan, run.s2mnet(), run.cases("val")
    pairs = [cases[index] for index in range(len(cases))]

    def dice() -> NDArray[np.float64]:
        return np.array(list(_dice(network, pairs, plan)))

    whole = dice()
    rows = [["whole network", f"{100 * whole.mean():.2f}", "", ""]]
    for name, change in _changes(network, build_network(plan)):
        with change:
            found = compare(dice() - whole)
        after = 100 * (whole.mean() + found.difference)
        figures = [100 * value for value in (found.difference, found.low, found.high)]
        rows.append([name, f"{after:.2f}", f"{figures[0]:+.2f}", f"[{figures[1]:+.2f}, {figures[2]:+.2f}]"])
    print(table(["part", "Dice", "change", "95 %"], rows))


def _dice(network: nn.Module, pairs: list[tuple[np.ndarray, np.ndarray]], plan: Plan) -> Iterator[float]:
    inference = Inference(network, ModelConfig(preprocessing=plan.preprocessing, labels=plan.labels))
    for start in range(0, len(pairs), BATCH):
        yield from validation_dice(inference, pairs[start : start + BATCH])


def _changes(network: S2MNet, untrained: Any) -> Iterator[tuple[str, Any]]:
    mixers = [
        (n, _mixer(a), _mixer(b)) for n, (a, b) in enumerate(zip(network.stages, untrained.stages, strict=True), 1)
    ]
    present = [(number, mixer, start) for number, mixer, start in mixers if mixer is not None]
    if present:
        for name, change in (
            ("filters at their start", _restart),
            ("gate branch off", _without_gate),
            ("spectral branch off", _without_spectral),
            ("SSTM off", _off),
        ):
            yield f"{name}, all stages", _changed(present, change)
    for number, mixer, start in present:
        for name, change in (("filters at their start", _restart), ("SSTM off", _off)):
            yield f"{name}, stage {number}", _changed([(number, mixer, start)], change)
    yield "stage 5 constant", _constant(network.stages[4])
    for number, stage in zip((5, 4, 3, 2), network.decoder, strict=True):
        yield f"decoder {number}→{number - 1} constant", _constant(stage)


def _mixer(stage: nn.Module) -> Any:
    return next((part for part in stage.modules() if isinstance(part, SpectralSelectiveTokenMixer)), None)


def _restart(mixer: SpectralSelectiveTokenMixer, start: SpectralSelectiveTokenMixer) -> None:
    mixer.spectral.load_state_dict(start.spectral.state_dict())


def _without_spectral(mixer: SpectralSelectiveTokenMixer, _: SpectralSelectiveTokenMixer) -> None:
    mixer.fuse.weight[:, : mixer.fuse.out_features] = 0


def _without_gate(mixer: SpectralSelectiveTokenMixer, _: SpectralSelectiveTokenMixer) -> None:
    mixer.fuse.weight[:, mixer.fuse.out_features :] = 0


def _off(mixer: SpectralSelectiveTokenMixer, _: SpectralSelectiveTokenMixer) -> None:
    mixer.norm.weight.zero_()
    mixer.norm.bias.zero_()


@contextmanager
def _changed(mixers: list[tuple[int, Any, Any]], change: Change) -> Iterator[None]:
    """The mixers changed, as they were afterwards."""
    kept = [{name: value.clone() for name, value in mixer.state_dict().items()} for _, mixer, _ in mixers]
    with torch.no_grad():
        for _, mixer, start in mixers:
            change(mixer, start)
    try:
        yield
    finally:
        for (_, mixer, _), state in zip(mixers, kept, strict=True):
            mixer.load_state_dict(state)


@contextmanager
def _constant(part: nn.Module) -> Iterator[None]:
    """The part's map replaced by its mean; β of a decoder stage, which nothing reads here, stays."""

    def mean(found: Tensor) -> Tensor:
        return found.mean((0, 2, 3), keepdim=True).expand_as(found).contiguous()

    handle = part.register_forward_hook(
        lambda _, __, found: (mean(found[0]), found[1]) if isinstance(found, tuple) else mean(found)
    )
    try:
        yield
    finally:
        handle.remove()


if __name__ == "__main__":
    main()
