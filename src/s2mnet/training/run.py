"""Train by a plan into a run folder, from the start or from the last finished epoch."""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.markup import escape
from torch import nn
from torch.utils.data import DataLoader, Dataset

from s2mnet.architecture import OURS, PeerNetwork
from s2mnet.console import Console
from s2mnet.data import ImageFolder
from s2mnet.device import choose_device, multiplies_bf16
from s2mnet.errors import S2MNetError
from s2mnet.files import locked
from s2mnet.modelfolder import ModelConfig
from s2mnet.network import S2MNet
from s2mnet.plan import Plan
from s2mnet.training.callbacks import History, KeepBest, Schedule
from s2mnet.training.distributed import connect, from_main, is_main, processes, share_of
from s2mnet.training.module import SegmentationModule, build_loss, build_network
from s2mnet.training.samples import EpochSampler, TrainingSamples
from s2mnet.training.start import read_start
from s2mnet.training.state import LAST, STATE, StateFile, damaged
from s2mnet.training.store import VARIABLE, PreparedCases, cache_folder

PLAN = "plan.yaml"


def train(
    folder: ImageFolder,
    plan: Plan,
    run: Path,
    resume: bool = False,
    console: Console | None = None,
    callbacks: Sequence[pl.Callback] = (),
    recover: bool = False,
    device: str = "auto",
    clock: Callable[[], float] = time.monotonic,
) -> list[dict[str, Any]]:
    """Train and write the best model by validation Dice, the plan, the log and the state for --resume to ``run``.

    On a CPU the same plan gives the same run, bit for bit, interrupted and resumed or not, as long as epochs and not
    minutes bound it.

    Args:
        folder: cases with train and val splits.
        plan: what to do.
        run: folder to write to.
        resume: continue after the last finished epoch of the run in this folder; the start is not needed any more.
        callbacks: of the trainer, in addition to our own.
        recover: resume from the best model if the last state is not finite.
        device: see :func:`s2mnet.device.choose_device`.
        clock: gives the time in seconds by which a budget of minutes is spent. With :func:`time.process_time`, other
            work on the machine takes nothing from the budget.

    Returns:
        The log, one record for each epoch (``history.json``).

    Raises:
        S2MNetError: the plan asks for a network or a loss that does not exist, or for a start that does not fit, and
            nothing is written; the state to resume is damaged; the loss or a weight became infinite or NaN, and the
            last good epoch is kept.
        KeyboardInterrupt: training was interrupted.
    """
    console = console or Console()
    state, chosen = run / STATE / LAST, choose_device(device)
    _quieten()
    connect(chosen)
    rank, count, local = processes()
    start = None if resume else from_main(lambda: read_start(plan.start, run))
    pl.seed_everything(plan.training.seed, workers=True, verbose=False)  # after the start, which builds a network
    network, criterion = _build(plan)
    started_from = start.fill(network, plan) if start else None
    stored = _prepare(folder, plan, console)
    module = SegmentationModule(plan, network, criterion, stored["val"])
    if is_main():
        plan.save(run / PLAN)
    samples = TrainingSamples(stored["train"], plan)
    batch = min(plan.training.batch_size, len(samples))
    loader = DataLoader(
        samples,
        share_of(batch),
        sampler=EpochSampler(len(samples), plan.training.seed, batch, (rank, count)),
        num_workers=plan.training.workers,
        drop_last=True,
        persistent_workers=plan.training.workers > 0,
        pin_memory=chosen.type == "cuda",
    )
    # Each case is validated by one process. A range serves as a Dataset.
    numbers = cast("Dataset[int]", range(rank, len(stored["val"]), count))
    validation = DataLoader(numbers, plan.training.batch_size, collate_fn=list)
    schedule = Schedule(plan.training, clock)
    history = History(run, schedule, console)
    config = ModelConfig(
        preprocessing=plan.preprocessing,
        labels=plan.labels,
        tta=plan.tta,
        mirrors=plan.augmentation.both_flips,
        started_from=started_from,
    )
    last = ModelCheckpoint(run / STATE, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=plan.training.epochs or -1,
        accelerator={"cuda": "gpu"}.get(chosen.type, chosen.type),
        devices=[chosen.index] if chosen.type == "cuda" and count == 1 else local,
        num_nodes=count // local,
        strategy=_strategy(plan) if count > 1 else "auto",
        precision=_precision(plan, chosen),
        callbacks=[schedule, history, KeepBest(run, config, history, plan.training.patience), last, *callbacks],
        plugins=[StateFile(run, module.state_dict, recover)],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run,
    )
    try:
        trainer.fit(module, loader, validation, ckpt_path=state if resume else None, weights_only=True)
    except SystemExit:  # the trainer exits on an interrupt
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    except Exception as error:
        if resume and not history.began and not isinstance(error, S2MNetError):
            raise damaged(state, error) from None
        raise
    return history.records


@contextlib.contextmanager
def reserved(run: Path, resume: bool) -> Iterator[None]:
    """Keep a run folder for one training, after :func:`check_run_folder`.

    Raises:
        S2MNetError: the check fails, or another process trains in this folder.
    """
    with locked(run / ".lock", run) if is_main() else contextlib.nullcontext():
        check_run_folder(run, resume)
        yield


def check_run_folder(run: Path, resume: bool) -> None:
    """Refuse to train over finished epochs, and to resume a run without any.

    A run that stopped during its first epoch holds nothing worth keeping; training starts again.
    """
    finished = has_finished_epoch(run)
    if finished and not resume:
        raise S2MNetError(run, "already exists", "Use --resume, or choose another folder with -o.")
    if resume and not (finished and (run / PLAN).is_file()):
        problem = f"has no finished epoch to resume: {PLAN} or {STATE}/{LAST} is missing"
        raise S2MNetError(run, problem, "Start without --resume.")


def has_finished_epoch(run: Path) -> bool:
    """Whether the folder holds a run that can be resumed."""
    return (run / STATE / LAST).is_file()


def _strategy(plan: Plan) -> str:
    """For several processes. Some peer networks have parameters that no output depends on."""
    return "ddp" if plan.architecture == OURS else "ddp_find_unused_parameters_true"


def _precision(plan: Plan, device: torch.device) -> Any:
    """Lightning's name for the precision of the plan."""
    asked = plan.training.precision
    native = multiplies_bf16(device.type)
    return "bf16-mixed" if asked == "bf16" or (asked == "auto" and native) else "32-true"


def _prepare(folder: ImageFolder, plan: Plan, console: Console) -> dict[str, PreparedCases]:
    """The decoded train and validation cases; warns if the cache cannot be written."""
    place = cache_folder()
    stored = {
        split: PreparedCases(folder.splits[split], plan.preprocessing, plan.labels, split == "train", place, split)
        for split in ("train", "val")
    }
    errors = [cases.write_error for cases in stored.values() if cases.write_error]
    if errors:
        reason = f"{errors[0].where} {errors[0].problem}"
        console.print(f"[yellow]warning[/] decoded images stay in memory: {escape(reason)}. Set ${VARIABLE} to a "
                      "folder for them.")  # fmt: skip
    return stored


def _build(plan: Plan) -> tuple[S2MNet | PeerNetwork, nn.Module]:
    """The network and the loss of a plan."""
    try:
        return build_network(plan), build_loss(plan)
    except (TypeError, ValueError) as error:
        where = "The plan's architecture, network or loss_options"
        raise S2MNetError(where, f"cannot be used ({error})", "Correct the plan.") from None


def _quieten() -> None:
    """Hide messages of Lightning that are meant for developers."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
