"""A finished run and the data that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from s2mnet.data import find_cases
from s2mnet.errors import S2MNetError
from s2mnet.modelfolder import load_model
from s2mnet.network import S2MNet
from s2mnet.plan import Plan
from s2mnet.training.run import PLAN
from s2mnet.training.samples import TrainingSamples
from s2mnet.training.store import PreparedCases, cache_folder


@dataclass(frozen=True)
class TrainedRun:
    """A run of ``s2mnet train``, or a cell of a study, and the data folder that it was trained on."""

    run: Path
    folder: Path

    @cached_property
    def plan(self) -> Plan:
        """The plan of the training."""
        return Plan.load(self.run / PLAN)

    def network(self) -> torch.nn.Module:
        """The trained network, in evaluation mode."""
        return load_model(self.run)[0]

    def s2mnet(self) -> S2MNet:
        """The same.

        Raises:
            S2MNetError: the run trained another network.
        """
        network = self.network()
        if not isinstance(network, S2MNet):
            raise S2MNetError(self.run, f"holds the network {self.plan.architecture}", "Choose a run of S2M-Net.")
        return network

    def samples(self) -> TrainingSamples:
        """Augmented training samples, by epoch and index."""
        plan, cases = self.plan, find_cases(self.folder).splits["train"]
        prepared = PreparedCases(cases, plan.preprocessing, plan.labels, True, cache_folder(), "train")
        return TrainingSamples(prepared, plan)


def shuffled(samples: TrainingSamples) -> list[int]:
    """The samples' indices in random order, the same every time."""
    return cast(list[int], torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).tolist())


def stack(samples: TrainingSamples, epoch: int, indices: list[int]) -> tuple[Tensor, Tensor]:
    """A batch: images (n, channels, h, w) and masks (n, h, w)."""
    images, masks = map(torch.stack, zip(*(samples[epoch, index] for index in indices), strict=True))
    return images, masks
