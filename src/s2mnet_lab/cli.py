"""The laboratory's command line: benchmarks and studies. Each command loads what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from s2mnet.cli import exit_on_interrupt, run
from s2mnet.progress import progress_bar

app = typer.Typer(
    help="The laboratory of s2mnet: benchmarks and studies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def bench(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for bench.json, bench.md and charts.")] = Path(
        "runs/bench"
    ),
    size: Annotated[list[int] | None, typer.Option(help="Side of the images; repeatable. 256 to 1024.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Images at a time; repeatable. 1 and 8.")] = None,
    precision: Annotated[
        Literal["float32", "bf16"] | None, typer.Option(help="If not given, both, or float32 where bf16 is not native.")
    ] = None,
    only: Annotated[
        Literal["network", "spectral", "loss", "train", "bound", "operations"] | None,
        typer.Option(
            help="Inference, spectral branch, loss, training step, what bounds them, or their largest operations. "
            "All if not given."
        ),
    ] = None,
    contestant: Annotated[list[str] | None, typer.Option(help="A network; repeatable. All if not given.")] = None,
    repeats: Annotated[int, typer.Option(help="Rounds; each contestant has one turn in each.")] = 7,
    minutes: Annotated[float, typer.Option(help="What does not fit is left out, the dearest first.")] = 60.0,
    threads: Annotated[int | None, typer.Option(help="Of torch. As many as it takes by itself if not given.")] = None,
    write: Annotated[Path | None, typer.Option(help="Also write the page there, such as docs/performance.md.")] = None,
) -> None:
    """Time S2M-Net side by side with other networks, its spectral branch with FFTs and its loss with Dice + CE."""
    from s2mnet_lab.bench import Request, run_bench, write_page, write_record

    precisions = (precision,) if precision else ()
    request = Request(size or (), batch or (), precisions, only, contestant or (), repeats, minutes, threads)
    with progress_bar("measuring") as progress:
        record = run_bench(request, progress, lambda record: write_record(record, output))
    typer.echo(f"tables: {write_page(record, output / 'bench.md', output)}")
    if write:
        typer.echo(f"page: {write_page(record, write, write.parent / write.stem)}")


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="A study in YAML, such as studies/small.yaml.")],
    data: Annotated[Path, typer.Option(help="Folder with a folder for each public data set, as downloaded.")] = Path(
        "data"
    ),
    minutes: Annotated[
        float | None, typer.Option(help="Stop after so long; the next call goes on. All cells if not given.")
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this data set; repeatable.")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="Only this variant; repeatable.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed; repeatable.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path("results"),
    work: Annotated[Path, typer.Option(help="Folder for prepared data and models.")] = Path("runs/studies"),
    table: Annotated[
        bool,
        typer.Option("--table", help="Only write the page, from the result files of all studies beside this one."),
    ] = False,
    page: Annotated[Path, typer.Option(help="The page that --table writes.")] = Path("docs/results.md"),
) -> None:
    """Run a declared study, each cell with a result file of its own; no cell twice, several processes may share it."""
    from s2mnet.workflow import command_line
    from s2mnet_lab.study.run import Places, Selection, run_study
    from s2mnet_lab.study.study import Study

    if table:
        from s2mnet_lab.study.page import write_page

        typer.echo(f"page: {write_page(file.parent, results, page)}")
        return
    selection = Selection(dataset or (), variant or (), seed or ())
    with exit_on_interrupt("the same command goes on from the last finished epoch"):
        done = run_study(Study.load(file), Places(data, results, work), selection, minutes, command=command_line())
    typer.echo(f"{len(done)} cells finished")


def main() -> None:
    """Entry point of ``s2mnet-lab``."""
    run(app)
