"""What the scripts of this folder that look into a trained network have in common: a finished run, and its data."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from s2mnet.data import find_cases
from s2mnet.data.splits import Split
from s2mnet.modelfolder import load_model
from s2mnet.network import S2MNet
from s2mnet.plan import Plan
from s2mnet.training.run import PLAN
from s2mnet.training.samples import TrainingSamples
from s2mnet.training.store import PreparedCases, cache_folder


@dataclass(frozen=True)
class TrainedRun:
    """A folder that ``s2mnet train`` or ``s2mnet experiment`` wrote, and the one of the data that it was trained on."""

    run: Path
    folder: Path

    @cached_property
    def plan(self) -> Plan:
        """What it was trained by."""
        return Plan.load(self.run / PLAN)

    def network(self) -> torch.nn.Module:
        """The trained network, in evaluation."""
        return load_model(self.run)[0]

    def s2mnet(self) -> S2MNet:
        """The same, of a run that has to be of S2M-Net; ends the script if it is of another network."""
        network = self.network()
        if not isinstance(network, S2MNet):
            raise SystemExit(f"{self.run} holds the network {self.plan.architecture}; give a run of s2mnet")
        return network

    def cases(self, split: Split) -> PreparedCases:
        """Images and masks of a split, prepared as in training."""
        plan, cases = self.plan, find_cases(self.folder).splits[split]
        return PreparedCases(cases, plan.preprocessing, plan.labels, split == "train", cache_folder(), split)

    def samples(self) -> TrainingSamples:
        """Augmented training samples, by epoch and index."""
        return TrainingSamples(self.cases("train"), self.plan)


def arguments(description: str | None, **counts: int) -> tuple[TrainedRun, argparse.Namespace]:
    """RUN and FOLDER from the command line, and numbers by name with what they are if not given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    for name, count in counts.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    asked = parser.parse_args()
    return TrainedRun(asked.run, asked.folder), asked


def shuffled(samples: TrainingSamples) -> list[int]:
    """The samples' indices in an order that is the same every time."""
    return cast(list[int], torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).tolist())


def stack(samples: TrainingSamples, epoch: int, indices: list[int]) -> tuple[Tensor, Tensor]:
    """A batch: images (n, channels, h, w) and masks (n, h, w)."""
    images, masks = map(torch.stack, zip(*(samples[epoch, index] for index in indices), strict=True))
    return images, masks
