"""``s2mnet-lab reliability``: many damaged files and interruptions, counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from s2mnet_lab.reliability.interruptions import Tally

app = typer.Typer(help="Count how s2mnet stands damaged files and interruptions.", no_args_is_help=True)

NAMES = ("train", "predict", "prepare")
Only = Annotated[list[str] | None, typer.Option(help="train, predict or prepare; repeatable. Default: all.")]
Page = Annotated[Path, typer.Option(help="The page that the figures are written into.")]


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


@app.command()
def kill(
    count: Annotated[int, typer.Option(min=1, help="How many kills, over train, predict and prepare.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the instants.")] = 0,
    only: Only = None,
    page: Page = Path("docs/reliability.md"),
) -> None:
    """Kill commands at random instants and let them go on: the end is that of an uninterrupted call."""
    from s2mnet_lab.reliability.interruptions import kill as run

    _report(page, "Kills", run(count, seed, tuple(only or NAMES), typer.echo))


@app.command()
def disk(
    count: Annotated[int, typer.Option(min=1, help="How many writes of each command to fail at, at most.")] = 40,
    only: Only = None,
    page: Page = Path("docs/reliability.md"),
) -> None:
    """Let the disk be full at each write of a command, then go on: one message, and the same end."""
    from s2mnet_lab.reliability.interruptions import fill_disk

    _report(page, "Full disks", fill_disk(count, tuple(only or NAMES), typer.echo))


def _report(page: Path, title: str, tallies: Mapping[str, Tally]) -> None:
    from s2mnet_lab.reliability.interruptions import summary
    from s2mnet_lab.reliability.page import write_section

    write_section(page, title, summary(tallies, title))
    if not all(tally.good for tally in tallies.values()):
        typer.echo(summary(tallies, title))
        raise typer.Exit(1)
