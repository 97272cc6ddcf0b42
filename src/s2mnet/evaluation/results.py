"""The metrics of many images, their volumes and patients, with 95 % intervals, stored as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from s2mnet.data.casetable import UNKNOWN, CaseFacts
from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.metrics import METRIC_NAMES, Unit, mask_metrics, structure_masks
from s2mnet.evaluation.records import (
    MEAN,
    Empty,
    Evaluation,
    ImageResult,
    VolumeResult,
    Volumes,
    count_empty,
    patients_of,
    summarise,
    volumes_of,
)
from s2mnet.evaluation.stacks import Stacks
from s2mnet.evaluation.table import table
from s2mnet.files import write_atomically, write_error
from s2mnet.text import as_cell

__all__ = ["MEAN", "Evaluation", "ImageResult", "evaluate", "load", "measure", "save", "table"]

JSON_NAME, CSV_NAME, VOLUMES_NAME = "metrics.json", "metrics.csv", "volumes.csv"
Structures = Mapping[str, Sequence[int]]
"""Name of each structure → its class indices, see `s2mnet.data.LabelMap.structures`."""


def evaluate(
    pairs: Iterable[tuple[str, np.ndarray, np.ndarray]],
    structures: Structures,
    ignore_index: int = IGNORE_INDEX,
    progress: Callable[[int, str], None] | None = None,
    split: str | None = None,
    facts: Mapping[str, CaseFacts] | None = None,
) -> Evaluation:
    """Measure predictions against their truth, with one pair and its volume in memory at a time.

    If every image belongs to a volume, volumes are measured in 3-D too. If every image belongs to a patient, the means
    of each patient's volumes, or images, are summarised too.

    Args:
        pairs: (name, prediction, truth); the arrays (H, W) integer class indices as in `metrics.structure_masks`.
        structures: what is measured, as in `metrics.structure_masks`.
        ignore_index: pixels with this truth do not count.
        progress: called after each image with the number of images done and the name of this one.
        split: the split of the images, kept with each of them.
        facts: patient, volume and spacing of each image, by name, for exactly the images of ``pairs``. Distances are in
            millimetres if all row and column spacings (for volumes, slice spacings too) are known.

    Returns:
        The evaluation, with an empty context.

    Raises:
        ValueError: no pair, a name given twice, facts of other images, or an array that
            `metrics.structure_masks` refuses (naming the image).
        S2MNetError: slices of one volume that differ in size.

    Example:
        >>> disc = np.array([[0, 1], [1, 1]])
        >>> done = evaluate([("a", disc, disc), ("b", 0 * disc, disc)], {"lesion": [1]})
        >>> done.summary["lesion"]["dice"].mean, done.empty["lesion"].complete_misses
        (0.5, 1)
    """
    if MEAN in structures:
        raise ValueError(f"no structure may be called {MEAN!r}")
    known = list((facts or {}).values())
    in_mm = bool(known) and all(own.row_mm and own.column_mm for own in known)
    unit: Unit = "mm" if in_mm else "px"
    volume_unit: Unit = "mm" if in_mm and all(own.slice_mm for own in known) else "voxels"
    stacks = Stacks(known) if known and all(own.volume for own in known) else None
    cases: dict[str, ImageResult] = {}
    volumes: list[VolumeResult] = []
    for name, prediction, truth in pairs:
        if name in cases or (facts is not None and name not in facts):
            raise ValueError(f"two images are called {name!r}" if name in cases else f"no facts of {name!r}")
        own = facts[name] if facts else UNKNOWN
        metrics, empty = measure(name, prediction, truth, structures, ignore_index, _spacing(own, 2, unit))
        cases[name] = ImageResult(
            name=name, split=split, patient=own.patient, volume=own.volume, metrics=metrics, empty=empty
        )
        stack = stacks.add(own, prediction, truth) if stacks else None
        if stack is not None and own.volume is not None:
            spacing = _spacing(own, 3, volume_unit)
            metrics, empty = measure(own.volume, stack.prediction, stack.truth, structures, ignore_index, spacing)
            volumes.append(
                VolumeResult(
                    name=own.volume, split=split, patient=own.patient, slices=stack.slices, metrics=metrics, empty=empty
                )
            )
        if progress is not None:
            progress(len(cases), name)
    if not cases or (facts is not None and len(facts) != len(cases)):
        raise ValueError("there is no image to evaluate" if not cases else "facts of images that did not come")
    return Evaluation(
        class_names=list(structures),
        unit=unit,
        cases=list(cases.values()),
        summary=summarise(list(cases.values())),
        empty=count_empty(list(cases.values())),
        volumes=volumes_of(volumes, volume_unit) if volumes else None,
        patients=patients_of(volumes, volume_unit) if volumes else patients_of(list(cases.values()), unit),
    )


def measure(
    name: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    structures: Structures,
    ignore_index: int = IGNORE_INDEX,
    spacing: Sequence[float] | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, Empty]]:
    """The metrics of one image or volume, and which of its two masks were empty, for each structure.

    Args and errors as in `metrics.structure_masks` and `metrics.mask_metrics`; errors begin with ``name``.
    """
    metrics: dict[str, dict[str, float]] = {}
    empty: dict[str, Empty] = {}
    try:
        for structure, predicted, true in structure_masks(prediction, truth, structures, ignore_index):
            metrics[structure] = mask_metrics(predicted, true, spacing)
            empty[structure] = _which_empty(predicted, true)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return metrics, empty


def save(evaluation: Evaluation, folder: Path) -> None:
    """Write metrics.json (everything), metrics.csv (a row per image and class) and, for volumes, volumes.csv.

    Each file appears whole or not at all. An earlier table that no longer applies is deleted.

    Args:
        evaluation: what to write.
        folder: created if missing.

    Raises:
        S2MNetError: the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> done = evaluate([("a", np.eye(2, dtype=int), np.eye(2, dtype=int))], {"lesion": [1]})
        >>> with tempfile.TemporaryDirectory() as run:
        ...     save(done, Path(run))
        ...     load(Path(run)) == done
        True
    """
    volumes = evaluation.volumes
    images = _rows(evaluation, ["split", "patient", "volume"]) if evaluation.cases else None
    for name, content in (
        (CSV_NAME, images),
        (VOLUMES_NAME, _rows(volumes, ["split", "patient", "slices"]) if volumes else None),
    ):
        if content is not None:
            write_atomically(folder / name, content.encode())
            continue
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(folder / name, error) from None
    write_atomically(folder / JSON_NAME, f"{evaluation.model_dump_json(indent=2)}\n".encode())


def load(folder: Path) -> Evaluation:
    """Read back what `save` wrote.

    Raises:
        S2MNetError: ``folder`` has no metrics.json, or one that this program did not write.

    Example:
        >>> load(Path("no-such-run"))
        Traceback (most recent call last):
        s2mnet.errors.S2MNetError: no-such-run/metrics.json does not exist. Run `s2mnet evaluate` first.
    """
    path = folder / JSON_NAME
    if not path.is_file():
        raise S2MNetError(path, "does not exist", "Run `s2mnet evaluate` first.")
    try:
        return Evaluation.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the top level"
        problem = f"is not the result of an evaluation: {first['msg']} at {place}"
        raise S2MNetError(path, problem, "Run `s2mnet evaluate` again.") from error


def _rows(group: Evaluation | Volumes, columns: list[str]) -> str:
    """A row for each image, or volume, and structure."""
    rows = io.StringIO(newline="")
    writer = csv.writer(rows)
    first = "image" if isinstance(group, Evaluation) else "volume"
    writer.writerow([first, *columns, "class", "empty", *METRIC_NAMES, "unit"])
    for case in group.cases:
        for name, values in case.metrics.items():
            cells = [case.name, *(getattr(case, column) for column in columns), name]  # None: an empty cell
            numbers = [values[metric] for metric in METRIC_NAMES]
            names = [as_cell(cell) if isinstance(cell, str) else cell for cell in cells]
            writer.writerow([*names, case.empty[name], *numbers, group.unit])
    return rows.getvalue()


def _spacing(facts: CaseFacts, axes: int, unit: Unit) -> Sequence[float] | None:
    sizes = (facts.slice_mm, facts.row_mm, facts.column_mm)[-axes:]
    return [size for size in sizes if size is not None] if unit == "mm" else None


def _which_empty(predicted: np.ndarray, true: np.ndarray) -> Empty:
    if predicted.any():
        return "neither" if true.any() else "truth"
    return "prediction" if true.any() else "both"
