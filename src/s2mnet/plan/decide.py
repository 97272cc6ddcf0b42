"""From the fingerprint of a data folder, and the machine, to a plan; every decision with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from s2mnet.data.channels import COLOURS, GREY
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import Fingerprint
from s2mnet.fingerprint.record import AXES
from s2mnet.loss import DEFAULT_PULL_LIMIT, DEFAULT_WEIGHTING
from s2mnet.plan.machine import Machine, bytes_per_pixel
from s2mnet.plan.resolution import extent_and_size
from s2mnet.plan.schema import (
    IMAGENET,
    IMAGENET_NETWORK,
    NO_START,
    PAPER_ENCODER,
    Augmentation,
    Extent,
    Plan,
    Preprocessing,
    Preset,
    Training,
    checked_training,
)

# On Kvasir-SEG (96², 150 steps of 8, MASL) validation Dice was 0.43 with this and 0.36 with the default strengths: a
# laptop's budget for whole images ends before stronger augmentation helps.
MILD_AUGMENTATION = Augmentation(
    rotate_p=0.3, rotate_degrees=30, scale_shift_p=0.5, elastic_p=0.0, light_p=0.4, brightness=0.1, contrast=0.2,
    noise_p=0.1,
)  # fmt: skip
PAPER_AUGMENTATION = Augmentation(
    rotate_p=1.0, scale=0.1, shift=0.0625, elastic_alpha=1, elastic_sigma=50, light_p=0.8, brightness=0.4, contrast=0.4,
    tint=0.0, noise_p=0.5, noise=0.05, dropout_p=0.3,
)  # fmt: skip
# A pretrained encoder has less to learn than the rest, whose random weights need a high rate: studies/recipe.yaml.
FINE_TUNING = dict(lr=3e-3, encoder_lr=0.3)
SAMPLES_PER_EPOCH = 800  # so that validation does not dominate the training of a small set
MILD_VISITS = 100  # of each image; with fewer, the mild augmentation is enough
GREEN_GAIN = 1.1  # factor by which green must show thin structures better than red and blue to be used alone
DEFAULT_MINUTES = 30.0
UPRIGHT = 30  # degrees: at most, where classes differ in their side, so that none gets to the other's


def make_plan(
    fingerprint: Fingerprint,
    preset: Preset | None = None,
    size: int | None = None,
    extent: Extent | None = None,
    machine: Machine | None = None,
    start: str | None = None,
    **training: Any,
) -> Plan:
    """Decide how to train on a folder.

    Args:
        fingerprint: of the folder, from :func:`s2mnet.fingerprint.read_folder` or a file of ``s2mnet inspect``.
        preset: "default", for a small budget, or "paper" (SPEC 3). None: "default".
        size: side of the square input. None: decided.
        extent: "whole" or "patches". None: decided by the thickness of the foreground.
        machine: the machine that trains. None: a CPU of unknown speed.
        start: the first weights, see :class:`Plan`; of a model, :mod:`s2mnet.training.start` takes the network, too.
            None: "imagenet" for the default preset, "none" for the paper's.
        training: fields of :class:`Training` that override the preset.

    Raises:
        S2MNetError: the folder has errors; a size below 32, or a training field out of its range.
    """
    preset, machine = preset or "default", machine or Machine()
    fingerprint.raise_errors()
    if fingerprint.label_map is None:
        raise S2MNetError(fingerprint.name, "has no images with masks", "Inspect a folder with images and masks.")
    reasons = {"labels": fingerprint.label_rule} if fingerprint.label_rule else {}
    start = _start(preset, start, reasons)
    extent, size = extent_and_size(fingerprint, preset, size, extent, machine, _pixels(training, machine), reasons)
    preprocessing = _preprocessing(fingerprint, preset, extent, size, reasons)
    schedule = _schedule(fingerprint, preset, preprocessing, machine, start, training, reasons)
    visits = _expected_visits(fingerprint, schedule, preprocessing, machine, reasons)
    augmentation = _augmentation(fingerprint, preset, extent, visits, machine, reasons)
    reasons["head"] = "stem: keeps features at full resolution, which thin structures need (SPEC 1)"
    paper = preset == "paper"
    reasons["branch_scale"] = "1: as in the paper" if paper else "0.1: each SSTM starts small, which validates best"
    tta: Literal[1, 4, 8] = 1 if fingerprint.sides else 8 if paper else 4
    reasons["tta"] = {
        1: "1: mirrored views would swap the sides",
        4: "4 flips: with quarter turns (8) it takes twice the time",
        8: "8 flips and quarter turns: as in the paper",
    }[tta]
    return Plan(
        reasons=reasons,
        labels=fingerprint.label_map,
        preprocessing=preprocessing,
        augmentation=augmentation,
        network={
            "head": "stem",
            "branch_scale": 1.0 if paper else 0.1,
            **(IMAGENET_NETWORK if start == IMAGENET else {}),
        },
        start=start,
        loss_options={
            "weighting": "learned" if paper else DEFAULT_WEIGHTING,
            "pull_limit": None if paper else DEFAULT_PULL_LIMIT,
        },
        training=schedule,
        tta=tta,
    )


def default_start(preset: Preset | None) -> str:
    """The first weights that a plan takes unless others are requested."""
    return NO_START if preset == "paper" else IMAGENET


def encoder_of(start: str) -> str:
    """The encoder of the network that these first weights need, as far as no folder has to be read."""
    return IMAGENET_NETWORK["encoder"] if start == IMAGENET else PAPER_ENCODER


def _start(preset: Preset, asked: str | None, reasons: dict[str, str]) -> str:
    start = asked or default_start(preset)
    why = "requested" if asked else "the paper's network starts from random weights"
    if start == IMAGENET and not asked:
        why = "an encoder trained on photographs validates far better after minutes of training than random weights"
    reasons["start"] = f"{start}: {why}"
    if start == IMAGENET:
        reasons["encoder"] = "lite0: EfficientNet-Lite0, for which the weights are; --start none trains the paper's"
    return start


def _pixels(asked: Mapping[str, Any], machine: Machine) -> float | None:
    """Pixels that a budget of minutes is enough for; None where the budget or the speed is none of time."""
    counted = asked.get("epochs") or asked.get("steps")
    if counted or machine.speed is None:
        return None
    return float(asked.get("minutes") or DEFAULT_MINUTES) * 60 * machine.speed


def _preprocessing(
    fingerprint: Fingerprint, preset: Preset, extent: Extent, size: int, reasons: dict[str, str]
) -> Preprocessing:
    channels, equalise = list(COLOURS) if fingerprint.channels == 3 else [GREY], False
    if fingerprint.stored:
        channels = list(fingerprint.stored)
        reasons["channels"] = f"{', '.join(channels)}: as dataset.yaml names them"
    elif fingerprint.channels == 1:
        reasons["channels"] = "grey: every image is grey"
    elif extent == "patches" and (fundus := _fundus(fingerprint)):
        channels, equalise = ["green"], True
        reasons["channels"] = f"green with CLAHE: {fundus}"
    else:
        reasons["channels"] = "colour: the images are in colour"
    each = extent == "whole" and preset == "default"
    reasons["normalisation"] = (
        "image: separately, which removes differences between lamps and scanners"
        if each
        else "dataset: all alike, by mean and deviation of the training images (before any CLAHE)"
    )
    places = [COLOURS.index(name) for name in channels] if channels[0] in COLOURS else range(len(channels))
    return Preprocessing(
        extent=extent,
        size=(size, size),
        channels=channels,
        stored=fingerprint.stored,
        neighbours=fingerprint.dataset.neighbours,
        orientation=fingerprint.dataset.orientation,
        clahe=equalise,
        normalisation="image" if each else "dataset",
        mean=[] if each else [fingerprint.intensity[place].mean for place in places],
        std=[] if each else [fingerprint.intensity[place].std for place in places],
    )


def _fundus(fingerprint: Fingerprint) -> str:
    """Why thin structures in colour are assumed to be vessels of the retina; empty if they are not."""
    if modality := fingerprint.dataset.modality:
        return f"the data set is of {modality}" if "fundus" in modality.lower() else ""
    red, green, blue = fingerprint.contrast if len(fingerprint.contrast) == 3 else (0.0, 0.0, 0.0)
    if green <= GREEN_GAIN * max(red, blue):
        return ""
    return (
        f"the thin foreground differs from its surroundings by {green:.2f} deviations in green, {red:.2f} in red and "
        f"{blue:.2f} in blue, as vessels of the retina do"
    )


def _schedule(
    fingerprint: Fingerprint, preset: Preset, preprocessing: Preprocessing, machine: Machine, start: str,
    asked: dict[str, Any], reasons: dict[str, str],
) -> Training:  # fmt: skip
    count, patches = fingerprint.counts["train"], preprocessing.extent == "patches"
    base: dict[str, Any] = dict(repeats=-(-SAMPLES_PER_EPOCH // count)) | (FINE_TUNING if start == IMAGENET else {})
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
        outputs = fingerprint.label_map.num_outputs if fingerprint.label_map else 1
        fields["batch_size"] = min(wanted, machine.batch_that_fits(pixels, outputs))
        need = fields["batch_size"] * pixels * bytes_per_pixel(outputs) / 2**30
        free = f"{machine.memory / 2**30:.0f} GiB of free memory"
        fits = "" if fields["batch_size"] == wanted else f", and {wanted} would not fit in half of it"
        reasons["batch_size"] = f"{fields['batch_size']}: a step needs about {need:.1f} of {free}{fits}"
    if "workers" not in fields and machine.gpu:
        fields["workers"] = machine.workers
        reasons["workers"] = f"{machine.workers}: a GPU would wait for a single process that loads data"
    return checked_training(fields)


def _expected_visits(
    fingerprint: Fingerprint, training: Training, preprocessing: Preprocessing, machine: Machine,
    reasons: dict[str, str],
) -> float | None:  # fmt: skip
    """Expected number of visits of each training image; None if unknown."""
    count, pixels = fingerprint.counts["train"], preprocessing.size[0] * preprocessing.size[1]
    visits = [float(training.epochs * training.repeats)] if training.epochs else []
    visits += [training.steps * training.batch_size / count] if training.steps else []
    if training.minutes and machine.speed:
        visits.append(training.minutes * 60 * machine.speed / pixels / count)
    if not visits:
        return None
    expected = min(visits)
    steps = expected * count / training.batch_size
    seen = "windows" if preprocessing.extent == "patches" else "visits"
    measured = f", at {machine.speed / 1e6:.2f} megapixels per second" if machine.speed else ""
    reasons["steps"] = f"about {steps:,.0f} of {training.batch_size}, {expected:.0f} {seen} of each image{measured}"
    return expected


def _augmentation(
    fingerprint: Fingerprint, preset: Preset, extent: Extent, visits: float | None, machine: Machine,
    reasons: dict[str, str],
) -> Augmentation:  # fmt: skip
    strength = _strength(preset, extent, visits, machine, reasons)
    if not fingerprint.sides:
        return strength
    pair, mirrored = fingerprint.sides[0], {pair.axis for pair in fingerprint.sides}
    order = "left to right" if pair.axis == "columns" else "top to bottom"
    reasons["mirroring"] = (
        f"off along {' and '.join(sorted(mirrored))}, turns up to {UPRIGHT}°: {pair.first} and {pair.second} have one "
        f"shape and the same order from {order} in {pair.masks} masks; mirrored images would swap them"
    )
    changes = {
        "flip_axes": [axis for axis in AXES if axis not in mirrored],
        "rotate_degrees": min(UPRIGHT, strength.rotate_degrees),
    }
    return strength.model_copy(update=changes)


def _strength(
    preset: Preset, extent: Extent, visits: float | None, machine: Machine, reasons: dict[str, str]
) -> Augmentation:
    if preset == "paper":
        reasons["augmentation"] = "as in the paper"
        return PAPER_AUGMENTATION
    few = visits < MILD_VISITS if visits is not None else not machine.gpu
    if extent == "whole" and few:
        reasons["augmentation"] = "mild: the budget for whole images ends before a stronger one helps"
        return MILD_AUGMENTATION
    reasons["augmentation"] = "strong: " + (
        "windows of few images repeat" if extent == "patches" else "each image will be seen many times"
    )
    return Augmentation()
