"""An evaluation for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2mnet.evaluation.metrics import metrics_in
from s2mnet.evaluation.records import MEAN, Evaluation, Patients, Volumes
from s2mnet.text import counted

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

    return Group(*(_table(noun, group) for noun, group in evaluation.groups().items()))


def _table(noun: str, group: Evaluation | Volumes | Patients) -> Table:
    from rich.table import Table
    from rich.text import Text

    title, empty = counted(len(group.cases), noun), {}
    if isinstance(group, Patients):
        title += f", each the mean over {group.mean_over}"
    else:
        title += " in 3-D" if isinstance(group, Volumes) else ""
        empty = group.empty
    counts = "\n".join(
        f"{name}: complete misses {c.complete_misses}, both empty {c.both_empty}" for name, c in empty.items()
    )
    out = Table(title=f"{title}, mean [95 % interval]", caption=Text(counts))
    for column in ("Class", "Metric", "Mean", "Std", "Median"):
        out.add_column(column, justify="left" if column in ("Class", "Metric") else "right")
    out.columns[1].min_width = len("Surface Dice 2 mm")  # whose definition goes into the next line
    metrics = metrics_in(group.unit)
    for key, summary in group.summary.items():
        if key == MEAN and len(group.summary) == 2:  # with one class the mean over classes is that class
            continue
        for metric in metrics:
            s = summary[metric.name]
            many, few, behind = (".1f", ".1f", f" {metric.unit}") if metric.unit else (".3f", ".2f", "")
            first = Text(key if metric is metrics[0] else "")  # Text: a bracket in a class name is no markup
            mean = Text(f"{s.mean:{many}} [{s.low:{few}}, {s.high:{few}}]{behind}")
            last = metric is metrics[-1]
            out.add_row(first, metric.title, mean, f"{s.std:{many}}", f"{s.median:{many}}", end_section=last)
    return out
