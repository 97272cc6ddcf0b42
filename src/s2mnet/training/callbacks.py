"""Callbacks of the trainer: schedule and budget, the log, the best model. Each saves its state for --resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from s2mnet.console import Console
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.finite import not_finite
from s2mnet.modelfolder import ModelConfig, StartedFrom, save_model
from s2mnet.plan import Training
from s2mnet.training.distributed import agreed, is_main
from s2mnet.training.module import FACTOR, EpochFigures, SegmentationModule
from s2mnet.training.state import RETRY

HISTORY = "history.json"
DIVERGED = 1000  # a loss that no sound training reaches: the sum of a few terms near 1, weighted by 10 at most
# Keys of a record for what the loss logs, by the kind that the loss gives it.
LOG_KEYS = {"term": "terms", "weight": "weights", "limit": "limits", "alpha": "alpha", "descriptor": "descriptors"}


def learning_rate(progress: float, training: Training) -> float:
    """Linear warm-up over the first ``warmup`` of the schedule, then a cosine down to ``min_lr`` (SPEC 3).

    Example:
        >>> plan = Training(lr=1.0, min_lr=0.0, warmup=0.1)
        >>> [round(learning_rate(p, plan), 2) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < training.warmup:
        return training.lr * progress / training.warmup
    done = min((progress - training.warmup) / (1 - training.warmup), 1.0)
    return training.min_lr + (training.lr - training.min_lr) * (1 + math.cos(math.pi * done)) / 2


class Schedule(pl.Callback):
    """Learning rate and end of the budget, by progress: in time or in steps, whichever is further.

    Args:
        training: the budget, and the rates.
        clock: gives the time in seconds.
    """

    def __init__(self, training: Training, clock: Callable[[], float] = time.monotonic) -> None:
        self.training, self.clock = training, clock
        self.elapsed = 0.0  # seconds of training before a resume
        self.started = clock()

    def progress(self, trainer: pl.Trainer) -> float:
        """The share of the schedule that is done, 0..1."""
        shares = [0.0]
        if self.training.minutes:
            shares.append(self.seconds() / (60 * self.training.minutes))
        if self.training.epochs:
            shares.append(trainer.global_step / max(1, self.training.epochs * trainer.num_training_batches))
        if self.training.steps:
            shares.append(trainer.global_step / self.training.steps)
        return agreed(min(max(shares), 1.0))  # all processes follow one clock

    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.elapsed + self.clock() - self.started

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = self.clock()
        self._stop_if_spent(trainer)  # resuming a finished run changes nothing

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, _: Any, batch_index: int) -> None:
        if batch_index == 0:
            # Dropout draws from the global generator. Seeded by the epoch, a resumed run draws the same numbers as an
            # uninterrupted one. (Not in on_train_epoch_start: the loader draws too, before or after it.)
            torch.manual_seed(
                self.training.seed * 100_003 + trainer.current_epoch + 1_000_000_007 * trainer.global_rank
            )
        rate = learning_rate(self.progress(trainer), self.training)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = rate * group.get(FACTOR, 1.0)

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self._stop_if_spent(trainer)

    def _stop_if_spent(self, trainer: pl.Trainer) -> None:
        if self.training.steps and trainer.global_step >= self.training.steps:
            trainer.should_stop = True
        if self.training.minutes and agreed(self.seconds() >= 60 * self.training.minutes):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"elapsed": self.seconds()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.elapsed = state["elapsed"]


class History(pl.Callback):
    """Keeps one record for each epoch, in memory, in the training state and in ``history.json``, and shows progress."""

    def __init__(self, run: Path, schedule: Schedule, console: Console) -> None:
        self.run, self.schedule, self.console = run, schedule, console
        self.records: list[dict[str, Any]] = []
        self.began = False
        self.waiting = self.working = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), console=console, disable=not console.is_terminal,
        )  # fmt: skip

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.began = True
        self.bar.start()
        self.task = self.bar.add_task("training", total=1.0, left="")
        self.mark = time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.waiting = self.working = 0.0
        self.mark = time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        now = time.perf_counter()
        self.waiting, self.mark = self.waiting + now - self.mark, now

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        now = time.perf_counter()
        self.working, self.mark = self.working + now - self.mark, now
        done = self.schedule.progress(trainer)
        left = self.schedule.seconds() * (1 - done) / max(done, 1e-6)
        self.bar.update(self.task, completed=done, left=f"{left / 60:.0f} min left" if done > 0.002 else "")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: SegmentationModule) -> None:  # type: ignore[override]
        figures, epoch = module.finish_epoch(), trainer.current_epoch + 1
        self._check_finite(figures, epoch, {"weights": module.state_dict(), **trainer.optimizers[0].state_dict()})
        if figures.loss > DIVERGED >= max((record["train_loss"] for record in self.records), default=0):
            self.console.print(
                f"[yellow]warning[/] the loss of epoch {epoch} is {figures.loss:.0f}: training does not converge. "
                "Stop it and start again with a lower --lr."
            )
        record: dict[str, Any] = {
            "epoch": epoch,
            "steps": trainer.global_step,
            "seconds": self.schedule.seconds(),
            "precision": "bf16" if trainer.precision.startswith("bf16") else "float32",
            "fast_forms": module.fast_forms,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": figures.loss,
            "val_dice": figures.val_dice,
            "data_share": self.waiting / max(self.waiting + self.working, 1e-9),
        }
        record |= {key: figures.loss_log[kind] for kind, key in LOG_KEYS.items() if kind in figures.loss_log}
        self.records.append(record)
        if is_main():
            write_atomically(self.run / HISTORY, json.dumps(self.records, indent=1).encode())
        self.console.print(
            f"epoch {record['epoch']:>3}  {record['seconds'] / 60:6.1f} min  loss {record['train_loss']:.4f}  "
            f"validation Dice {figures.val_dice:.4f}  data {100 * record['data_share']:.0f} % of the time"
        )

    def _check_finite(self, figures: EpochFigures, epoch: int, state: dict[str, Any]) -> None:
        """Refuse an epoch that ended in NaN or infinity before anything of it is written: the last good state stays."""
        problem = f"has a loss that is not a number ({figures.loss}) in epoch {epoch}"
        if math.isfinite(figures.loss):
            wrong = not_finite(state)
            problem = f"has values that are infinite or not a number in epoch {epoch} ({wrong})"
            if wrong is None:
                return
        raise S2MNetError(
            self.run, problem, f"{'Continue with --resume' if self.records else 'Start again'} with {RETRY}."
        )

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.bar.stop()

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.bar.stop()

    def state_dict(self) -> dict[str, Any]:
        return {"records": self.records}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.records = state["records"]


class KeepBest(pl.Callback):
    """Saves the model after each new best validation Dice, and stops after ``patience`` epochs without one."""

    def __init__(self, run: Path, config: ModelConfig, history: History, patience: int) -> None:
        self.run, self.config, self.history, self.patience = run, config, history, patience

    def on_train_epoch_end(self, trainer: pl.Trainer, module: SegmentationModule) -> None:  # type: ignore[override]
        if self._epochs_since_best() == 0 and is_main():
            save_model(module.network, self.config, self.run)
        self._stop_if_stale(trainer)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_if_stale(trainer)  # resuming a finished run changes nothing

    def state_dict(self) -> dict[str, Any]:
        start = self.config.started_from
        return {"started_from": start.model_dump() if start else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # --resume does not read the start again, which may be gone.
        start = state["started_from"] and StartedFrom.model_validate(state["started_from"])
        self.config = self.config.model_copy(update={"started_from": start})

    def _epochs_since_best(self) -> int:
        scores = [record["val_dice"] for record in self.history.records]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def _stop_if_stale(self, trainer: pl.Trainer) -> None:
        if self.patience and self._epochs_since_best() >= self.patience:
            trainer.should_stop = True
