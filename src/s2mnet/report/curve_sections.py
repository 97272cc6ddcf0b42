"""How the training went and what the spectral filters learned, each figure with a sentence on what to look for."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from s2mnet.report import embed, figures
from s2mnet.report.content import Report
from s2mnet.report.tags import paragraph, section

_CAPTIONS = {
    "dice": (
        "Dice on validation images.",
        "It should rise and level off; the star marks the best epoch.",
    ),
    "loss": ("Loss.", "Both lines should fall; if validation rises while training falls, the model is overfitting."),
    "lr": ("Learning rate.", "The step size of training, as planned."),
    "terms": ("Terms of the loss.", "Each should fall; one that stays flat is not being learned."),
    "weights": (
        "Weights of the terms.",
        "They may move apart between 0.1 and 10; one that runs to a limit has taken over or been switched off.",
    ),
    "limits": (
        "What was left of each weight.",
        "A term that would pull harder on the prediction than the limit allows has its weight lowered to this share.",
    ),
    "alpha": (
        "Modulation of the terms by shape.",
        "α follows the shapes of the true masks and not the training, so it should stay nearly level.",
    ),
}
_SHAPES = {
    "tubularity": "near 0 for a large disc, higher for thin tubes",
    "compactness": "1 for a disc, near 0 for a branching tree",
    "irregularity": "higher for a jagged outline",
    "size": "share of the image",
}


def training(report: Report) -> str:
    """The training curves."""
    title, anchor = "Training", "training"
    drawn = figures.curves(report.history)
    if not drawn:
        return section(title, anchor, paragraph("No training history was kept, so there are no curves.", "note"))
    plots = "".join(
        f"<figure>{embed.figure(content, _CAPTIONS[name][0] + ' Curve over epochs.')}"
        f"<figcaption><b>{_CAPTIONS[name][0]}</b> {_CAPTIONS[name][1]}</figcaption></figure>"
        for name, content in drawn.items()
    )
    missing = [] if "dice" in drawn else ["There were no validation images, so no validation Dice."]
    if "terms" not in drawn:
        missing.append("This loss reports no single terms.")
    notes = [paragraph(text, "note") for text in missing]
    return section(title, anchor, paragraph(_duration(report)), f'<div class="plots">{plots}</div>', *notes)


def filters(report: Report) -> str:
    """The learned spectral filters."""
    title, anchor = "Learned spectral filters", "filters"
    if all(stage is None for stage in report.filters):
        return section(title, anchor, paragraph("This model has no spectral filters to show.", "note"))
    picture = embed.figure(figures.spectral_filters(report.filters), "Magnitude of the spectral filters of each stage")
    return section(
        title,
        anchor,
        paragraph(
            "At each stage the network splits its maps into waves and learns how strongly to pass on each of them. The "
            "centre of a square stands for the slowest change across the image (zero frequency), its edge for the "
            "finest detail the filter reaches; bright waves are passed on more strongly, dark ones less. A bright "
            "centre smooths, a dark centre brings out detail, a pattern that is not round favours a direction."
        ),
        f'<div class="wide"><figure>{picture}<figcaption>'
        "One row per stage: mean over channels, then the channels that favour the lowest, middle and highest "
        "frequencies (|W| is how strongly a wave is passed on), then the profile by radius. Axes in cycles per map: 4 "
        "is a wave that repeats four times across the image.</figcaption></figure></div>",
    )


def shapes(report: Report) -> str:
    """One sentence on the shapes of the training masks, from the last epoch that recorded them; empty without."""
    recorded = [record["descriptors"] for record in report.history if record.get("descriptors")]
    if not recorded:
        return ""
    last: Mapping[str, float] = recorded[-1]
    items = "".join(
        f"<li>{escape(name)} <b>{value:.3f}</b>{f' ({_SHAPES[name]})' if name in _SHAPES else ''}</li>"
        for name, value in last.items()
    )
    return f"<p>Mean shape of the objects in the training masks, as the loss sees it:</p><ul>{items}</ul>"


def _duration(report: Report) -> str:
    epochs = len(report.history)
    text = f"{epochs} epoch{'s' * (epochs != 1)}"
    seconds = [record["seconds"] for record in report.history if record.get("seconds") is not None]
    if seconds:
        total = seconds[-1]  # counted from the start of training
        text += f" in {total:.0f} seconds" if total < 120 else f" in {total / 60:.0f} minutes"
    shares = [record["data_share"] for record in report.history if record.get("data_share") is not None]
    if shares:
        text += f"; {100 * float(np.mean(shares)):.0f} % of the time went into reading images"
    return text + "."
