"""How training went: the curves with their captions, and the figures of the last epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from s2mnet.pages.embed import Picture, plot
from s2mnet.report import figures
from s2mnet.text import counted

_CAPTIONS = {
    "dice": ("Dice on validation images.", "It should rise and level off. The star marks the best epoch."),
    "loss": ("Training loss.", "It should fall and level off. The loss of validation images is not computed."),
    "lr": ("Learning rate.", "The step size of the optimiser, as scheduled."),
    "terms": ("Terms of the loss.", "Each should fall; one that stays flat is not being learned."),
    "weights": (
        "Weights of the terms.",
        "Learned weights stay between 0.1 and 10; one at a limit dominates or is switched off. Fixed ones are level.",
    ),
    "limits": (
        "Share of each weight that was kept.",
        "The weight of a term that pulls harder on the prediction than the limit allows is reduced to this share.",
    ),
    "alpha": (
        "Modulation of the terms by shape.",
        "α depends on the shapes in the true masks, not on training, so it should stay nearly level.",
    ),
}
_DESCRIPTORS = {
    "tubularity": "near 0 for a large disc, higher for thin tubes",
    "compactness": "1 for a disc, near 0 for a branching tree",
    "irregularity": "higher for a jagged outline",
    "size": "share of the image",
}


def curves(history: figures.History) -> list[Picture]:
    """A picture of each curve that the history has values for."""
    return [
        plot(content, f"{title} Curve over epochs.", caption, title)
        for name, content in figures.curves(history).items()
        for title, caption in [_CAPTIONS[name]]
    ]


def missing_curves(history: figures.History) -> list[str]:
    """Sentences about the curves that the history has no values for."""
    sentences = []
    if figures.best_epoch(history) is None:
        sentences.append("There were no validation images, so there is no validation Dice.")
    if not any(record.get("terms") for record in history):
        sentences.append("This loss has no separate terms to show.")
    return sentences


def duration(history: figures.History) -> str:
    """Epochs, time and the share of it that went into waiting for data."""
    text = counted(len(history), "epoch")
    seconds = _known(history, "seconds")
    if seconds:
        total = seconds[-1]  # since the start of training
        text += f" in {total:.0f} seconds" if total < 120 else f" in {total / 60:.0f} minutes"
    shares = _known(history, "data_share")
    if shares:
        text += f"; {100 * float(np.mean(shares)):.0f} % of the time was spent waiting for images"
    return text + "."


def shapes(history: figures.History) -> list[tuple[str, float, str]]:
    """Name, value and meaning of each descriptor of the training masks, as the last epoch recorded them."""
    recorded: Sequence[Mapping[str, float]] = [record["descriptors"] for record in history if record.get("descriptors")]
    return [(name, value, _DESCRIPTORS.get(name, "")) for name, value in recorded[-1].items()] if recorded else []


def _known(history: figures.History, key: str) -> list[Any]:
    return [record[key] for record in history if record.get(key) is not None]
