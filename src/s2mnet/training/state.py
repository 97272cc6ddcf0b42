"""The state of training on disk, ``training/last.ckpt``: whole, finite and of this network, or refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.finite import not_finite
from s2mnet.guard import guarded
from s2mnet.modelfolder import load_model

STATE, LAST = "training", "last.ckpt"  # in a run: what --resume needs
RETRY = "a lower --lr, or with --precision float32"
START_ANEW = "Delete it and train again without --resume. Until then the model in the run folder stays usable."


def damaged(path: Path, reason: object) -> S2MNetError:
    """The error for a state that cannot be resumed."""
    problem = f"is damaged, or not the state of this training ({type(reason).__name__}: {reason})"
    return S2MNetError(path, " ".join(problem.split()), START_ANEW)


class StateFile(TorchCheckpointIO):
    """Reads and writes the state for Lightning.

    Args:
        run: the run folder.
        fresh: gives the state dict of the untrained module, for what a new start from the best model needs.
        recover: start from the best model, with a new optimiser, if the state is not finite; else that is an error.
    """

    def __init__(self, run: Path, fresh: Callable[[], dict[str, Any]], recover: bool = False) -> None:
        super().__init__()
        self.run, self.fresh, self.recover = run, fresh, recover

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Atomically; Lightning would write to the system's temporary folder, which may be another disk."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """The state, without running any code in it.

        Raises:
            S2MNetError: the file is damaged, of another network, or holds values that are not finite.
        """
        with guarded(Path(path), "is damaged, or not the state of this training", START_ANEW):
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._check(state)
        wrong = not_finite({key: state[key] for key in ("state_dict", "optimizer_states")})
        if wrong and not self.recover:
            fix = f"Continue from the best model with --resume and with {RETRY}."
            raise S2MNetError(path, f"holds values that are infinite or not a number ({wrong})", fix)
        if wrong:
            weights = load_model(self.run)[0].state_dict()
            state["state_dict"] = self.fresh() | {f"network.{name}": weight for name, weight in weights.items()}
            for optimiser in state["optimizer_states"]:
                optimiser["state"] = {}
        return state

    def _check(self, state: Any) -> None:
        shapes = {name: tensor.shape for name, tensor in self.fresh().items()}
        if {name: tensor.shape for name, tensor in state["state_dict"].items()} != shapes:
            raise ValueError("its weights are those of another network")
        records = state["callbacks"]["History"]["records"]
        if not all(isinstance(record["val_dice"], float) for record in records):
            raise ValueError("its log is of another kind")
        if not all(isinstance(optimiser["state"], dict) for optimiser in state["optimizer_states"]):
            raise ValueError("it holds no state of the optimiser")
