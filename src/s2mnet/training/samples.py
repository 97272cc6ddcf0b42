"""Training samples: a function of (seed, epoch, index) only, so workers and resuming change nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from s2mnet.data import IGNORE_INDEX
from s2mnet.inference import normalise
from s2mnet.plan import Plan
from s2mnet.training.augment import random_light, random_view
from s2mnet.training.store import PreparedCases

MIN_FOREGROUND = 0.005  # share of a patch (SPEC 3)
TRIES = 10


class TrainingSamples(Dataset):
    """The train cases, each visited ``repeats`` times per epoch; with a stride, the windows of a grid over them.

    The key is (epoch, index); the item is a normalised image, float (C, h, w), and a mask, int64 (h, w).
    """

    def __init__(self, cases: PreparedCases, plan: Plan) -> None:
        self.cases, self.plan = cases, plan
        stride = plan.training.stride if plan.preprocessing.extent == "patches" else 0
        self.windows = _grid(cases, plan.preprocessing.size, stride) if stride else []

    def __len__(self) -> int:
        return len(self.windows or self.cases) * self.plan.training.repeats

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = item
        plan, size = self.plan, self.plan.preprocessing.size
        rng = np.random.default_rng([plan.training.seed, epoch, index])
        if self.windows:
            case, top, left = self.windows[index % len(self.windows)]
            image, mask = self.cases[case]
            centre = top + (size[0] - 1) / 2, left + (size[1] - 1) / 2
        else:
            image, mask = self.cases[index % len(self.cases)]
            centre = ((mask.shape[0] - 1) / 2, (mask.shape[1] - 1) / 2)
            if plan.preprocessing.extent == "patches":
                centre = patch_centre(mask, size, rng)
        view, labels = random_view(
            torch.from_numpy(image), torch.from_numpy(mask), centre, size, plan.augmentation, rng
        )
        view = random_light(view / 255, plan.augmentation, rng)
        return normalise(view, plan.preprocessing), labels.long()


def _grid(cases: PreparedCases, size: tuple[int, int], stride: int) -> list[tuple[int, int, int]]:
    """(case, top, left) of every window with at least 0.5 % foreground (SPEC 3), or of all windows if there is none."""
    windows, enough = [], []
    for case in range(len(cases)):
        mask = cases[case][1]
        places = [range(0, max(1, side - window + 1), stride) for side, window in zip(mask.shape, size, strict=True)]
        for top in places[0]:
            for left in places[1]:
                windows.append((case, top, left))
                enough.append(_foreground(mask, top, left, size) >= MIN_FOREGROUND)
    return [window for window, kept in zip(windows, enough, strict=True) if kept] or windows


def _foreground(mask: np.ndarray, top: int, left: int, size: tuple[int, int]) -> float:
    window = mask[top : top + size[0], left : left + size[1]]
    return float(((window > 0) & (window != IGNORE_INDEX)).mean())


def patch_centre(mask: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> tuple[float, float]:
    """Centre of a window inside the image: the first of ten random ones with at least 0.5 % foreground (SPEC 3).

    If none qualifies, the last one is used: background is worth seeing too.
    """
    top = left = 0
    for _ in range(TRIES):
        top, left = (int(rng.integers(0, max(1, m - s + 1))) for m, s in zip(mask.shape, size, strict=True))
        if _foreground(mask, top, left, size) >= MIN_FOREGROUND:
            break
    return top + (size[0] - 1) / 2, left + (size[1] - 1) / 2


class EpochSampler(Sampler[tuple[int, int]]):
    """All (epoch, index) of an epoch, shuffled by (seed, epoch); with several processes, this one's part of each batch.

    Args:
        length: number of samples.
        seed: of the order.
        batch: size of a batch over all processes.
        part: (rank of this process, number of processes). The k-th batches of all processes together are the k-th batch
            of a single process. An incomplete last batch is dropped.
    """

    def __init__(self, length: int, seed: int, batch: int = 1, part: tuple[int, int] = (0, 1)) -> None:
        self.length, self.seed, self.epoch = length, seed, 0
        self.batch, self.part = batch, part

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length // self.batch * self.batch // self.part[1]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        own = order[: self.length // self.batch * self.batch].reshape(-1, self.part[1], self.batch // self.part[1])
        return iter((self.epoch, int(index)) for index in own[:, self.part[0]].reshape(-1))
