"""Training samples: a function of (seed, epoch, index) alone, so that workers and resuming change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from s2mnet.data import IGNORE_INDEX, Case, load_case
from s2mnet.inference import normalise, prepare_image, prepare_mask
from s2mnet.plan import Plan
from s2mnet.training.augment import random_light, random_view

MIN_FOREGROUND = 0.005  # share of a patch (SPEC 3)
TRIES = 10


class TrainingSamples(Dataset):
    """The train cases, decoded once and kept as bytes, each visited ``repeats`` times an epoch.

    An item is asked for as (epoch, index) and gives image float (C, h, w), normalised, and mask int64 (h, w).
    Decoded whole images take channels·h·w bytes each at the input size, patches the full size of the images.
    """

    def __init__(self, cases: Sequence[Case], plan: Plan) -> None:
        self.plan = plan
        with ThreadPoolExecutor() as pool:
            self.pairs = list(pool.map(self._load, cases))

    def _load(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        image, mask = load_case(case, self.plan.labels)
        preprocessing = self.plan.preprocessing
        return prepare_image(image, preprocessing), prepare_mask(mask, preprocessing)

    def __len__(self) -> int:
        return len(self.pairs) * self.plan.training.repeats

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, index = item
        plan = self.plan
        rng = np.random.default_rng([plan.training.seed, epoch, index])
        image, mask = self.pairs[index % len(self.pairs)]
        size = plan.preprocessing.size
        centre = ((mask.shape[0] - 1) / 2, (mask.shape[1] - 1) / 2)
        if plan.preprocessing.extent == "patches":
            centre = patch_centre(mask, size, rng)
        pixels = torch.from_numpy(image).float() / 255
        view, labels = random_view(pixels, torch.from_numpy(mask), centre, size, plan.augmentation, rng)
        view = random_light(view, plan.augmentation, rng)
        return normalise(view, plan.preprocessing), labels.long()


def patch_centre(mask: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> tuple[float, float]:
    """Centre of a window inside the image, the first of ten random ones with at least 0.5 % foreground (SPEC 3).

    If none has that much the last one is taken: background is worth seeing too.
    """
    top = left = 0
    for _ in range(TRIES):
        top, left = (int(rng.integers(0, max(1, m - s + 1))) for m, s in zip(mask.shape, size, strict=True))
        window = mask[top : top + size[0], left : left + size[1]]
        if ((window > 0) & (window != IGNORE_INDEX)).mean() >= MIN_FOREGROUND:
            break
    return top + (size[0] - 1) / 2, left + (size[1] - 1) / 2


class EpochSampler(Sampler[tuple[int, int]]):
    """All (epoch, index) of an epoch in an order drawn from (seed, epoch)."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        return iter((self.epoch, int(index)) for index in order)
