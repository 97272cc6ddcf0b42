"""The command line, one function a command. Each loads what it needs when it runs."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from s2mnet.allocator import keep_freed_memory
from s2mnet.errors import S2MNetError
from s2mnet.progress import progress_bar

app = typer.Typer(
    help="S2M-Net for 2-D medical image segmentation: a folder of images and masks in, a model, masks and numbers out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Labels = Annotated[
    Literal["auto", "binary", "threshold", "classes"],
    typer.Option(
        help="How to read masks: binary: above 0 is foreground; threshold: above 127; classes: as they stand."
    ),
]
PresetOption = Annotated[
    Literal["default", "paper"] | None,
    typer.Option(help="default, if not given: for a small budget; paper: the authors'."),
]
Tta = Annotated[
    int | None, typer.Option(help="Test-time transforms averaged: 1, 4 or 8. The model has its own default.")
]
Engine = Annotated[
    Literal["auto", "torch", "openvino"],
    typer.Option(help="What computes: auto takes a GPU, else OpenVINO where it is installed, else PyTorch."),
]
PrecisionOption = Annotated[
    Literal["float32", "bf16"], typer.Option("--precision", help="bf16: faster where the processor multiplies it.")
]


@app.command()
def datasets() -> None:
    """List the public data sets that `prepare` knows, with where to ask for them and their terms."""
    from rich.console import Console
    from rich.table import Table

    from s2mnet.datasets import describe_datasets

    table = Table.grid(padding=(0, 2))
    for row in describe_datasets():
        name, *facts = row.items()
        table.add_row(f"[bold]{name[1]}[/]", "")
        for what, text in facts:
            table.add_row(f"  {what}", text)
    Console().print(table)


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="Name of a public data set; s2mnet datasets lists them.")],
    source: Annotated[Path, typer.Argument(help="The official download: a folder, or a zip or tar archive.")],
    output: Annotated[Path, typer.Argument(help="Data folder to write.")],
    neighbours: Annotated[
        int, typer.Option(help="Slices on either side that become channels of each image; for volumes only.")
    ] = 0,
) -> None:
    """Turn a public data set, as downloaded, into a data folder with its split."""
    from s2mnet.datasets import prepare as prepare_set

    with progress_bar("preparing") as progress:
        done = prepare_set(name, source, output, progress, neighbours)
    for note in done.notes:
        typer.echo(f"note: {note}")
    counts = ", ".join(f"{count} {split}" for split, count in done.counts.items())
    typer.echo(f"{done.dataset.name}: {counts} in {done.folder}")


@app.command()
def inspect(
    data: Annotated[Path, typer.Argument(help="Data folder, as for train.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the results. runs/inspect/NAME if not given.")
    ] = None,
    labels: Labels = "auto",
) -> None:
    """Look at a data folder before training: numbers, pictures and problems, worst first. Exits with 1 on an error."""
    from rich.console import Console

    from s2mnet.inspection import inspect_folder, print_fingerprint, write_page
    from s2mnet.inspection.fingerprint import FILE

    with progress_bar("reading") as progress:
        found = inspect_folder(data, labels, progress)
    print_fingerprint(found, Console())
    output = output or Path("runs") / "inspect" / data.resolve().name
    found.save(output / FILE)
    typer.echo(f"page: {write_page(found, data, output / 'inspection.html')}")
    if any(problem.severity == "error" for problem in found.problems):
        raise typer.Exit(1)


@app.command()
def train(
    data: Annotated[
        Path, typer.Argument(help="DATA/{images,masks} with equal stems, or DATA/{train,val,test}/{images,masks}.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder to write: model, log, test, report.html.")],
    preset: PresetOption = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time for training; the schedule follows it. 30 if neither is given.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs; repeats exactly on a CPU.")] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the square input, at least 32. Planned if not given.")
    ] = None,
    extent: Annotated[
        Literal["whole", "patches"] | None,
        typer.Option(help="Resized images or windows of them. Planned if not given."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step. The preset has 8.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate. The preset has its own.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random draw. 42 if not given.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that load data. None beside the main one.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bf16"] | None, typer.Option(help="auto, if not given: bf16 where it is native.")
    ] = None,
    labels: Labels = "auto",
    plan: Annotated[
        Path | None, typer.Option(help="Follow this plan.yaml; --minutes, --seed and the like override it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --output.")] = False,
) -> None:
    """Train on a folder of images and masks, test the best model, write a report."""
    from s2mnet.workflow import run_training

    options: dict[str, Any] = dict(
        preset=preset, minutes=minutes, epochs=epochs, size=size, extent=extent, batch_size=batch_size, lr=lr,
        seed=seed, workers=workers, precision=precision,
    )  # fmt: skip
    with interruptible("s2mnet train … --resume goes on from the last finished epoch"):
        report = run_training(data, output, plan, labels, resume, **options)
    typer.echo(f"report: {report}")


@app.command()
def plan(
    data: Annotated[Path, typer.Argument(help="Data folder, as for train.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("plan.yaml"),
    preset: PresetOption = None,
    minutes: Annotated[float | None, typer.Option(help="Time for training. 30 if neither is given.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.")] = None,
    labels: Labels = "auto",
) -> None:
    """Write what `train` would do as a YAML file with its reasons; edit it and give it to `train --plan`."""
    from s2mnet.workflow import write_plan

    write_plan(data, output, labels, preset=preset, minutes=minutes, epochs=epochs)
    typer.echo(f"plan: {output}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder of s2mnet train.")],
    images: Annotated[
        Path, typer.Argument(help="A folder of images or one image; a NIfTI or DICOM file or a folder with one series.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write masks/ and overlays/ to.")],
    overlays: Annotated[bool, typer.Option(help="Also draw each mask over its image.")] = True,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write 16-bit probability maps.")] = False,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Centre and width of the intensities of a volume; its own or its 0.5–99.5 % if not given."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="Only part i of n of a folder, as 2/8; what is done already is passed over.")
    ] = None,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Also write the mask of a DICOM input as a DICOM Segmentation object.")
    ] = False,
    tta: Tta = None,
    engine: Engine = "auto",
    precision: PrecisionOption = "float32",
) -> None:
    """Predict masks, in the size of the images and the label values of the training masks; of a volume as NIfTI."""
    from s2mnet.prediction import Predictor, predict_folder
    from s2mnet.volumes import is_volume, mask_stem, predict_volume

    _check_tta(tta)
    part = _shard(shard)
    volume = is_volume(images)
    if part and volume:
        raise S2MNetError("--shard", f"{images}, one volume", "a folder of images", "Leave --shard out.")
    if dicom_seg and not volume:
        raise S2MNetError(images, "no DICOM images", "a DICOM file or series for --dicom-seg", "Leave --dicom-seg out.")
    predictor = Predictor(run, engine=engine, precision=precision)
    if predictor.notice:
        typer.echo(f"note: {predictor.notice}", err=True)
    if volume:
        name = mask_stem(images)
        target, segmentation = output / f"{name}.nii.gz", output / f"{name}.seg.dcm" if dicom_seg else None
        with progress_bar("predicting") as progress:
            predict_volume(predictor, images, target, window, tta, progress, segmentation)
        typer.echo(f"mask: {target}" + (f" and {segmentation}" if segmentation else ""))
        return
    go_on = f"masks so far are kept, and the same command goes on with --shard {shard or '1/1'}"
    with interruptible(go_on), progress_bar("predicting") as progress:
        done = predict_folder(predictor, images, output, overlays, probabilities, tta, progress, part)
    typer.echo(f"{len(done)} masks in {output / 'masks'}")


@app.command()
def evaluate(
    source: Annotated[Path, typer.Argument(help="Run folder of s2mnet train, or a folder of predicted masks.")],
    truth: Annotated[Path, typer.Argument(help="Data folder as for train, or a folder of true masks.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for metrics.json and .csv.")] = None,
    split: Annotated[Literal["test", "val", "train", "all"], typer.Option(help="Part of a data folder.")] = "test",
    tta: Tta = None,
    labels: Labels = "auto",
    engine: Engine = "auto",
    precision: PrecisionOption = "float32",
) -> None:
    """Measure a trained model on a data folder, or predicted masks against true ones."""
    from rich.console import Console

    from s2mnet.evaluation.results import save, table
    from s2mnet.workflow import evaluate_against

    _check_tta(tta)
    result = evaluate_against(source, truth, split, tta, labels, engine, precision)
    Console().print(table(result))
    if output:
        save(result, output)
        typer.echo(f"metrics: {output}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the data and the run.")] = Path(
        "runs/demo"
    ),
    minutes: Annotated[float, typer.Option(help="Time for training.")] = 6.0,
) -> None:
    """Train on MRI slices that an installed package ships: grey and white matter of the MNI152 brain."""
    from s2mnet.demo import run_demo

    typer.echo(f"report: {run_demo(output, minutes).resolve()}")


@contextlib.contextmanager
def interruptible(how: str) -> Iterator[None]:
    """Ctrl-C ends the command with what to do to go on, and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; {how}", err=True)
        raise typer.Exit(130) from None


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise S2MNetError("--shard", repr(text), "i/n with 1 ≤ i ≤ n", "Number the parts from 1, as 1/4 to 4/4.")
    return int(number), int(count)


def _check_tta(tta: int | None) -> None:
    if tta not in (None, 1, 4, 8):
        raise S2MNetError("--tta", str(tta), "1, 4 or 8", "Leave it away for the model's own.")


def main() -> None:
    """Entry point of ``s2mnet``."""
    run(app)


def run(commands: typer.Typer) -> None:
    """Run a command line: bad input ends in one message and exit status 2."""
    keep_freed_memory()
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a file is said once, by whoever reads it
    try:
        commands()
    except S2MNetError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
