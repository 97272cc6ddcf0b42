"""The loop of pretraining: a mixed batch a step, an average that is validated, the best one saved, a state to resume.

The images of a batch are of several data sets. With one data set a batch, batch norm is trained with the statistics of
one and used with the mean of all: on a set of ultrasound held-out Dice was then 0.08, and 0.69 with its own statistics.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from s2mnet.data import LabelMap
from s2mnet.device import multiplies_bf16
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.finite import not_finite
from s2mnet.guard import guarded
from s2mnet.inference import Inference
from s2mnet.loss import MASL
from s2mnet.modelfolder import ModelConfig, StartedFrom, save_model
from s2mnet.network.fast import accelerate
from s2mnet.network.pretrained import imagenet_checksum
from s2mnet.plan import IMAGENET, Preprocessing
from s2mnet.pretraining.corpus import Source
from s2mnet.pretraining.interrupt import deferred_interrupt
from s2mnet.pretraining.network import ENCODER, SharedNetwork, average_of, starting_network
from s2mnet.training.module import FACTOR, build_loss, build_optimiser, targets, validation_dice
from s2mnet.training.samples import TrainingSamples
from s2mnet.training.store import PreparedCases, cache_folder

STATE, HISTORY = "pretraining/last.ckpt", "history.json"
WARM_STEPS = 200
DECAY_SHARE = 0.2  # of the budget, at its end
SAVE_SECONDS = 300.0


@dataclass(frozen=True)
class Budget:
    """When to stop: after steps or minutes, whichever comes first. Both count from the first start."""

    steps: int | None = None
    minutes: float | None = None

    def progress(self, steps: int, seconds: float) -> float:
        """The share that is done, 0..1."""
        shares = [steps / self.steps] if self.steps else []
        shares += [seconds / 60 / self.minutes] if self.minutes else []
        return min(1.0, max(shares))


def learning_rate(steps: int, progress: float, highest: float) -> float:
    """A linear warm-up, then constant, then a line to zero over the last fifth of the budget.

    Example:
        >>> [learning_rate(*at, 1.0) for at in ((100, 0.1), (1000, 0.5), (1000, 0.9), (1000, 1.0))]
        [0.5, 1.0, 0.5, 0.0]
    """
    return highest * min(1.0, steps / WARM_STEPS) * min(1.0, round((1 - progress) / DECAY_SHARE, 12))


class Pretraining:
    """A pretraining in progress.

    Args:
        sources: of the corpus.
        folder: where model, log and state are written.
        seed: of every random draw.
        batch_size: images a step.
    """

    def __init__(self, sources: Sequence[Source], folder: Path, seed: int, batch_size: int) -> None:
        self.sources, self.folder, self.seed, self.batch_size = list(sources), folder, seed, batch_size
        torch.manual_seed(seed)
        self.network = SharedNetwork(sources).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.losses = nn.ModuleList(build_loss(source.plan) for source in sources)
        self.average = average_of(self.network)
        accelerate(self.network, "train", "cpu")
        self.training = self.sources[0].plan.training  # alike in all plans but for the repeats, which nothing uses
        self.optimiser = build_optimiser(self.network, self.losses, self.training)
        place = cache_folder()
        self.samples = [
            TrainingSamples(PreparedCases(s.train, s.plan.preprocessing, s.plan.labels, True, place, s.name), s.plan)
            for s in self.sources
        ]
        self.held_out = [
            PreparedCases(s.held_out, s.plan.preprocessing, s.plan.labels, False, place, s.name) for s in self.sources
        ]
        sizes = np.sqrt([len(source.train) for source in self.sources])
        self.chances = sizes / sizes.sum()
        self.steps, self.seconds = 0, 0.0
        self.records: list[dict[str, Any]] = []
        self._losses: list[float] = []

    def run(self, budget: Budget, every: int, report: Callable[[dict[str, Any]], None] = print) -> None:
        """Train until the budget is spent; measure, save and report after each ``every`` steps.

        Raises:
            S2MNetError: the loss or a weight is not finite; the last good state is kept.
            KeyboardInterrupt: interrupted; the state of the last step is saved.
        """
        started, saved = time.monotonic() - self.seconds, time.monotonic()
        with deferred_interrupt() as interrupted:
            while (progress := budget.progress(self.steps, self.seconds)) < 1:
                self._losses.append(self._step(learning_rate(self.steps + 1, progress, self.training.lr)))
                self.steps, self.seconds = self.steps + 1, time.monotonic() - started
                if self.steps % every == 0 or budget.progress(self.steps, self.seconds) >= 1:
                    report(self._measure())
                elif not interrupted() and time.monotonic() - saved < SAVE_SECONDS:
                    continue
                self.save()
                saved = time.monotonic()
                if interrupted():
                    raise KeyboardInterrupt

    def _step(self, rate: float) -> float:
        """One step on a batch of several data sets; every draw follows from the seed and the number of the step."""
        rng = np.random.default_rng([self.seed, self.steps])
        torch.manual_seed(self.seed * 100_003 + self.steps)  # of the dropout
        places = rng.choice(len(self.sources), size=self.batch_size, p=self.chances)
        images, masks = zip(*(self._draw(int(place), number, rng) for number, place in enumerate(places)), strict=True)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group.get(FACTOR, 1.0)
        self.network.train()
        batch = torch.stack(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16("cpu")):
            logits = self.network(batch, torch.from_numpy(places))
        parts = [self._loss(place, images_of, part, masks) for place, (images_of, part) in logits.items()]
        loss = torch.stack(parts).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.training.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        for criterion in self.losses:
            if isinstance(criterion, MASL):
                criterion.project_()
        self.average.update_parameters(self.network)
        return loss.item()

    def _draw(self, place: int, number: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A view of a random case: the sample depends on its index, the case on the remainder of the index."""
        count = len(self.samples[place].cases)
        return self.samples[place][self.steps, int(rng.integers(count)) + count * number]

    def _loss(self, place: int, images: Tensor, logits: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """The share of one data set in the loss of the batch."""
        chosen = torch.stack([masks[image] for image in images.tolist()])
        loss: Tensor = self.losses[place](logits, targets(chosen, self.sources[place].plan.labels))
        return loss * (len(images) / self.batch_size)

    def _measure(self) -> dict[str, Any]:
        """The record of this point: mean loss since the last one, and Dice of each data set's held-out images."""
        self._check_finite()
        averaged = self._averaged().eval()
        dice = {}
        for place, (source, cases) in enumerate(zip(self.sources, self.held_out, strict=True)):
            config = ModelConfig(preprocessing=source.plan.preprocessing, labels=source.plan.labels)
            inference = Inference(averaged.of(place), config)
            scores = list(validation_dice(inference, [cases[index] for index in range(len(cases))]))
            dice[source.name] = float(np.mean(scores))
        record: dict[str, Any] = {
            "steps": self.steps,
            "seconds": self.seconds,
            "loss": float(np.mean(self._losses)),
            "dice": dice,
            "mean_dice": float(np.mean(list(dice.values()))),
        }
        self._losses = []
        self.records.append(record)
        return record

    def _check_finite(self) -> None:
        """Refuse values that are not finite before anything of them is written: the last good state stays."""
        wrong = None if all(map(math.isfinite, self._losses)) else "the loss"
        if wrong := wrong or not_finite(self.network.state_dict()) or not_finite(self.optimiser.state_dict()):
            problem = f"has values that are infinite or not a number after {self.steps} steps ({wrong})"
            raise S2MNetError(self.folder, problem, "Continue from the last good state with --resume.")

    def save(self) -> None:
        """Write the state; and, at a point that was measured, the log and, if it is the best so far, the model.

        Raises:
            S2MNetError: a value is not finite, and nothing is written; or the folder cannot be written to.
        """
        self._check_finite()
        write_atomically(self.folder / STATE, self._state())
        if self.records and self.records[-1]["steps"] == self.steps:
            write_atomically(self.folder / HISTORY, json.dumps(self.records, indent=1).encode())
            if self.records[-1] is best_of(self.records):
                save_model(starting_network(self._averaged()), starting_config(self.sources), self.folder)

    def _averaged(self) -> SharedNetwork:
        return cast(SharedNetwork, self.average.module)

    def _state(self) -> bytes:
        buffer = io.BytesIO()
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        known = {"steps": self.steps, "seconds": self.seconds, "records": self.records, "losses_since": self._losses}
        torch.save(parts | known | self._identity(), buffer)
        return buffer.getvalue()

    def resume(self) -> None:
        """Go on from the state in the folder.

        Raises:
            S2MNetError: there is none, it is damaged, or it is of another corpus, seed, batch size or size.
        """
        path = self.folder / STATE
        if not path.is_file():
            raise S2MNetError(
                self.folder, f"has no pretraining to resume: {STATE} is missing", "Start without --resume."
            )
        fix = "Delete it and start without --resume."
        with guarded(path, "is damaged, or not the state of this pretraining", fix):
            state = torch.load(path, map_location="cpu", weights_only=True)
            own = self._identity()
            other = [name for name, value in own.items() if state[name] != value]
            if other:
                problem = f"is of another {' and '.join(other)}"
                raise S2MNetError(
                    path, problem, "Resume with the same CORPUS, --seed, --batch-size and --size, or start anew."
                )
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.steps, self.seconds = state["steps"], state["seconds"]
            self.records, self._losses = state["records"], state["losses_since"]

    def _identity(self) -> dict[str, Any]:
        """What a state must share with the pretraining that goes on from it."""
        return {
            "corpus": {source.name: source.checksum for source in self.sources},
            "seed": self.seed,
            "batch size": self.batch_size,
            "size": list(self.sources[0].plan.preprocessing.size),
        }

    def _parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "losses": self.losses,
            "optimiser": self.optimiser,
        }


def best_of(records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The record with the highest mean Dice of held-out images; of equal ones the first."""
    return max(records, key=lambda record: float(record["mean_dice"]))


def starting_config(sources: Sequence[Source]) -> ModelConfig:
    """The configuration of a model to start from: it has no classes, so it cannot predict."""
    size = sources[0].plan.preprocessing.size
    return ModelConfig(
        preprocessing=Preprocessing(extent="whole", size=size, channels=3, normalisation="image"),
        labels=LabelMap(kind="classes", values=[0, 1], names=["background", "no class: this network is to start from"]),
        started_from=StartedFrom(name=IMAGENET, sha256=imagenet_checksum(ENCODER)),
        predicts=False,
    )
