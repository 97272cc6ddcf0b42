"""The fields of a plan, in sections, each with the sentence that explains it in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from s2mnet.data import LabelMap
from s2mnet.data.channels import COLOURS, GREY
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.fingerprint.record import AXES, Axis
from s2mnet.plan.commented import to_yaml
from s2mnet.yamlfile import read_yaml

Preset = Literal["default", "paper"]
Extent = Literal["whole", "patches"]
MAX_SIDE = 8192  # px; beyond it a single image of the first stage takes gigabytes
Side = Annotated[int, Field(ge=32, le=MAX_SIDE)]
Share = Annotated[float, Field(ge=0, le=1)]
NO_START, IMAGENET = "none", "imagenet"
IMAGENET_NETWORK = {"encoder": "lite0"}  # arguments of the network that the ImageNet weights need
STEPS_FROM = {"minutes", "epochs", "steps", "repeats", "batch_size"}  # the estimate of the steps depends on these


class Section(BaseModel):
    """Immutable fields; unknown ones are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _channel_names(value: Any) -> Any:
    return {1: [GREY], 3: list(COLOURS)}.get(value, value) if isinstance(value, int) else value


def described(default: Any, description: str, **limits: Any) -> Any:
    """A field with its default, its limits and the sentence that explains it."""
    return Field(default, description=description, **limits)


class Preprocessing(Section):
    """How an image becomes the network's input, in training, validation and prediction alike.

    The network always predicts at the extent it was trained at, since the frequencies of its spectral filters are in
    cycles per map (SPEC 1.1).
    """

    extent: Extent = described(..., "whole: resized images; patches: windows of size at the images' own resolution")
    size: tuple[Side, Side] = described(..., "height and width of the input in pixels, each at least 32")
    channels: Annotated[list[str], BeforeValidator(_channel_names)] = described(
        ..., "inputs of the network: grey; red, green, blue or some of them; or names from stored", min_length=1
    )
    stored: list[str] = described([], "names of the channels of image files that are neither grey nor colour")
    neighbours: int = described(0, "slices on either side that prepare added as channels", ge=0, le=64)
    orientation: str = described(
        "", "directions of slices, rows and columns of a volume, as in SPL; empty: by its voxel sizes"
    )
    clahe: bool = described(False, "contrast-limited adaptive histogram equalisation (clip 2, 8×8 tiles)")
    normalisation: Literal["image", "dataset"] = described(
        "dataset", "to mean 0 and deviation 1. image: each input separately; dataset: by mean and std"
    )
    mean: list[Share] = described([], "of the training images in 0..1, one number per channel")
    std: list[Share] = described([], "standard deviation of the training images, likewise")

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessing:
        known = self.stored or [GREY, *COLOURS]
        strange = [name for name in self.channels if name not in known]
        if strange:
            raise ValueError(f"no channel is called {strange[0]!r}; the channels are {', '.join(known)}")
        if self.normalisation == "dataset" and not len(self.mean) == len(self.std) == len(self.channels):
            raise ValueError("mean and std need one number per channel, or use normalisation: image")
        return self


class Augmentation(Section):
    """Random changes of a training sample; strengths as in SPEC 3, probabilities in 0..1."""

    rotate_p: Share = described(0.7, "probability of a rotation")
    rotate_degrees: float = described(180, "largest angle either way, in degrees", ge=0, le=180)
    flip_p: Share = described(0.5, "probability of each flip")
    flip_axes: list[Axis] = described(list(AXES), "rows: upside down; columns: left and right")
    scale_shift_p: Share = described(0.7, "probability of a zoom and a shift")
    scale: Share = described(0.25, "zoom by a factor in 1 ± scale")
    shift: Share = described(0.1, "shift by up to this share of the extent")
    elastic_p: Share = described(0.3, "probability of bending")
    elastic_alpha: float = described(500, "by noise within ± alpha pixels …", ge=0, le=100000)
    elastic_sigma: float = described(25, "… smoothed by a Gaussian of this sigma in pixels", ge=0, le=1000)
    light_p: Share = described(0.7, "probability of a change of brightness, contrast and tint")
    brightness: float = described(0.2, "add up to ± this (images are 0..1)", ge=0, le=10)
    contrast: float = described(0.3, "multiply the difference to the mean by 1 ± this", ge=0, le=10)
    tint: float = described(0.1, "multiply each colour channel by 1 ± this", ge=0, le=10)
    noise_p: Share = described(0.2, "probability of Gaussian noise")
    noise: float = described(0.05, "largest deviation of that noise", ge=0, le=10)
    dropout_p: Share = described(0.0, "probability of coarse dropout, up to 8 rectangles of at most 1/8 of the side")

    @property
    def both_flips(self) -> bool:
        """Whether images may be mirrored along both axes, as test-time transforms do."""
        return set(self.flip_axes) == set(AXES)


class Training(Section):
    """Optimiser, schedule and budget."""

    preset: Preset = described("default", "default, or paper (the authors' schedule)")
    seed: int = described(42, "seed of all random numbers", ge=0, le=2**32 - 1)
    minutes: float | None = described(None, "budget of wall-clock time; the schedule follows it", gt=0, le=10**6)
    epochs: int | None = described(None, "number of epochs; with minutes, whichever comes first", ge=1, le=10**9)
    steps: int | None = described(
        None, "number of steps; with minutes or epochs, whichever comes first", ge=1, le=10**9
    )
    batch_size: int = described(8, "images or windows per step", ge=1, le=10**6)
    repeats: int = described(1, "visits of each training image in an epoch", ge=1, le=10**6)
    stride: int = described(
        0, "patches: pixels between windows, each visited once per epoch; 0: at random", ge=0, le=10**6
    )
    optimiser: Literal["adam", "adamw"] = described("adamw", "adam: weight decay in the gradient; adamw: decoupled")
    lr: float = described(1e-3, "highest learning rate", gt=0)
    min_lr: float = described(1e-6, "lowest learning rate, at the end of the cosine", ge=0)
    weight_decay: float = described(1e-4, "of the network's weights", ge=0)
    filter_lr: float = described(1.0, "learning rate of the spectral filters, as a multiple of lr", gt=0)
    encoder_lr: float = described(1.0, "learning rate of a pretrained encoder, as a multiple of lr", gt=0)
    warmup: float = described(0.05, "share of the schedule spent on a linear warm-up", ge=0, lt=1)
    clip: float = described(1.0, "largest norm of the gradient", gt=0)
    patience: int = described(
        0, "stop after this many epochs without gain in validation Dice; 0: never", ge=0, le=10**9
    )
    precision: Annotated[
        Literal["auto", "float32", "bf16"], BeforeValidator(lambda value: "float32" if value == "32" else value)
    ] = described("auto", "auto: bf16 if the processor multiplies it natively")
    workers: int = described(0, "processes that load data; 0 loads in the main process", ge=0, le=1024)


class Plan(Section):
    """What ``s2mnet train`` will do."""

    reasons: dict[str, str] = described({}, "reasons of the decisions; only people read them")
    labels: LabelMap = described(..., "what the mask values mean")
    preprocessing: Preprocessing = described(..., "from an image to the network's input")
    augmentation: Augmentation = described(Augmentation(), "random changes of the training samples")
    training: Training = described(Training(), "optimiser, schedule, budget")
    architecture: str = described("s2mnet", "s2mnet, or a class in monai.networks.nets, such as UNet")
    network: dict[str, Any] = described({}, "arguments of the network, besides its channels and classes")
    start: str = described(
        NO_START, "first weights: none (random), imagenet, a run or model folder, or a Hugging Face repository"
    )
    loss: Literal["masl", "dice_ce"] = described("masl", "masl, or dice_ce: plain Dice + cross-entropy")
    loss_options: dict[str, Any] = described({}, "arguments of s2mnet.MASL")
    tta: Literal[1, 4, 8] = described(
        1, "transforms averaged when testing and predicting: 1, 4 flips, 8 with quarter turns"
    )

    @model_validator(mode="after")
    def _same_mirroring(self) -> Plan:
        if self.tta > 1 and not self.augmentation.both_flips:
            raise ValueError(f"tta {self.tta} mirrors along both axes, unlike augmentation.flip_axes; set tta to 1")
        return self

    def save(self, path: Path) -> None:
        """Write the plan as YAML with a comment for each field, atomically."""
        write_atomically(path, to_yaml(self).encode())

    def with_training(self, **changes: Any) -> Plan:
        """The plan with other fields of :class:`Training`; None leaves a field unchanged.

        The reason of a changed field becomes "requested"; the estimate of the steps is dropped if it depends on it.

        Raises:
            S2MNetError: a field out of its range.
        """
        asked = {name: value for name, value in changes.items() if value is not None}
        training = checked_training(self.training.model_dump() | asked)
        reasons = {what: why for what, why in self.reasons.items() if what != "steps" or not asked.keys() & STEPS_FROM}
        reasons |= {name: f"{getattr(training, name)}: requested" for name in asked if name in reasons}
        return self.model_copy(update={"training": training, "reasons": reasons})

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan.

        Raises:
            S2MNetError: the file is missing or not YAML, or a field is wrong.
        """
        return read_yaml(Path(path), cls, "Correct that line, or omit --plan to have a plan made.")


def checked_training(fields: Mapping[str, Any]) -> Training:
    """Training with these fields; an error about one out of its range names its command-line option."""
    try:
        return Training(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise S2MNetError(option, f"is {first['input']!r}: {first['msg']}", "Choose another value.") from None
