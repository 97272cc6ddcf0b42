"""``s2mnet-lab reliability``: many damaged files and interruptions, counted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Count how s2mnet stands damaged files and interruptions.", no_args_is_help=True)

Page = Annotated[Path, typer.Option(help="The page that the figures are written into.")]


@app.callback()
def _commands() -> None:
    """A single command would otherwise lose its name."""


@app.command()
def fuzz(
    mutants: Annotated[int, typer.Option(min=1, help="How many damaged files, over all formats.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Seed of all damage.")] = 0,
    page: Page = Path("docs/reliability.md"),
) -> None:
    """Read damaged files of every format: each is read or refused in one message. Exit status 1: some were neither."""
    from s2mnet_lab.reliability.fuzz import fuzz as run
    from s2mnet_lab.reliability.fuzz import summary
    from s2mnet_lab.reliability.page import write_section

    counts = run(mutants, seed, lambda reader: typer.echo(reader))
    others = [line for count in counts.values() for line in count.others]
    write_section(page, "Damaged files", summary(counts))
    for line in others:
        typer.echo(line)
    if others:
        raise typer.Exit(1)
