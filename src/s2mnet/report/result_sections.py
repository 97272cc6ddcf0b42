"""What a reader wants first: the answer in one view, pictures of cases, and the table of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.evaluation.records import MEAN
from s2mnet.evaluation.table import counted
from s2mnet.overlay import (
    BOTH,
    ONLY_PREDICTED,
    ONLY_TRUE,
    OTHER_CLASS,
    PALETTE,
    TRUTH,
    as_rgb,
    errors,
    heat,
    overlay,
)
from s2mnet.report import embed, figures
from s2mnet.report.content import CaseFigure, Report
from s2mnet.report.metric_tables import metric_tables, reading
from s2mnet.report.tags import legend, pairs, paragraph, scale_legend, section

MOST_CASES = 5
"""More cases than this are counted but not drawn: even five images of noise then stay below 5 MB."""
_DICE = (
    "Dice measures how well the area the model marks overlaps the reference mask: 1 means they are identical, 0 means "
    "they have no pixel in common."
)


def opening(report: Report) -> str:
    """Title, what was segmented, the main figures and what they mean."""
    what = _listed(report.class_names)
    tiles = [*_result_tiles(report), _count_tile(report)]
    trained = report.counts.get("train")
    on = f", after learning from {_images(trained)} with reference masks" if trained else ""
    return "\n".join(
        [
            f"<header><h1>{escape(report.title)}</h1>",
            f'<p class="lead">An S2M-Net that marks <b>{escape(what)}</b> in an image, pixel by pixel{on}.</p>',
            f'<div class="tiles">{"".join(tiles)}</div>',
            paragraph(_DICE),
            _validation_note(report),
            f'<p><a href="#warnings">{counted(len(report.warnings), "warning")}</a> below.</p>'
            if report.warnings
            else "",
            '<p class="caution"><b>For research use. Not a medical device:</b> these results must not be used to '
            "diagnose or treat a patient.</p></header>",
        ]
    )


def pictures(report: Report) -> str:
    """Each case as a row: image, prediction and truth, errors, β."""
    title = "Pictures"
    if not report.cases:
        return section(title, "pictures", paragraph("No case was kept as a picture.", "note"))
    cases = report.cases[:MOST_CASES]
    drawn = report.drawn or report.class_names
    shown = [PALETTE[i % len(PALETTE)] for i in range(len(drawn))]
    many = len(shown) > 1
    own = [(colour, f"predicted: {name}") for colour, name in zip(shown, drawn, strict=True)]
    truth = any(case.truth is not None for case in cases)
    outlines = legend("Prediction", own)
    if truth:
        outlines = legend("Prediction and reference", [*own, (TRUTH, "reference outline; dashed where both coincide")])
    marks = [(BOTH, "both agree"), (ONLY_PREDICTED, "only the model (false alarm)")]
    marks += [(ONLY_TRUE, "only the reference (missed)")]
    marks += [(OTHER_CLASS, "wrong structure")] if many else []
    boundary = any(case.boundary is not None for case in cases)
    steps = [(int(r), int(g), int(b)) for r, g, b in heat(np.linspace(0, 1, 9)[None])[0]]
    left_out = len(report.cases) - len(cases)
    return section(
        title,
        "pictures",
        paragraph("Best, median and worst are chosen by Dice among the images that were measured.", "note")
        if truth
        else "",
        outlines,
        legend("Errors", marks) if truth else "",
        scale_legend("β, the share of the boundary stream", steps, "0 to 1")
        + paragraph(
            "β is learned without labels of its own, so it may mark edges, regions or the opposite of either. Its rank "
            "correlation with the reference's edges stands below each picture; the paper reports 0.68 to 0.82.",
            "note",
        )
        if boundary
        else paragraph("This model gives no boundary map β, so none is shown.", "note"),
        *(_case(case) for case in cases),
        paragraph(f"{counted(left_out, 'further case')} not shown.", "note") if left_out else "",
    )


def metrics(report: Report) -> str:
    """The tables of metrics with intervals, and the Dice of every image."""
    kind = "Test" if report.evaluated_on == "test" else "Validation"
    title = f"{kind} results"
    if report.evaluation is None:
        text = "No test images were given, so nothing was measured on images the model had never seen."
        return section(title, "results", paragraph(text, "note"))
    cases = report.evaluation["cases"]
    context = dict(report.evaluation.get("context") or {})
    # What stands under "How this was made" anyway is not said twice.
    context = {key: value for key, value in context.items() if report.provenance.get(key) != value}
    per_image = [_mean_dice(case) for case in cases]
    over = " (mean over classes)" if len(report.evaluation["class_names"]) > 1 else ""
    alt = f"Histogram of the Dice of {_images(len(cases))}, median {np.median(per_image):.3f}"
    return section(
        title,
        "results",
        metric_tables(report.evaluation),
        '<div class="plots results"><figure>',
        embed.figure(figures.dice_distribution(per_image), alt),
        f"<figcaption><b>Image by image.</b> How many images reached which Dice{over}; each tick below is one image. A "
        "long tail to the left means that a good mean hides some failures.</figcaption></figure>",
        f"<div><h3>How to read the table</h3>{reading(report.evaluation)}</div></div>",
        f"<h3>How this was measured</h3>{pairs(context)}" if context else "",
    )


def _result_tiles(report: Report) -> list[str]:
    kind = report.evaluated_on.capitalize()
    if report.evaluation is None:
        best = figures.best_epoch(report.history)
        if best is None:
            return [_tile("Dice", "–", "not measured")]
        return [_tile("Validation Dice", f"{best[1]:.3f}", f"best epoch ({best[0]}); no test images were given")]
    cases, dice = report.evaluation["cases"], report.evaluation["summary"][MEAN]["dice"]
    misses = sum(any(kind in ("prediction", "truth") for kind in case["empty"].values()) for case in cases)
    apart = sum(_disjoint(case) for case in cases)
    meaning = "nothing marked where there was something, or the reverse"
    if apart:
        meaning += f"; in {apart} more, the outlines have no pixel in common"
    interval = f"95 % interval {dice['low']:.3f} to {dice['high']:.3f}, mean of {_images(len(cases))}"
    return [
        _tile(f"{kind} Dice", f"{dice['mean']:.3f}", interval),
        _tile("Complete misses", f"{misses} of {len(cases)}", meaning),
    ]


def _disjoint(case: Mapping[str, Any]) -> bool:
    states = [(case["empty"][name], values["dice"]) for name, values in case["metrics"].items()]
    whole = all(empty not in ("prediction", "truth") for empty, _ in states)
    return whole and any(empty == "neither" and dice == 0 for empty, dice in states)


def _count_tile(report: Report) -> str:
    counts = report.counts
    if not counts:
        return _tile("Images", "–", "not recorded")
    text = f"training {counts.get('train', 0)}, validation {counts.get('val', 0)}, test {counts.get('test', 0)}"
    return _tile("Images", str(sum(counts.values())), text)


def _validation_note(report: Report) -> str:
    if report.evaluated_on == "validation" or (report.evaluation is None and figures.best_epoch(report.history)):
        return paragraph(
            "These figures come from the validation images, which also served to choose the best epoch: expect "
            "somewhat lower ones on new images."
        )
    return ""


def _tile(name: str, value: str, text: str) -> str:
    return (
        f'<div class="tile"><span class="name">{escape(name)}</span><b>{escape(value)}</b>'
        f"<span>{escape(text)}</span></div>"
    )


def _case(case: CaseFigure) -> str:
    picture = embed.enlarge(as_rgb(case.image), smooth=True)
    prediction = embed.enlarge(np.asarray(case.prediction), smooth=False)
    truth = None if case.truth is None else embed.enlarge(np.asarray(case.truth), smooth=False)
    contour = max(1, round(max(picture.shape[:2]) / 200))
    drawn = overlay(picture, prediction, truth, thickness=contour)
    both = "Prediction and reference"
    columns = [
        (embed.image(picture, f"{case.name}: the image"), "Image"),
        (embed.image(drawn, f"{case.name}: outlines of the prediction and the reference", drawn=True), both)
        if truth is not None
        else (embed.image(drawn, f"{case.name}: outline of the prediction", drawn=True), "Prediction"),
    ]
    if truth is not None:
        wrong = errors(picture, prediction, truth)
        alt = f"{case.name}: where the prediction and the reference agree and differ"
        columns.append((embed.image(wrong, alt, drawn=True), "Errors"))
    if case.boundary is not None:
        colours = heat(_resized(case.boundary, picture.shape[:2]))
        agreement = edge_correlation(case)
        caption = "β" if agreement is None else f"β; correlation with the edges {agreement:+.2f}"
        columns.append((embed.image(colours, f"{case.name}: boundary map β"), caption))
    body = "".join(f"<figure>{tag}<figcaption>{text}</figcaption></figure>" for tag, text in columns)
    dice = "" if case.dice is None else f" · Dice {case.dice:.3f}"
    heading = f"<h3>{escape(case.role.capitalize())}{dice} <small>{escape(case.name)}</small></h3>"
    return f'{heading}<div class="case">{body}</div>'


def edge_correlation(case: CaseFigure) -> float | None:
    """Spearman correlation of β with the edges of the truth (5×5 dilation − erosion, as in SPEC 2.3).

    Returns:
        In [−1, 1], over the pixels with a truth; None without β, truth or edges.
    """
    if case.boundary is None or case.truth is None:
        return None
    from scipy.ndimage import maximum_filter, minimum_filter
    from scipy.stats import spearmanr

    truth = np.asarray(case.truth)
    highest = maximum_filter(truth, 5)
    edges, known = highest != minimum_filter(truth, 5), highest < IGNORE_INDEX
    beta = _resized(case.boundary, truth.shape)[known]
    if np.ptp(edges[known].astype(int)) == 0 or np.ptp(beta) == 0:
        return None
    return float(spearmanr(beta, edges[known]).statistic)


def _resized(boundary: Any, size: tuple[int, ...]) -> np.ndarray[Any, Any]:
    from PIL import Image

    values = np.asarray(boundary, dtype=np.float32)
    if values.ndim != 2 or values.shape == size:
        return values
    return np.asarray(Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _mean_dice(case: Mapping[str, Any]) -> float:
    return float(np.mean([values["dice"] for values in case["metrics"].values()]))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _images(number: int) -> str:
    return counted(number, "image")
