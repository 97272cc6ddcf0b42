"""nnU-Net's trainer, ended by the clock. A copy of this file runs in nnU-Net's own environment, which lacks s2mnet.

The environment variables ``S2MNET_MINUTES``, ``S2MNET_SEED`` and ``S2MNET_THREADS`` are its arguments: the constructor
of a trainer takes no others.
"""

import json
import os
import random
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

# nnU-Net has asked for a thread per core of the machine, also of cores that this process may not use.
torch.set_num_threads(int(os.environ["S2MNET_THREADS"]))


class TimeIsUp(Exception):
    """The minutes have passed."""


class MinutesTrainer(nnUNetTrainer):
    """nnU-Net's default trainer, except that it ends after some minutes rather than 1,000 epochs.

    The minutes count from the first step and include the validation after each epoch of 250 steps. The learning rate
    falls along nnU-Net's polynomial with the share of the minutes that has passed. The final checkpoint is the one that
    predicts, as it does by default. ``minutes.json`` beside it says what was done.
    """

    started = 0.0
    steps = 0

    def initialize(self) -> None:
        seed = int(os.environ["S2MNET_SEED"])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        super().initialize()

    def run_training(self) -> None:
        try:
            super().run_training()
        except TimeIsUp:
            self.on_train_end()

    def on_train_start(self) -> None:
        super().on_train_start()
        self.started = monotonic()

    def train_step(self, batch: dict) -> dict:
        self.lr_scheduler.step(self.num_epochs * self.share())
        result = super().train_step(batch)
        self.steps += 1
        return result

    def validation_step(self, batch: dict) -> dict:
        self.share()
        return super().validation_step(batch)

    def share(self) -> float:
        """The share of the minutes that has passed, in 0..1.

        Raises:
            TimeIsUp: all of it.
        """
        share = (monotonic() - self.started) / (60 * float(os.environ["S2MNET_MINUTES"]))
        if share >= 1:
            raise TimeIsUp
        return share

    def on_train_end(self) -> None:
        seconds = monotonic() - self.started
        super().on_train_end()
        done: dict[str, Any] = {
            "epoch": self.current_epoch + 1,
            "steps": self.steps,
            "seconds": seconds,
            "minutes": float(os.environ["S2MNET_MINUTES"]),
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "environment": {
                "nnunetv2": version("nnunetv2"),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
            },
        }
        (Path(self.output_folder) / "minutes.json").write_text(json.dumps(done))
