"""The plan: all decisions before training, in one short file that people can read and edit."""

from s2mnet.plan.decide import MILD_AUGMENTATION, PAPER_AUGMENTATION, default_start, encoder_of, make_plan
from s2mnet.plan.machine import Machine, this_machine
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
)

__all__ = [
    "IMAGENET",
    "IMAGENET_NETWORK",
    "MILD_AUGMENTATION",
    "NO_START",
    "PAPER_AUGMENTATION",
    "PAPER_ENCODER",
    "Augmentation",
    "Extent",
    "Machine",
    "Plan",
    "Preprocessing",
    "Preset",
    "Training",
    "default_start",
    "encoder_of",
    "make_plan",
    "this_machine",
]
