"""The tables of metrics: over images and, where they are known, over volumes and patients."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from s2mnet.evaluation.metrics import Metric, metrics_in
from s2mnet.evaluation.records import MEAN
from s2mnet.evaluation.table import counted
from s2mnet.report.tags import paragraph

_UNITS = {"px": "pixels", "voxels": "voxels", "mm": "millimetres"}


def metric_tables(evaluation: Mapping[str, Any]) -> str:
    """A table of each, with what the mean is over.

    Args:
        evaluation: as `s2mnet.evaluation.results.Evaluation.model_dump()` gives it.
    """
    names, volumes, patients = evaluation["class_names"], evaluation.get("volumes"), evaluation.get("patients")
    parts = [_table(counted(len(evaluation["cases"]), "image"), "images", evaluation, names)]
    if volumes:
        each = f"{counted(len(volumes['cases']), 'volume')}, each measured as a whole, in 3-D"
        parts.append(_table(each, "volumes", volumes, names))
    if patients:
        each = f"{counted(len(patients['cases']), 'patient')}, each the mean over the patient's {patients['mean_over']}"
        parts.append(_table(each, "patients", patients, names))
    return "\n".join(parts)


def reading(evaluation: Mapping[str, Any]) -> str:
    """How to read the tables."""
    held = [evaluation, evaluation.get("volumes"), evaluation.get("patients")]
    units = list(dict.fromkeys(_UNITS[part.get("unit", "px")] for part in held if part))
    far, near = " or ".join(units), " or ".join(f"2 {unit}" for unit in units)
    return "".join(
        paragraph(text, "note")
        for text in (
            "IoU is a stricter form of Dice. Precision is the share of the marked area that is right, recall the share "
            "of the true area that was marked.",
            "HD95 says how far apart the outlines are: at 95 % of their points the distance to the other outline is at "
            f"most this many {far}. Surface Dice is the share of the outlines that lie within {near} of each other.",
            "If the reference and the model both mark nothing, that counts as agreement. If only one of them does, it "
            "is a complete miss: the ratios are 0 and HD95 is the image's diagonal.",
        )
    )


def _table(over: str, unit_of_mean: str, held: Mapping[str, Any], names: list[str]) -> str:
    measured = metrics_in(held.get("unit", "px"))
    heads = "".join(f"<th scope='col'>{_head(metric)}</th>" for metric in measured)
    keys = names if len(names) == 1 else [*names, MEAN]
    rows = "".join(_row(key, held["summary"][key], measured) for key in keys)
    caption = (
        f"Mean over {over}; below it the 95 % interval of the mean (bootstrap over {unit_of_mean}). "
        "The arrow says which direction is better."
    )
    return (
        f'{paragraph(caption, "note")}\n<div class="wide"><table class="numbers"><thead><tr><th scope="col">Structure'
        f"</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _head(metric: Metric) -> str:
    arrow, word = ("↑", "higher is better") if metric.higher_is_better else ("↓", "lower is better")
    unit = f", {metric.unit}" if metric.unit else ""
    return f'{escape(metric.title + unit)} <span title="{word}" aria-label="{word}">{arrow}</span>'


def _row(name: str, summary: Mapping[str, Mapping[str, float]], measured: tuple[Metric, ...]) -> str:
    cells = "".join(_cell(summary[metric.name], metric) for metric in measured)
    mean = name == MEAN
    title = escape(name.capitalize() if mean else name)
    return f'<tr{" class=mean" if mean else ""}><th scope="row">{title}</th>{cells}</tr>'


def _cell(value: Mapping[str, float], metric: Metric) -> str:
    form = ".1f" if metric.unit else ".3f"
    return f"<td>{value['mean']:{form}}<small>{value['low']:{form}} – {value['high']:{form}}</small></td>"
