"""``s2mnet-lab probe``: measurements inside a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure inside a trained network.", no_args_is_help=True)

Run = Annotated[Path, typer.Argument(help="A run of `s2mnet train`, or a cell of a study.")]
Folder = Annotated[Path, typer.Argument(help="The data folder that it was trained on.")]


@app.command()
def pulls(
    run: Run,
    folder: Folder,
    samples: Annotated[int, typer.Option(min=1, help="How many training samples to measure.")] = 64,
) -> None:
    """Compare how hard each term of MASL pulls on the logits."""
    from s2mnet_lab.probe.pulls import pulls_table
    from s2mnet_lab.probe.trained import TrainedRun

    typer.echo(pulls_table(TrainedRun(run, folder), samples))


@app.command()
def gradients(
    run: Run,
    folder: Folder,
    batches: Annotated[int, typer.Option(min=2, help="How many batches to compare.")] = 48,
) -> None:
    """Measure how far batches agree on the gradient of each part, before and after training."""
    from s2mnet_lab.probe.gradients import gradients_table
    from s2mnet_lab.probe.trained import TrainedRun

    typer.echo(gradients_table(TrainedRun(run, folder), batches))
