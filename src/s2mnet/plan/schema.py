"""The plan: everything decided before training, in one short file that a person can read and edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from s2mnet.data import FolderSummary, LabelMap
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.loss.weights import DEFAULT_WEIGHTING
from s2mnet.yamlfile import read_yaml

Preset = Literal["default", "paper"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(_Section):
    """How an image becomes the network's input: the same in training, validation and prediction.

    Attributes:
        extent: "whole": the image is resized to ``size`` (Lanczos), the result resized back. "patches": windows of
            ``size`` at the image's own resolution. Either way the network predicts at the extent it was trained at,
            since a frequency of its spectral filters is in cycles per map (SPEC 1.1).
        size: height and width of the input in pixels, each at least 32.
        channels: 1 grey, 3 colour.
        normalisation: each channel to mean 0 and deviation 1, "image": of each input (whole image or window), which
            takes away what differs between lamps and scanners; "dataset": over all training images.
        mean, std: of the training images in 0..1, per channel.
    """

    extent: Literal["whole", "patches"]
    size: tuple[int, int]
    channels: Literal[1, 3]
    normalisation: Literal["image", "dataset"] = "dataset"
    mean: list[float]
    std: list[float]


class Augmentation(_Section):
    """Random changes of a training sample; strengths as in SPEC 3, probabilities in 0..1.

    Attributes:
        rotate_p, rotate_degrees: uniform rotation.
        flip_p: of each of the two flips.
        scale_shift_p, scale, shift: zoom by a factor in 1 ± scale and shift by ± a share of the extent.
        elastic_p, elastic_alpha, elastic_sigma: displacement by noise in ±alpha smoothed by a Gaussian of sigma pixels.
        light_p, brightness, contrast: add ± brightness, multiply the difference to the mean by 1 ± contrast.
        tint: multiply each colour channel by 1 ± tint, with probability ``light_p``.
        noise_p, noise: Gaussian noise of standard deviation up to ``noise``.
        dropout_p: coarse dropout: up to 8 rectangles of at most 1/8 of the side are set to the mean.
    """

    rotate_p: float = 0.7
    rotate_degrees: float = 180
    flip_p: float = 0.5
    scale_shift_p: float = 0.7
    scale: float = 0.25
    shift: float = 0.1
    elastic_p: float = 0.3
    elastic_alpha: float = 500
    elastic_sigma: float = 25
    light_p: float = 0.7
    brightness: float = 0.2
    contrast: float = 0.3
    tint: float = 0.1
    noise_p: float = 0.2
    noise: float = 0.05
    dropout_p: float = 0.0


# On Kvasir-SEG (96², 150 steps of 8, MASL) validation Dice was 0.43 with this and 0.36 with the strengths above: a
# laptop's budget for whole images ends before stronger changes pay.
MILD_AUGMENTATION = Augmentation(
    rotate_p=0.3, rotate_degrees=30, scale_shift_p=0.5, elastic_p=0.0, light_p=0.4, brightness=0.1, contrast=0.2,
    noise_p=0.1,
)  # fmt: skip
PAPER_AUGMENTATION = Augmentation(
    rotate_p=1.0,
    scale=0.1,
    shift=0.0625,
    elastic_alpha=1,
    elastic_sigma=50,
    light_p=0.8,
    brightness=0.4,
    contrast=0.4,
    tint=0.0,
    noise_p=0.5,
    noise=0.05,
    dropout_p=0.3,
)


class Training(_Section):
    """Optimiser, schedule and budget.

    Attributes:
        minutes: budget of wall-clock time; the schedule follows the time that has passed.
        epochs: number of epochs; the schedule follows the steps. With both, whichever comes first.
        repeats: how often an epoch visits each training image.
        optimiser: "adam" has its weight decay in the gradient (SPEC 3), "adamw" beside it.
        warmup: share of the schedule spent on a linear warm-up; then cosine down to ``min_lr``.
        patience: epochs without gain in validation Dice after which training stops; 0 never.
        precision: "auto" takes bf16 where the processor multiplies it natively, else float32.
        workers: processes that load data; 0 loads in the main process.
    """

    preset: Preset = "default"
    seed: int = 42
    minutes: float | None = Field(None, gt=0)
    epochs: int | None = Field(None, ge=1)
    batch_size: int = Field(8, ge=1)
    repeats: int = Field(1, ge=1)
    optimiser: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    min_lr: float = Field(1e-6, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    clip: float = Field(1.0, gt=0)
    patience: int = Field(0, ge=0)
    precision: Literal["auto", "32", "bf16"] = "auto"
    workers: int = Field(0, ge=0)


class Plan(_Section):
    """What ``s2mnet train`` is going to do.

    Attributes:
        labels: what the mask values mean.
        preprocessing, augmentation, training: see there.
        network: arguments of :class:`s2mnet.S2MNet` beyond channels and classes.
        loss: "masl" with the arguments of :class:`s2mnet.MASL`, or "dice_ce" (plain Dice + cross-entropy).
        tta: transforms averaged when testing and predicting: 1, 4 (flips) or 8 (flips and quarter turns).
        reasons: one sentence for each decision.
    """

    labels: LabelMap
    preprocessing: Preprocessing
    augmentation: Augmentation = Augmentation()
    training: Training = Training()
    network: dict[str, Any] = {}
    loss: Literal["masl", "dice_ce"] = "masl"
    loss_options: dict[str, Any] = {}
    tta: Literal[1, 4, 8] = 1
    reasons: list[str] = []

    def save(self, path: Path) -> None:
        """Write the plan as YAML, atomically."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_atomically(path, text.encode())

    def with_training(self, **changes: Any) -> Plan:
        """The plan with other fields of :class:`Training`; a change to None is none.

        Raises:
            S2MNetError: a field out of its range.
        """
        changed = self.training.model_dump() | {name: value for name, value in changes.items() if value is not None}
        return self.model_copy(update={"training": _checked_training(changed)})

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan.

        Raises:
            S2MNetError: the file is missing, no YAML, or says something a plan cannot say.
        """
        mend = "Correct that line, or leave the file away to have a plan made."
        return read_yaml(Path(path), cls, "a plan in YAML", mend)


SAMPLES_PER_EPOCH = 800  # enough steps between two validations that these do not take over a small set's training
THIN_PX = 3.0  # foreground thinner than this in the network's input is lost to resizing


def make_plan(
    summary: FolderSummary,
    preset: Preset | None = None,
    size: int | None = None,
    extent: Literal["whole", "patches"] | None = None,
    on_gpu: bool = False,
    **training: Any,
) -> Plan:
    """Decide how to train on a folder.

    Args:
        summary: what :func:`s2mnet.data.read_folder` found.
        preset: "default", for a small budget, or "paper" (SPEC 3); None takes "default".
        size: side of the square input; None decides.
        extent: "whole" or "patches"; None decides by the thickness of the foreground.
        on_gpu: whether training runs on a GPU.
        training: fields of :class:`Training`, over the preset's own.

    Raises:
        S2MNetError: a size below 32, or a training field out of its range.
    """
    reasons, preset = [], preset or "default"
    side = min(summary.height[1], summary.width[1])
    whole_size = 352 if preset == "paper" else 256 if on_gpu else 128
    thin = summary.thickness_px * (size or whole_size) / max(summary.height[1], summary.width[1]) < THIN_PX
    if extent is None:
        extent = "patches" if thin and side > (size or whole_size) else "whole"
        reasons.append(
            f"{extent}: the foreground is {summary.thickness_px:.1f} px thick in images of "
            f"{summary.height[1]:.0f}×{summary.width[1]:.0f} px; "
            + ("resizing would lose it" if extent == "patches" else "it survives resizing")
        )
    if size is None:
        size = (256 if preset == "paper" or on_gpu else 128) if extent == "patches" else whole_size
        reasons.append(f"input {size}×{size} px: the {preset} preset on {'a GPU' if on_gpu else 'a CPU'}")
    if size < 32:
        raise S2MNetError("--size", f"{size}", "at least 32 pixels", "Choose a larger size.")
    count = summary.counts["train"]
    if preset == "paper":
        base: dict[str, Any] = dict(
            preset="paper", epochs=150, optimiser="adam", lr=1e-4, warmup=10 / 150, patience=50,
            repeats=30 if count < 100 else 1,
        )  # fmt: skip
    else:
        base = dict(repeats=-(-SAMPLES_PER_EPOCH // count))
    each = extent == "whole" and preset == "default"
    mild = each and not on_gpu
    if mild:
        reasons.append("mild augmentation: a CPU's budget for whole images ends before a stronger one pays")
    if each:
        reasons.append("each image normalised by itself: it takes away what differs between lamps and scanners")
    training = base | {name: value for name, value in training.items() if value is not None}
    if training.get("minutes") is None and training.get("epochs") is None:
        training["minutes"] = 30.0
        reasons.append("30 minutes: no budget was given (--minutes, --epochs)")
    preprocessing = Preprocessing(
        extent=extent,
        size=(size, size),
        channels=summary.channels,
        normalisation="image" if each else "dataset",
        mean=summary.mean,
        std=summary.std,
    )
    return Plan(
        labels=summary.label_map,
        preprocessing=preprocessing,
        augmentation=PAPER_AUGMENTATION if preset == "paper" else MILD_AUGMENTATION if mild else Augmentation(),
        loss_options={"weighting": "learned" if preset == "paper" else DEFAULT_WEIGHTING},
        training=_checked_training(training),
        tta=8 if preset == "paper" else 4,
        reasons=reasons,
    )


def _checked_training(fields: dict[str, Any]) -> Training:
    try:
        return Training(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise S2MNetError(option, repr(first["input"]), first["msg"], "Choose another value.") from None
