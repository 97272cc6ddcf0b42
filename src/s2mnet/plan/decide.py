"""From what a data folder holds, and what the machine can do, to a plan; every decision with its reason."""

from __future__ import annotations

from typing import Any

from s2mnet.data import FolderSummary
from s2mnet.data.channels import COLOURS, GREY
from s2mnet.data.folder import MIN_SIDE
from s2mnet.errors import S2MNetError
from s2mnet.loss import DEFAULT_PULL_LIMIT, DEFAULT_WEIGHTING
from s2mnet.plan.machine import BYTES_PER_PIXEL, Machine
from s2mnet.plan.schema import Augmentation, Extent, Plan, Preprocessing, Preset, Training, checked_training

# On Kvasir-SEG (96², 150 steps of 8, MASL) validation Dice was 0.43 with this and 0.36 with the default strengths: a
# laptop's budget for whole images ends before stronger changes pay.
MILD_AUGMENTATION = Augmentation(
    rotate_p=0.3, rotate_degrees=30, scale_shift_p=0.5, elastic_p=0.0, light_p=0.4, brightness=0.1, contrast=0.2,
    noise_p=0.1,
)  # fmt: skip
PAPER_AUGMENTATION = Augmentation(
    rotate_p=1.0, scale=0.1, shift=0.0625, elastic_alpha=1, elastic_sigma=50, light_p=0.8, brightness=0.4, contrast=0.4,
    tint=0.0, noise_p=0.5, noise=0.05, dropout_p=0.3,
)  # fmt: skip
SAMPLES_PER_EPOCH = 800  # enough steps between two validations that these do not take over a small set's training
THIN_PX = 2.5  # what is thinner than this in the input is hardly more than the 2 px that a grid can show at all
MILD_VISITS = 100  # of each image; below this the changes of the mild augmentation are enough
GREEN_GAIN = 1.1  # how much better than red and blue the green channel must show thin structures to be taken alone
DEFAULT_MINUTES = 30.0


def make_plan(
    summary: FolderSummary,
    preset: Preset | None = None,
    size: int | None = None,
    extent: Extent | None = None,
    machine: Machine | None = None,
    **training: Any,
) -> Plan:
    """Decide how to train on a folder.

    Args:
        summary: what :func:`s2mnet.data.read_folder` found.
        preset: "default", for a small budget, or "paper" (SPEC 3); None takes "default".
        size: side of the square input; None decides.
        extent: "whole" or "patches"; None decides by the thickness of the foreground.
        machine: where training is going to run; None supposes a CPU of unknown speed.
        training: fields of :class:`Training`, over the preset's own.

    Raises:
        S2MNetError: a size below 32, or a training field out of its range.
    """
    preset, machine = preset or "default", machine or Machine()
    reasons = {"labels": summary.label_rule} if summary.label_rule else {}
    extent, size = _extent_and_size(summary, preset, size, extent, machine, reasons)
    preprocessing = _preprocessing(summary, preset, extent, size, reasons)
    schedule = _schedule(summary, preset, preprocessing, machine, training, reasons)
    visits = _expected_visits(summary, schedule, preprocessing, machine, reasons)
    augmentation = _augmentation(preset, extent, visits, machine, reasons)
    reasons["head"] = "stem: it keeps features at full resolution, which thin structures need (SPEC 1)"
    paper = preset == "paper"
    reasons["branch_scale"] = "1: the paper's" if paper else "0.1: each SSTM grows in, which validates best"
    reasons["tta"] = (
        "8 flips and quarter turns: the paper's" if paper else "4 flips: quarter turns too (8) take twice the time"
    )
    return Plan(
        reasons=reasons,
        labels=summary.label_map,
        preprocessing=preprocessing,
        augmentation=augmentation,
        network={"head": "stem", "branch_scale": 1.0 if paper else 0.1},
        loss_options={
            "weighting": "learned" if paper else DEFAULT_WEIGHTING,
            "pull_limit": None if paper else DEFAULT_PULL_LIMIT,
        },
        training=schedule,
        tta=8 if paper else 4,
    )


def _extent_and_size(
    summary: FolderSummary, preset: Preset, size: int | None, extent: Extent | None, machine: Machine,
    reasons: dict[str, str],
) -> tuple[Extent, int]:  # fmt: skip
    whole_size = size or (352 if preset == "paper" else 256 if machine.gpu else 128)
    height, width = summary.height[1], summary.width[1]
    left = summary.thickness_px * whole_size / max(height, width)
    measured = (
        f"{summary.thinnest} is {summary.thickness_px:.1f} px thick in images of {height:.0f}×{width:.0f} px and would "
        f"be {left:.1f} px thick after resizing to {whole_size}×{whole_size}"
    )
    if extent is not None:
        reasons["extent"] = f"{extent}: asked for"
    elif left >= THIN_PX:
        extent, reasons["extent"] = "whole", f"whole: {measured}; it survives that"
    elif min(height, width) > whole_size:
        extent, reasons["extent"] = "patches", f"patches: {measured}; below {THIN_PX:g} px it is lost"
    else:
        extent, reasons["extent"] = "whole", f"whole: {measured}; the images are hardly larger than that"
    if size is None:
        size = whole_size if extent == "whole" else 256 if preset == "paper" or machine.gpu else 128
        reasons["size"] = f"{size}×{size}: the {preset} preset, {extent}, on {'a GPU' if machine.gpu else 'a CPU'}"
    else:
        reasons["size"] = f"{size}×{size}: asked for"
    if size < MIN_SIDE:
        raise S2MNetError("--size", f"{size}", f"at least {MIN_SIDE} pixels", "Choose a larger size.")
    return extent, size


def _preprocessing(
    summary: FolderSummary, preset: Preset, extent: Extent, size: int, reasons: dict[str, str]
) -> Preprocessing:
    channels, equalise = list(COLOURS) if summary.channels == 3 else [GREY], False
    if summary.stored:
        channels = list(summary.stored)
        reasons["channels"] = f"{', '.join(channels)}: as dataset.yaml names them"
    elif summary.channels == 1:
        reasons["channels"] = "grey: every image is grey"
    elif extent == "patches" and (fundus := _fundus(summary)):
        channels, equalise = ["green"], True
        reasons["channels"] = f"green with CLAHE: {fundus}"
    else:
        reasons["channels"] = "colour: the images are"
    each = extent == "whole" and preset == "default"
    reasons["normalisation"] = (
        "image: each by itself takes away what differs between lamps and scanners"
        if each
        else "dataset: all alike, by the training images' mean and deviation (before any CLAHE)"
    )
    places = [COLOURS.index(name) for name in channels] if channels[0] in COLOURS else range(len(channels))
    return Preprocessing(
        extent=extent,
        size=(size, size),
        channels=channels,
        stored=summary.stored,
        neighbours=summary.neighbours,
        orientation=summary.orientation,
        clahe=equalise,
        normalisation="image" if each else "dataset",
        mean=[] if each else [summary.mean[place] for place in places],
        std=[] if each else [summary.std[place] for place in places],
    )


def _fundus(summary: FolderSummary) -> str:
    """Why thin structures in colour are taken for vessels of the retina; empty if they are not."""
    if summary.modality:
        return f"the data set is of {summary.modality}" if "fundus" in summary.modality.lower() else ""
    red, green, blue = summary.contrast if len(summary.contrast) == 3 else (0.0, 0.0, 0.0)
    if green <= GREEN_GAIN * max(red, blue):
        return ""
    return (
        f"the thin foreground stands out from its surroundings by {green:.2f} deviations in green, {red:.2f} in red "
        f"and {blue:.2f} in blue, as vessels of the retina do"
    )


def _schedule(
    summary: FolderSummary, preset: Preset, preprocessing: Preprocessing, machine: Machine, asked: dict[str, Any],
    reasons: dict[str, str],
) -> Training:  # fmt: skip
    count, patches = summary.counts["train"], preprocessing.extent == "patches"
    base: dict[str, Any] = dict(repeats=-(-SAMPLES_PER_EPOCH // count))
    if preset == "paper":
        base = dict(
            preset="paper", epochs=150, optimiser="adam", lr=1e-4, warmup=10 / 150, patience=50,
            repeats=30 if count < 100 and not patches else 1, stride=32 if patches else 0,
        )  # fmt: skip
    fields = base | {name: value for name, value in asked.items() if value is not None}
    if fields.get("steps") and not asked.get("epochs"):
        fields.pop("epochs", None)  # of the preset
    if all(fields.get(length) is None for length in ("minutes", "epochs", "steps")):
        fields["minutes"] = DEFAULT_MINUTES
        reasons["minutes"] = f"{DEFAULT_MINUTES:g}: no budget was given (--minutes, --epochs)"
    if "batch_size" not in fields:
        wanted = 16 if machine.gpu and preset == "default" else 8
        pixels = preprocessing.size[0] * preprocessing.size[1]
        fields["batch_size"] = min(wanted, machine.batch_that_fits(pixels))
        need = fields["batch_size"] * pixels * BYTES_PER_PIXEL / 2**30
        free = f"{machine.memory / 2**30:.0f} GiB of free memory"
        fits = "" if fields["batch_size"] == wanted else f", and {wanted} would not fit in half of it"
        reasons["batch_size"] = f"{fields['batch_size']}: a step needs about {need:.1f} of {free}{fits}"
    if "workers" not in fields and machine.gpu:
        fields["workers"] = min(8, max(0, machine.cores - 1))
        reasons["workers"] = f"{fields['workers']}: a GPU would wait for one process that loads"
    return checked_training(fields)


def _expected_visits(
    summary: FolderSummary, training: Training, preprocessing: Preprocessing, machine: Machine, reasons: dict[str, str]
) -> float | None:
    """How often each training image is going to be seen; None if nobody can say."""
    count, pixels = summary.counts["train"], preprocessing.size[0] * preprocessing.size[1]
    visits = [float(training.epochs * training.repeats)] if training.epochs else []
    visits += [training.steps * training.batch_size / count] if training.steps else []
    if training.minutes and machine.speed:
        visits.append(training.minutes * 60 * machine.speed / pixels / count)
    if not visits:
        return None
    expected = min(visits)
    steps = expected * count / training.batch_size
    seen = "windows" if preprocessing.extent == "patches" else "visits"
    measured = f", at {machine.speed / 1e6:.2f} megapixels a second" if machine.speed else ""
    reasons["steps"] = f"about {steps:,.0f} of {training.batch_size}, {expected:.0f} {seen} of each image{measured}"
    return expected


def _augmentation(
    preset: Preset, extent: Extent, visits: float | None, machine: Machine, reasons: dict[str, str]
) -> Augmentation:
    if preset == "paper":
        reasons["augmentation"] = "the paper's"
        return PAPER_AUGMENTATION
    few = visits < MILD_VISITS if visits is not None else not machine.gpu
    if extent == "whole" and few:
        reasons["augmentation"] = "mild: the budget for whole images ends before a stronger one pays"
        return MILD_AUGMENTATION
    reasons["augmentation"] = "strong: " + (
        "windows of few images repeat" if extent == "patches" else "each image is going to be seen many times"
    )
    return Augmentation()
