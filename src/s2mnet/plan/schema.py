"""What a plan can say: sections of fields, each with the sentence that stands beside it in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from s2mnet.data import LabelMap
from s2mnet.data.channels import COLOURS, GREY
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically
from s2mnet.plan.commented import to_yaml
from s2mnet.yamlfile import read_yaml

Preset = Literal["default", "paper"]
Extent = Literal["whole", "patches"]
STEPS_FROM = {"minutes", "epochs", "steps", "repeats", "batch_size"}  # what the number of steps was estimated from


class Section(BaseModel):
    """Fields that cannot be changed, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _channel_names(value: Any) -> Any:
    return {1: [GREY], 3: list(COLOURS)}.get(value, value) if isinstance(value, int) else value


def about(default: Any, description: str, **limits: Any) -> Any:
    """A field with its default, its limits and its sentence."""
    return Field(default, description=description, **limits)


class Preprocessing(Section):
    """How an image becomes the network's input: the same in training, validation and prediction.

    The network always predicts at the extent it was trained at, since a frequency of its spectral filters is in cycles
    per map (SPEC 1.1).
    """

    extent: Extent = about(..., "whole: images resized to size; patches: windows of size at the images' own resolution")
    size: tuple[int, int] = about(..., "height and width of the input in pixels, each at least 32")
    channels: Annotated[list[str], BeforeValidator(_channel_names)] = about(
        ..., "inputs of the network: grey; red, green, blue or some of them; or names out of stored", min_length=1
    )
    stored: list[str] = about([], "names of the channels of an image file that is neither grey nor colour")
    neighbours: int = about(0, "slices on either side that prepare put beside the slice as channels", ge=0)
    orientation: str = about(
        "", "directions of slices, rows and columns of a volume, as in SPL; empty: by its voxel sizes"
    )
    clahe: bool = about(False, "contrast-limited adaptive histogram equalisation of each channel (clip 2, 8×8 tiles)")
    normalisation: Literal["image", "dataset"] = about(
        "dataset", "to mean 0 and deviation 1. image: each input by itself; dataset: by mean and std"
    )
    mean: list[float] = about([], "of the training images in 0..1, one for each of channels")
    std: list[float] = about([], "the deviation to that")

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessing:
        known = self.stored or [GREY, *COLOURS]
        strange = [name for name in self.channels if name not in known]
        if strange:
            raise ValueError(f"no channel is called {strange[0]!r}; there are {', '.join(known)}")
        if self.normalisation == "dataset" and not len(self.mean) == len(self.std) == len(self.channels):
            raise ValueError("mean and std need one number for each of channels, or take normalisation: image")
        return self


class Augmentation(Section):
    """Random changes of a training sample; strengths as in SPEC 3, probabilities in 0..1."""

    rotate_p: float = about(0.7, "probability of a rotation")
    rotate_degrees: float = about(180, "by up to so many degrees either way")
    flip_p: float = about(0.5, "probability of each of the two flips")
    scale_shift_p: float = about(0.7, "probability of a zoom and a shift")
    scale: float = about(0.25, "zoom by a factor in 1 ± scale")
    shift: float = about(0.1, "shift by up to this share of the extent")
    elastic_p: float = about(0.3, "probability of bending")
    elastic_alpha: float = about(500, "by noise in ± alpha pixels …")
    elastic_sigma: float = about(25, "… smoothed by a Gaussian of so many pixels")
    light_p: float = about(0.7, "probability of other brightness, contrast and tint")
    brightness: float = about(0.2, "add up to ± this (images are 0..1)")
    contrast: float = about(0.3, "multiply the difference to the mean by 1 ± this")
    tint: float = about(0.1, "multiply each colour channel by 1 ± this")
    noise_p: float = about(0.2, "probability of Gaussian noise")
    noise: float = about(0.05, "of a deviation up to this")
    dropout_p: float = about(0.0, "probability of coarse dropout, up to 8 rectangles of at most 1/8 of the side")


class Training(Section):
    """Optimiser, schedule and budget."""

    preset: Preset = about("default", "default, or paper (the authors' schedule)")
    seed: int = about(42, "of every random draw")
    minutes: float | None = about(None, "budget of wall-clock time, which the schedule follows", gt=0)
    epochs: int | None = about(None, "number of epochs; with minutes too, whichever comes first", ge=1)
    steps: int | None = about(None, "number of steps; with one of the others too, whichever comes first", ge=1)
    batch_size: int = about(8, "images or windows a step", ge=1)
    repeats: int = about(1, "how often an epoch visits each training image", ge=1)
    stride: int = about(0, "patches: on a grid of so many pixels, each visited once an epoch; 0: at random", ge=0)
    optimiser: Literal["adam", "adamw"] = about("adamw", "adam has its weight decay in the gradient, adamw beside it")
    lr: float = about(1e-3, "highest learning rate", gt=0)
    min_lr: float = about(1e-6, "lowest, at the end of the cosine", ge=0)
    weight_decay: float = about(1e-4, "of the network's weights", ge=0)
    filter_lr: float = about(1.0, "learning rate of the spectral filters, as a multiple of the others'", gt=0)
    warmup: float = about(0.05, "share of the schedule that is a linear warm-up", ge=0, lt=1)
    clip: float = about(1.0, "largest norm of the gradient", gt=0)
    patience: int = about(0, "stop after so many epochs without gain in validation Dice; 0: never", ge=0)
    precision: Annotated[
        Literal["auto", "float32", "bf16"], BeforeValidator(lambda value: "float32" if value == "32" else value)
    ] = about("auto", "auto: bf16 where the processor multiplies it natively")
    workers: int = about(0, "processes that load data; 0 loads in the main process", ge=0)


class Plan(Section):
    """What ``s2mnet train`` is going to do."""

    reasons: dict[str, str] = about({}, "why each of these was decided so; only read by people")
    labels: LabelMap = about(..., "what the mask values mean")
    preprocessing: Preprocessing = about(..., "from an image to the network's input")
    augmentation: Augmentation = about(Augmentation(), "random changes of the training samples")
    training: Training = about(Training(), "optimiser, schedule, budget")
    architecture: str = about("s2mnet", "s2mnet, or a network to compare with, such as unet (s2mnet.architecture)")
    network: dict[str, Any] = about({}, "arguments of s2mnet.S2MNet beyond channels and classes")
    loss: Literal["masl", "dice_ce"] = about("masl", "masl, or dice_ce: plain Dice + cross-entropy")
    loss_options: dict[str, Any] = about({}, "arguments of s2mnet.MASL")
    tta: Literal[1, 4, 8] = about(
        1, "transforms averaged when testing and predicting: 1, 4 flips, 8 with quarter turns"
    )

    def save(self, path: Path) -> None:
        """Write the plan as YAML with a comment beside each field, atomically."""
        write_atomically(path, to_yaml(self).encode())

    def with_training(self, **changes: Any) -> Plan:
        """The plan with other fields of :class:`Training`; a change to None is none.

        The reasons follow: of a changed field that it was asked for; of the steps, if they follow from it, none.

        Raises:
            S2MNetError: a field out of its range.
        """
        asked = {name: value for name, value in changes.items() if value is not None}
        training = checked_training(self.training.model_dump() | asked)
        reasons = {what: why for what, why in self.reasons.items() if what != "steps" or not asked.keys() & STEPS_FROM}
        reasons |= {name: f"{getattr(training, name)}: asked for" for name in asked if name in reasons}
        return self.model_copy(update={"training": training, "reasons": reasons})

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read a plan.

        Raises:
            S2MNetError: the file is missing, no YAML, or says something a plan cannot say.
        """
        mend = "Correct that line, or leave the file away to have a plan made."
        return read_yaml(Path(path), cls, "a plan in YAML", mend)


def checked_training(fields: Mapping[str, Any]) -> Training:
    """Training with these fields; one out of its range is an error that names the option of the command line."""
    try:
        return Training(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise S2MNetError(option, repr(first["input"]), first["msg"], "Choose another value.") from None
