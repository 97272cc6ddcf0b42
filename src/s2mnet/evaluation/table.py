"""An evaluation for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from s2mnet.evaluation.metrics import Unit, metrics_in
from s2mnet.evaluation.records import MEAN, EmptyCounts, Evaluation, Summaries

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


def table(evaluation: Evaluation) -> Group:
    """The summaries of images, volumes and patients, a table each.

    Mean and 95 % interval of each metric, for each structure and their mean.

    Example:
        >>> import numpy as np
        >>> from s2mnet.evaluation.results import evaluate
        >>> done = evaluate([("a", np.eye(2, dtype=int), np.eye(2, dtype=int))], {"lesion": [1]})
        >>> len(table(done).renderables)
        1
    """
    from rich.console import Group

    names, volumes, patients = evaluation.class_names, evaluation.volumes, evaluation.patients
    tables = []
    if evaluation.cases:
        title = counted(len(evaluation.cases), "image")
        tables.append(_table(title, names, evaluation.summary, evaluation.unit, evaluation.empty))
    if volumes:
        title = f"{counted(len(volumes.cases), 'volume')} in 3-D"
        tables.append(_table(title, names, volumes.summary, volumes.unit, volumes.empty))
    if patients:
        title = f"{counted(len(patients.cases), 'patient')}, each the mean over {patients.mean_over}"
        tables.append(_table(title, names, patients.summary, patients.unit, {}))
    return Group(*tables)


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "image"), counted(2, "image")
        ('1 image', '2 images')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def _table(title: str, names: list[str], summary: Summaries, unit: Unit, empty: Mapping[str, EmptyCounts]) -> Table:
    from rich.table import Table
    from rich.text import Text

    counts = "\n".join(
        f"{name}: complete misses {c.complete_misses}, both empty {c.both_empty}" for name, c in empty.items()
    )
    out = Table(title=f"{title}, mean [95 % interval]", caption=Text(counts))
    for column in ("Class", "Metric", "Mean", "Std", "Median"):
        out.add_column(column, justify="left" if column in ("Class", "Metric") else "right")
    metrics = metrics_in(unit)
    for key in names if len(names) == 1 else [*names, MEAN]:  # with one class the mean over classes is that class
        for metric in metrics:
            s = summary[key][metric.name]
            many, few, behind = (".1f", ".1f", f" {metric.unit}") if metric.unit else (".3f", ".2f", "")
            first = Text(key if metric is metrics[0] else "")  # Text: a bracket in a class name is no markup
            mean = Text(f"{s.mean:{many}} [{s.low:{few}}, {s.high:{few}}]{behind}")
            last = metric is metrics[-1]
            out.add_row(first, metric.title, mean, f"{s.std:{many}}", f"{s.median:{many}}", end_section=last)
    return out
