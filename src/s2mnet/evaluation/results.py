"""The metrics of many images: one record each, their mean with a 95 % interval, and both on disk as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from s2mnet.errors import S2MNetError
from s2mnet.evaluation.metrics import IGNORE_INDEX, METRIC_NAMES, METRICS, class_masks, mask_metrics
from s2mnet.files import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

MEAN = "mean over classes"
"""The key of ``Evaluation.summary`` under which the mean over the foreground classes stands."""
RESAMPLES = 2000
BOOTSTRAP_SEED = 0
JSON_NAME, CSV_NAME = "metrics.json", "metrics.csv"

Finite = Annotated[float, Field(allow_inf_nan=False)]
Empty = Literal["neither", "prediction", "truth", "both"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageResult(_Record):
    """One image: its metrics and which of its two masks were empty, for each foreground class."""

    name: str
    split: str | None = None
    metrics: dict[str, dict[str, Finite]]
    """class name → metric → value (HD95 in pixels)."""
    empty: dict[str, Empty]
    """class name → which mask held no pixel of it."""

    def mean(self, metric: str) -> float:
        """Mean of this image's class values of ``metric``."""
        return float(np.mean([values[metric] for values in self.metrics.values()]))


class Summary(_Record):
    """One metric over all images: ``low`` and ``high`` bound the mean (95 % percentile bootstrap over images)."""

    mean: Finite
    std: Finite
    """Sample standard deviation over images (n − 1); 0 for a single image."""
    median: Finite
    low: Finite
    high: Finite


class EmptyCounts(_Record):
    """How many images of a class had an empty mask."""

    complete_misses: int
    """Exactly one of prediction and truth is empty."""
    both_empty: int
    """Both are empty, which counts as agreement."""


class Evaluation(_Record):
    """The metrics of a set of images, their summary, and what they were measured on."""

    class_names: list[str]
    """Foreground classes, in the order of their indices 1, 2, …"""
    cases: list[ImageResult]
    summary: dict[str, dict[str, Summary]]
    """class name, or `MEAN` for the mean over classes of each image → metric → summary over images."""
    empty: dict[str, EmptyCounts]
    """class name → counts."""
    context: dict[str, Any] = Field(default_factory=dict)
    """Data, split, command, commit, versions, hardware, date: whatever the caller knows, as JSON values."""

    def with_context(self, **context: Any) -> Evaluation:
        """A copy with more context; a key given again is replaced."""
        return self.model_copy(update={"context": self.context | context})


def evaluate(
    pairs: Iterable[tuple[str, np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    ignore_index: int = IGNORE_INDEX,
    progress: Callable[[int, str], None] | None = None,
    split: str | None = None,
) -> Evaluation:
    """Measure predictions against their truth, one pair in memory at a time.

    Args:
        pairs: (name, prediction, truth); the arrays (H, W) integer class indices as in `metrics.image_metrics`.
        class_names: names of the foreground classes 1, 2, …
        ignore_index: the value of a truth whose pixels do not count.
        progress: called after each image with the number of images done and the name of this one.
        split: which part of the data the images are, kept with each of them.

    Returns:
        The evaluation, its context still empty.

    Raises:
        ValueError: no pair, a name given twice, or an array that `metrics.image_metrics` refuses (naming the image).

    Example:
        >>> disc = np.array([[0, 1], [1, 1]])
        >>> done = evaluate([("a", disc, disc), ("b", 0 * disc, disc)], ["lesion"])
        >>> done.summary["lesion"]["dice"].mean, done.empty["lesion"].complete_misses
        (0.5, 1)
    """
    class_names = list(class_names)
    if not class_names or len({*class_names, MEAN}) != len(class_names) + 1:
        raise ValueError(f"class_names must be distinct names and none of them {MEAN!r}, not {class_names}")
    cases: dict[str, ImageResult] = {}
    for name, prediction, truth in pairs:
        if name in cases:
            raise ValueError(f"two images are called {name!r}")
        metrics: dict[str, dict[str, float]] = {}
        empty: dict[str, Empty] = {}
        try:
            for index, predicted, true in class_masks(prediction, truth, len(class_names) + 1, ignore_index):
                metrics[class_names[index - 1]] = mask_metrics(predicted, true)
                empty[class_names[index - 1]] = _which_empty(predicted, true)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        cases[name] = ImageResult(name=name, split=split, metrics=metrics, empty=empty)
        if progress is not None:
            progress(len(cases), name)
    if not cases:
        raise ValueError("there is no image to evaluate")
    return summarise(list(cases.values()), class_names)


def summarise(cases: Sequence[ImageResult], class_names: Sequence[str]) -> Evaluation:
    """Build the summary of finished images, e.g. of a part of another evaluation's cases.

    Args:
        cases: at least one image, all with the classes ``class_names``.
        class_names: foreground classes.

    Raises:
        ValueError: no case.

    Example:
        >>> disc = np.array([[0, 1], [1, 1]])
        >>> both = evaluate([("a", disc, disc), ("b", 0 * disc, disc)], ["lesion"])
        >>> summarise(both.cases[:1], both.class_names).summary["lesion"]["dice"].mean
        1.0
    """
    if not cases:
        raise ValueError("there is no image to summarise")
    values = {(name, m): [case.metrics[name][m] for case in cases] for name in class_names for m in METRIC_NAMES}
    values |= {(MEAN, m): [case.mean(m) for case in cases] for m in METRIC_NAMES}
    summaries = dict(zip(values, summarise_values(np.array(list(values.values()))), strict=True))
    kinds = {name: [case.empty[name] for case in cases] for name in class_names}
    return Evaluation(
        class_names=list(class_names),
        cases=list(cases),
        summary={key: {m: summaries[key, m] for m in METRIC_NAMES} for key in [*class_names, MEAN]},
        empty={
            name: EmptyCounts(complete_misses=k.count("prediction") + k.count("truth"), both_empty=k.count("both"))
            for name, k in kinds.items()
        },
    )


def summarise_values(values: np.ndarray) -> list[Summary]:
    """Mean, spread and the 95 % percentile bootstrap interval of the mean over images, with a fixed seed.

    Args:
        values: (quantities, images) finite numbers; every quantity is resampled by the same images.

    Returns:
        One summary for each quantity.

    Example:
        >>> summarise_values(np.array([[0.0, 1.0], [0.5, 0.5]]))[1].high
        0.5
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    images = values.shape[1]
    means = np.stack([values[:, rng.integers(0, images, images)].mean(axis=1) for _ in range(RESAMPLES)])
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    std = values.std(axis=1, ddof=1) if images > 1 else np.zeros(len(values))
    rows = zip(values.mean(axis=1), std, np.median(values, axis=1), low, high, strict=True)
    return [Summary(mean=m, std=s, median=d, low=lo, high=hi) for m, s, d, lo, hi in np.array(list(rows)).tolist()]


def save(evaluation: Evaluation, folder: Path) -> None:
    """Write metrics.json (everything) and metrics.csv (one row for each image and class), each whole or not at all.

    Args:
        evaluation: what to write.
        folder: made if it is missing.

    Raises:
        S2MNetError: the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> done = evaluate([("a", np.eye(2, dtype=int), np.eye(2, dtype=int))], ["lesion"])
        >>> with tempfile.TemporaryDirectory() as run:
        ...     save(done, Path(run))
        ...     load(Path(run)) == done
        True
    """
    rows = io.StringIO(newline="")
    writer = csv.writer(rows)
    writer.writerow(["image", "split", "class", "empty", *METRIC_NAMES])
    for case in evaluation.cases:
        for name in evaluation.class_names:
            values = [case.metrics[name][metric] for metric in METRIC_NAMES]
            writer.writerow([case.name, case.split or "", name, case.empty[name], *values])
    write_atomically(folder / CSV_NAME, rows.getvalue().encode())
    write_atomically(folder / JSON_NAME, f"{evaluation.model_dump_json(indent=2)}\n".encode())


def load(folder: Path) -> Evaluation:
    """Read back what `save` wrote.

    Raises:
        S2MNetError: there is no metrics.json in ``folder``, or it is not one that this program wrote.

    Example:
        >>> load(Path("no-such-run"))
        Traceback (most recent call last):
        s2mnet.errors.S2MNetError: no-such-run/metrics.json: found no file; expected the result of an evaluation. ...
    """
    path = folder / JSON_NAME
    if not path.is_file():
        raise S2MNetError(path, "no file", "the result of an evaluation", "Run `s2mnet evaluate` first.")
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{first['msg']} at {'.'.join(map(str, first['loc'])) or 'the top'}"
        raise S2MNetError(path, found, "the result of an evaluation", "Run `s2mnet evaluate` again.") from error


def table(evaluation: Evaluation) -> Table:
    """The summary for the terminal: mean and 95 % interval of each metric, for each class and their mean.

    Example:
        >>> done = evaluate([("a", np.eye(2, dtype=int), np.eye(2, dtype=int))], ["lesion"])
        >>> table(done).row_count == len(METRIC_NAMES)
        True
    """
    from rich.table import Table
    from rich.text import Text

    counts = "\n".join(
        f"{name}: complete misses {c.complete_misses}, both empty {c.both_empty}"
        for name, c in evaluation.empty.items()
    )
    images = f"{len(evaluation.cases)} image{'s' * (len(evaluation.cases) != 1)}"
    out = Table(title=f"{images}, mean [95 % interval]", caption=Text(counts))
    for column in ("Class", "Metric", "Mean", "Std", "Median"):
        out.add_column(column, justify="left" if column in ("Class", "Metric") else "right")
    # With one class the mean over classes is that class.
    keys = evaluation.class_names if len(evaluation.class_names) == 1 else [*evaluation.class_names, MEAN]
    for key in keys:
        for metric in METRICS:
            s = evaluation.summary[key][metric.name]
            many, few, unit = (".1f", ".1f", f" {metric.unit}") if metric.unit else (".3f", ".2f", "")
            first = Text(key if metric is METRICS[0] else "")  # Text: a bracket in a class name is no markup
            mean = Text(f"{s.mean:{many}} [{s.low:{few}}, {s.high:{few}}]{unit}")
            last = metric is METRICS[-1]
            out.add_row(first, metric.title, mean, f"{s.std:{many}}", f"{s.median:{many}}", end_section=last)
    return out


def _which_empty(predicted: np.ndarray, true: np.ndarray) -> Empty:
    if predicted.any():
        return "neither" if true.any() else "truth"
    return "prediction" if true.any() else "both"
