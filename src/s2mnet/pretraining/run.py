"""``s2mnet pretrain``: the whole way from a corpus to a model that trainings start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s2mnet.console import Console
from s2mnet.errors import S2MNetError
from s2mnet.files import locked
from s2mnet.pretraining.corpus import read_corpus
from s2mnet.pretraining.loop import STATE, Budget, Pretraining
from s2mnet.pretraining.records import write_ledger, write_report


def run_pretraining(
    corpus: Path,
    folder: Path,
    budget: Budget,
    resume: bool = False,
    size: int = 128,
    seed: int = 42,
    batch_size: int = 8,
    every: int = 500,
    command: str = "",
    console: Console | None = None,
) -> Path:
    """Pretrain on a corpus, and write the model, its state, log, ledger and page.

    With steps alone as the budget the same call gives the same weights on one machine, interrupted and resumed or not.

    Args:
        corpus: a folder of data folders with a ``dataset.yaml`` each.
        folder: to write.
        budget: counts from the first start; a resumed pretraining may have a larger one.
        resume: go on from the state in ``folder``.
        size: side of the network's input in pixels.
        seed, batch_size: of the training.
        every: steps between two measurements.
        command: shown on the page.

    Returns:
        The page.

    Raises:
        S2MNetError: the budget or the corpus is empty; the folder holds a pretraining already, or none to resume.
    """
    console = console or Console()
    if budget.steps is None and budget.minutes is None:
        raise S2MNetError("pretrain", "has no budget", "Pass --minutes or --steps.")
    with locked(folder / ".lock", folder):
        if (folder / STATE).is_file() and not resume:
            raise S2MNetError(folder, "holds a pretraining", "Use --resume, or choose another folder with -o.")
        sources = read_corpus(corpus, size, seed, batch_size)
        console.print(f"{len(sources)} data sets, {sum(len(source.train) for source in sources)} images to train on")
        training = Pretraining(sources, folder, seed, batch_size)
        if resume:
            training.resume()
        write_ledger(sources, folder)

        def report(record: dict[str, Any]) -> None:
            left = (1 - (done := budget.progress(record["steps"], record["seconds"]))) / max(done, 1e-9)
            console.print(
                f"step {record['steps']:>7,}  {record['seconds'] / 60:6.1f} min  loss {record['loss']:.4f}  "
                f"held-out Dice {record['mean_dice']:.4f}  {left * record['seconds'] / 60:.0f} min left"
            )
            write_report(sources, training.records, folder, command)

        training.run(budget, every, report)
        if not training.records:
            fix = "Resume with a larger --minutes or --steps."
            raise S2MNetError(folder, "has spent its budget before anything was measured", fix)
        return write_report(sources, training.records, folder, command)
