"""What happens around the steps: schedule and budget, the log, the best model. Each keeps its state for --resume."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.modelfolder import ModelConfig, save_model
from s2mnet.plan import Training
from s2mnet.training.distributed import agreed, is_main, total
from s2mnet.training.module import FACTOR, SegmentationModule

STATE = "training"  # folder inside a run for what --resume needs
HISTORY = "history.json"


def learning_rate(progress: float, training: Training) -> float:
    """Linear warm-up over the first share of the schedule, then a cosine down to ``min_lr`` (SPEC 3).

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
    """Learning rate by progress, and the end of the budget. Progress is time or steps, whichever is further on."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.elapsed = 0.0  # seconds of training, earlier runs of the same folder included
        self.started = time.monotonic()

    def progress(self, trainer: pl.Trainer) -> float:
        """Share of the schedule that is done, 0..1."""
        shares = [0.0]
        if self.training.minutes:
            shares.append(self.seconds() / (60 * self.training.minutes))
        if self.training.epochs:
            shares.append(trainer.global_step / max(1, self.training.epochs * trainer.num_training_batches))
        if self.training.steps:
            shares.append(trainer.global_step / self.training.steps)
        return agreed(min(max(shares), 1.0))  # by one clock

    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.elapsed + time.monotonic() - self.started

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.started = time.monotonic()
        self._stop_if_spent(trainer)  # a finished run that is resumed stays as it is

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, _: Any, batch_index: int) -> None:
        if batch_index == 0:
            # Dropout draws from the global generator: tied to the epoch, a resumed run draws what a whole one would.
            # (Not at the start of the epoch: the loader draws too, after it in a whole run, before in a resumed one.)
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
    """One record an epoch, in memory, in the training state and in ``history.json``; and the progress on screen."""

    def __init__(self, run: Path, schedule: Schedule, console: Console) -> None:
        self.run, self.schedule, self.console = run, schedule, console
        self.records: list[dict[str, Any]] = []
        self.waiting = self.working = 0.0
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"), console=console, disable=not console.is_terminal,
        )  # fmt: skip

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
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
        sums = [float(value) for value in module.epoch_sums.values()]
        *sums, steps, dice, cases = total([*sums, module.epoch_steps, sum(module.val_dice), len(module.val_dice)])
        logs = {key: value / steps for key, value in zip(module.epoch_sums, sums, strict=True)}
        if not math.isfinite(logs["loss"]):
            found, mend = "a loss that is not a number", "Go on with --resume and a lower --lr, or --precision 32."
            raise S2MNetError(self.run, found, "finite losses", mend)
        dice /= max(1, cases)
        record: dict[str, Any] = {
            "epoch": trainer.current_epoch + 1,
            "steps": trainer.global_step,
            "seconds": self.schedule.seconds(),
            "precision": "bf16" if trainer.precision.startswith("bf16") else "float32",
            "fast_forms": module.fast_forms,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": logs["loss"],
            "val_dice": dice,
            "data_share": self.waiting / max(self.waiting + self.working, 1e-9),
        }
        for group, kind in (
            ("term", "terms"),
            ("weight", "weights"),
            ("limit", "limits"),
            ("alpha", "alpha"),
            ("descriptor", "descriptors"),
        ):
            values = {key.split("/")[1]: value for key, value in logs.items() if key.startswith(f"{group}/")}
            record |= {kind: values} if values else {}
        self.records.append(record)
        module.epoch_sums, module.epoch_steps = {}, 0
        module.val_dice.clear()
        if is_main():
            write_atomically(self.run / HISTORY, json.dumps(self.records, indent=1).encode())
        self.console.print(
            f"epoch {record['epoch']:>3}  {record['seconds'] / 60:6.1f} min  loss {record['train_loss']:.4f}  "
            f"validation Dice {dice:.4f}  data {100 * record['data_share']:.0f} % of the time"
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
    """Saves the model whenever validation Dice has not been better before, and stops when it stays so for long."""

    def __init__(self, run: Path, config: ModelConfig, history: History, patience: int) -> None:
        self.run, self.config, self.history, self.patience = run, config, history, patience

    def on_train_epoch_end(self, trainer: pl.Trainer, module: SegmentationModule) -> None:  # type: ignore[override]
        if self._epochs_since_best() == 0 and is_main():
            save_model(module.network, self.config, self.run)
        self._stop_if_stale(trainer)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._stop_if_stale(trainer)  # a finished run that is resumed stays as it is

    def _epochs_since_best(self) -> int:
        scores = [record["val_dice"] for record in self.history.records]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def _stop_if_stale(self, trainer: pl.Trainer) -> None:
        if self.patience and self._epochs_since_best() >= self.patience:
            trainer.should_stop = True
