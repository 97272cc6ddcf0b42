"""The metrics of many images, their volumes and patients, with 95 % intervals, stored as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
_EMPTY: dict[tuple[bool, bool], Empty] = {
    (True, True): "neither",
    (False, True): "prediction",
    (True, False): "truth",
    (False, False): "both",
}
"""Which masks are empty, by whether prediction and truth mark anything."""


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
        pairs: (name, prediction, truth); the arrays (H, W) or, of a volume, (D, H, W) integer class indices as in
            `metrics.structure_masks`.
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
    names: set[str] = set()
    cases: list[ImageResult] = []
    volumes: list[VolumeResult] = []

    def measured(name: str, prediction: np.ndarray, truth: np.ndarray, own: CaseFacts, unit: Unit) -> dict[str, Any]:
        sizes = (own.slice_mm, own.row_mm, own.column_mm)[-truth.ndim :]
        spacing = [size for size in sizes if size is not None] if unit == "mm" else None
        metrics, empty = measure(name, prediction, truth, structures, ignore_index, spacing)
        return {"name": name, "split": split, "patient": own.patient, "metrics": metrics, "empty": empty}

    for name, prediction, truth in pairs:
        if name in names or (facts is not None and name not in facts):
            raise ValueError(f"two images are called {name!r}" if name in names else f"no facts of {name!r}")
        names.add(name)
        own = facts[name] if facts else UNKNOWN
        volume = (prediction, truth, len(truth)) if truth.ndim == 3 else None
        if volume is None:
            cases.append(ImageResult(**measured(name, prediction, truth, own, unit), volume=own.volume))
            volume = stacks.add(own, prediction, truth) if stacks else None
        if volume is not None:
            whole, true, slices = volume
            volumes.append(VolumeResult(**measured(own.volume or name, whole, true, own, volume_unit), slices=slices))
        if progress is not None:
            progress(len(names), name)
    if not names or (facts is not None and len(facts) != len(names)):
        raise ValueError("there is no image to evaluate" if not names else "facts of images that did not come")
    return Evaluation(
        class_names=list(structures),
        unit=unit,
        cases=cases,
        summary=summarise(cases),
        empty=count_empty(cases),
        volumes=volumes_of(volumes, volume_unit) if volumes else None,
        patients=patients_of(volumes, volume_unit) if volumes else patients_of(cases, unit),
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
            empty[structure] = _EMPTY[bool(predicted.any()), bool(true.any())]
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
    for name, group, column in ((CSV_NAME, evaluation, "volume"), (VOLUMES_NAME, volumes, "slices")):
        if group and group.cases:
            write_atomically(folder / name, _rows(group, ["split", "patient", column]).encode())
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
