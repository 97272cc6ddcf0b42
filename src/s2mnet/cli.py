"""The command line, one function for each command. Commands import what they need when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from s2mnet.commandline import exit_on_interrupt, new_app, run, say
from s2mnet.errors import S2MNetError
from s2mnet.options import (
    DataFolder,
    Device,
    Engine,
    Epochs,
    Labels,
    Minutes,
    PrecisionOption,
    PresetOption,
    Start,
    Tta,
)
from s2mnet.progress import progress_bar

app = new_app(
    "s2mnet",
    "S2M-Net for 2-D medical image segmentation: from images and masks to a trained model, masks and metrics.",
)


@app.command()
def datasets() -> None:
    """List the public data sets that `prepare` knows, with their sources and terms of use."""
    from rich.table import Table

    from s2mnet.console import Console
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
    name: Annotated[str, Argument(help="Name of a public data set; `s2mnet datasets` lists them.")],
    source: Annotated[Path, Argument(help="The official download: a folder, or a zip or tar archive.")],
    output: Annotated[Path, Argument(help="Data folder to write.")],
    neighbours: Annotated[int, Option(help="For volumes: slices on each side to add as channels of each image.")] = 0,
) -> None:
    """Convert a downloaded public data set into a data folder with its split."""
    from s2mnet.datasets import prepare as prepare_set

    with progress_bar("preparing") as progress:
        done = prepare_set(name, source, output, progress, neighbours)
    for note in done.notes:
        say(f"note: {note}")
    counts = ", ".join(f"{count} {split}" for split, count in done.counts.items())
    say(f"{done.dataset.name}: {counts} in {done.folder}")


@app.command("import")
def import_source(
    source: Annotated[Path, Argument(help="Folder in the layout of another tool, such as nnU-Net, COCO or labelme.")],
    output: Annotated[Path, Argument(help="Data folder to write.")],
    layout: Annotated[str, Option("--as", help="Layout of SOURCE, if it is not found out: nnunet, coco, …")] = "",
    pairs: Annotated[Path | None, Option(help="CSV table with the columns image, mask, and split, patient.")] = None,
) -> None:
    """Convert images and masks in the layout of another tool into a data folder."""
    from s2mnet.importing import import_data

    with progress_bar("importing") as progress:
        done = import_data(source, output, layout, pairs, progress)
    say(f"{source} is read as {done.layout.title} (--as {done.layout.name})")
    for note in done.notes:
        say(f"note: {note}")
    say(done.labels)
    say(f"{done.summary} in {done.folder}")


@app.command("export-data")
def export_data_folder(
    data: DataFolder,
    layout: Annotated[Literal["nnunet", "coco"], Option("--as", help="Layout to write.")],
    output: Annotated[Path, Option("--output", "-o", help="Folder to write.")],
) -> None:
    """Write a data folder in the layout of another tool, to try that tool on the same images and splits."""
    from s2mnet.dataexport import export_data

    with progress_bar("exporting") as progress:
        done = export_data(data, output, layout, progress)
    for note in done.notes:
        say(f"note: {note}")
    say(f"{', '.join(f'{count} {split}' for split, count in done.counts.items())} in {done.folder}")


@app.command()
def inspect(
    data: DataFolder,
    output: Annotated[
        Path | None, Option("--output", "-o", help="Folder for the page with pictures. Default: print only.")
    ] = None,
    labels: Labels = "auto",
) -> None:
    """Check a data folder before training: figures, pictures and problems, worst first. Exit status 1: an error."""
    from s2mnet.console import Console
    from s2mnet.fingerprint import inspect_folder
    from s2mnet.fingerprint.record import FILE
    from s2mnet.inspection import print_fingerprint, write_page

    with progress_bar("reading") as progress:
        fingerprint = inspect_folder(data, labels, progress)
    print_fingerprint(fingerprint, Console())
    if output:
        fingerprint.save(output / FILE)
        say(f"page: {write_page(fingerprint, data, output / 'inspection.html')}")
    if any(problem.severity == "error" for problem in fingerprint.problems):
        raise typer.Exit(1)


@app.command()
def train(
    data: DataFolder,
    output: Annotated[Path, Option("--output", "-o", help="Run folder to write: model, log, test metrics, report.")],
    preset: PresetOption = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    size: Annotated[int | None, Option(help="Side of the square input in px, at least 32. Default: planned.")] = None,
    extent: Annotated[
        Literal["whole", "patches"] | None, Option(help="Train on resized images or on patches. Default: planned.")
    ] = None,
    batch_size: Annotated[int | None, Option(help="Number of images per step. Default: 8.")] = None,
    lr: Annotated[float | None, Option(help="Peak learning rate. Default: set by the preset.")] = None,
    seed: Annotated[int | None, Option(help="Seed of all random numbers. Default: 42.")] = None,
    workers: Annotated[int | None, Option(help="Processes that load data. Default: 0 without a GPU.")] = None,
    precision: Annotated[
        Literal["auto", "float32", "bf16", "32"] | None,  # 32: what older versions called float32
        Option(help="Arithmetic of the network. auto: bf16 if the processor supports it. Default: auto."),
    ] = None,
    device: Device = "auto",
    labels: Labels = "auto",
    start: Start = None,
    plan: Annotated[Path | None, Option(help="Follow this plan.yaml; --minutes, --seed etc. override it.")] = None,
    resume: Annotated[bool, Option("--resume", help="Continue the run in --output.")] = False,
) -> None:
    """Train on a folder of images and masks, test the best model and write a report."""
    from s2mnet.workflow import run_training

    options: dict[str, Any] = dict(
        preset=preset, minutes=minutes, epochs=epochs, size=size, extent=extent, batch_size=batch_size, lr=lr,
        seed=seed, workers=workers, precision=precision, start=start,
    )  # fmt: skip
    with exit_on_interrupt("s2mnet train … --resume continues after the last finished epoch"):
        report = run_training(data, output, plan, labels, resume, device=device, **options)
    say(f"report: {report}")


@app.command()
def pretrain(
    corpus: Annotated[Path, Argument(help="Folder of data folders, each with images, masks and a dataset.yaml.")],
    output: Annotated[Path, Option("--output", "-o", help="Folder of the model to start from, and of its state.")],
    minutes: Annotated[float | None, Option(help="Stop after this time, counted from the first start.")] = None,
    steps: Annotated[int | None, Option(help="Stop after this many steps, counted from the first start.")] = None,
    size: Annotated[int, Option(help="Side of the square input in px, at least 32.")] = 128,
    batch_size: Annotated[int, Option(help="Number of images per step.")] = 8,
    seed: Annotated[int, Option(help="Seed of all random numbers.")] = 42,
    every: Annotated[int, Option(help="Number of steps between two measurements.")] = 500,
    resume: Annotated[bool, Option("--resume", help="Continue the pretraining in --output.")] = False,
) -> None:
    """Train one network on many data sets, as a model for `train --start`."""
    from s2mnet.pretraining.loop import Budget
    from s2mnet.pretraining.run import run_pretraining
    from s2mnet.workflow import command_line

    for option, value in (("--minutes", minutes), ("--steps", steps), ("--batch-size", batch_size), ("--every", every)):
        if value is not None and value <= 0:
            raise S2MNetError(f"{option} {value}", "is not above 0", "Choose a larger number.")
    with exit_on_interrupt("s2mnet pretrain … --resume continues"):
        page = run_pretraining(
            corpus, output, Budget(steps, minutes), resume, size, seed, batch_size, every, command_line()
        )
    say(f"page: {page}")


@app.command()
def plan(
    data: DataFolder,
    output: Annotated[Path | None, Option("--output", "-o", help="YAML file to write. Default: print only.")] = None,
    preset: PresetOption = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    device: Device = "auto",
    labels: Labels = "auto",
    start: Start = None,
) -> None:
    """Write what `train` would do, with reasons, to a YAML file that you can edit and pass to `train --plan`."""
    from s2mnet.workflow import write_plan

    write_plan(data, output, labels, device, preset=preset, minutes=minutes, epochs=epochs, start=start)
    if output:
        say(f"plan: {output}")


@app.command()
def predict(
    run: Annotated[Path, Argument(help="Run folder of `s2mnet train`.")],
    images: Annotated[Path, Argument(help="Folder of images or one DICOM series; or an image, NIfTI or DICOM file.")],
    output: Annotated[Path, Option("--output", "-o", help="Folder for masks/ and overlays/.")],
    overlays: Annotated[bool, Option(help="Also write each image with its mask drawn over it.")] = True,
    probabilities: Annotated[bool, Option("--probabilities", help="Also write probabilities as 16-bit PNG.")] = False,
    window: Annotated[
        tuple[float, float] | None,
        Option(help="Centre and width of the intensity window of a volume. Default: its own, else 0.5–99.5 %."),
    ] = None,
    shard: Annotated[
        str | None, Option(help="Predict only part i of n of a folder, such as 2/8; finished images are skipped.")
    ] = None,
    dicom_seg: Annotated[
        bool, Option("--dicom-seg", help="Also write the mask of a DICOM input as a DICOM Segmentation object.")
    ] = False,
    tta: Tta = None,
    device: Device = "auto",
    engine: Engine = "auto",
    precision: PrecisionOption = "float32",
) -> None:
    """Predict masks in the size of the images and the label values of the training masks; of a volume as NIfTI."""
    from s2mnet.data.cases import image_below
    from s2mnet.prediction import Predictor, predict_folder
    from s2mnet.volumes import is_volume, mask_stem, predict_volume

    _check_tta(tta)
    part = _shard(shard)
    volume = is_volume(images)
    if part and volume:
        raise S2MNetError("--shard", f"needs a folder of images; {images} is a volume", "Omit --shard.")
    if dicom_seg and not volume:
        raise S2MNetError(images, "is not a DICOM file or series, which --dicom-seg needs", "Omit --dicom-seg.")
    predictor = Predictor(run, device, engine, precision)
    if predictor.notice:
        say(f"note: {predictor.notice}", err=True)
    if volume:
        name = mask_stem(images)
        target, segmentation = output / f"{name}.nii.gz", output / f"{name}.seg.dcm" if dicom_seg else None
        with progress_bar("predicting") as progress:
            predict_volume(predictor, images, target, window, tta, progress, segmentation)
        say(f"mask: {target}" + (f" and {segmentation}" if segmentation else ""))
        return
    hint = f"finished masks are kept; the same command with --shard {shard or '1/1'} continues"
    with exit_on_interrupt(hint), progress_bar("predicting") as progress:
        done = predict_folder(predictor, images, output, overlays, probabilities, tta, progress, part)
    say(f"{len(done)} masks in {output / 'masks'}")
    if images.is_dir() and (skipped := image_below(images, leave_out=output)):
        which = f"{images}, such as {skipped.relative_to(images)}"
        say(f"note: images in subfolders of {which}, were not predicted; choose a subfolder", err=True)


@app.command()
def evaluate(
    source: Annotated[Path, Argument(help="Run folder of `s2mnet train`, or a folder of predicted masks.")],
    truth: Annotated[Path, Argument(help="Data folder, as for `train`, or a folder of true masks.")],
    output: Annotated[Path | None, Option("--output", "-o", help="Folder for metrics.json and metrics.csv.")] = None,
    split: Annotated[Literal["test", "val", "train", "all"], Option(help="Part of the data folder to use.")] = "test",
    tta: Tta = None,
    labels: Labels = "auto",
    device: Device = "auto",
    engine: Engine = "auto",
    precision: PrecisionOption = "float32",
) -> None:
    """Evaluate a trained model on a data folder, or predicted masks against true masks."""
    from s2mnet.console import Console
    from s2mnet.evaluation.results import save, table
    from s2mnet.workflow import evaluate_against

    _check_tta(tta)
    result = evaluate_against(source, truth, split, tta, labels, engine, precision, device)
    Console().print(table(result))
    if output:
        save(result, output)
        say(f"metrics: {output}")


@app.command()
def export(
    run: Annotated[Path, Argument(help="Run folder of `s2mnet train`.")],
    output: Annotated[Path, Option("--output", "-o", help="Folder to write; it must not exist.")],
    to: Annotated[
        Literal["onnx", "hub", "bundle"],
        Option(
            help="onnx: one file from the image to its mask. hub: a folder for the Hugging Face Hub. "
            "bundle: a MONAI bundle."
        ),
    ],
    images: Annotated[
        Path | None,
        Option(help="onnx: images on which to compare it with the model. Default: those of the run's test."),
    ] = None,
    pictures: Annotated[bool, Option(help="hub: show the best, median and worst test image in the model card.")] = True,
    push: Annotated[str | None, Option(help="hub: also upload the folder to this repository (user/model).")] = None,
) -> None:
    """Write a trained model for other programs, with its preprocessing."""
    from s2mnet.exporting.run import export_run

    for line in export_run(run, to, output, images, pictures, push):
        say(line)
    say(f"{to}: {output}")


@app.command()
def demo(
    output: Annotated[Path, Option("--output", "-o", help="Folder for the data and the run.")],
    minutes: Annotated[float, Option(help="Time budget for training.")] = 6.0,
) -> None:
    """Train on MRI slices from an installed package: grey and white matter of the MNI152 brain."""
    from s2mnet.demo import run_demo

    say(f"report: {run_demo(output, minutes).resolve()}")


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal()):
        raise S2MNetError("--shard", f"must be i/n with 1 ≤ i ≤ n; it is {text!r}", "For four parts, use 1/4 to 4/4.")
    return int(number), int(count)


def _check_tta(tta: int | None) -> None:
    if tta not in (None, 1, 4, 8):
        raise S2MNetError("--tta", f"must be 1, 4 or 8; it is {tta}", "Omit it to use the model's default.")


def main() -> None:
    """Entry point of ``s2mnet``."""
    run(app)
