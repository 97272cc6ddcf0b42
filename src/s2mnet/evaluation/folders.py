"""A folder of predicted masks measured against a folder of true ones: images, or NIfTI volumes in 3-D."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from s2mnet.data.cases import check_subfolders, find_images
from s2mnet.data.casetable import UNKNOWN, CaseFacts
from s2mnet.data.images import check_palettes, read_mask
from s2mnet.data.label_rules import Histogram, histogram, pixels_of
from s2mnet.data.labels import IGNORE_INDEX, LabelMap, LabelRule, infer_labels
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.results import Evaluation, evaluate
from s2mnet.files import prefetch
from s2mnet.text import listed
from s2mnet.volumes import check_same_grid
from s2mnet.volumes.nifti import is_nifti_name, read_nifti, whole_numbers

AHEAD = 4  # pairs of images being read, or waiting to be measured
Result = TypeVar("Result")


class Pair(NamedTuple):
    """The two files of one case."""

    name: str
    predicted: Path
    true: Path


Masks = tuple[np.ndarray, np.ndarray, CaseFacts]
"""Prediction and truth of one size, integers as stored, with the size of their voxels."""


def evaluate_folders(
    predictions: str | Path,
    truth: str | Path,
    labels: LabelRule = "auto",
    progress: Callable[[int, str], None] | None = None,
) -> Evaluation:
    """Measure every mask of ``truth`` against the prediction with the same file stem.

    The meaning of the values is inferred from the truth and holds for the predictions too. Two classes may be written
    0/1 on one side and 0/255 (exact or with JPEG noise) on the other. Predictions without a truth are not measured but
    named in the context. All files are checked before the first is measured.

    If ``truth`` holds NIfTI files, these are measured, in 3-D and one pair at a time. Distances are in millimetres if
    every header gives all three voxel sizes, else in voxels.

    Args:
        predictions: a folder of masks, or one mask.
        truth: the same.
        labels: how to read the values of the truth, see `s2mnet.data.labels.infer_labels`.
        progress: called after each mask with the number of masks done and the name of this one.

    Returns:
        The evaluation, of images or of volumes; its context says where the masks are and how their values were read.

    Raises:
        S2MNetError: a truth without prediction, a pair of different sizes or grids, a file that is unreadable or holds
            fractions, a prediction with values that the truth's labels do not explain, or with ignored pixels where the
            truth is known.

    Example:
        >>> import tempfile
        >>> from s2mnet.data.images import write_mask
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, foreground in (("predicted", 1), ("truth", 255)):
        ...         (Path(folder) / name).mkdir()
        ...         write_mask(Path(folder) / name / "a.png", foreground * np.eye(4, dtype=int))
        ...     evaluate_folders(f"{folder}/predicted", f"{folder}/truth").summary["foreground"]["dice"].mean
        1.0
    """
    predictions, truth = Path(predictions), Path(truth)
    volumes = bool(find_volumes(truth))
    read = _read_volumes if volumes else _read_images
    pairs, without_truth = _match(predictions, truth, find_volumes if volumes else _find_images)

    def values(pair: Pair) -> tuple[Histogram, Histogram, CaseFacts]:
        predicted, true, facts = read(pair)
        return histogram(predicted), histogram(true), facts

    first = dict(_each(values, pairs, volumes))
    true_values = {pair.true: of_pair[1] for pair, of_pair in first.items()}
    predicted_values = {pair.predicted: of_pair[0] for pair, of_pair in first.items()}
    if labels == "auto" and not volumes:
        check_palettes(predicted_values)
        check_palettes(true_values)
    true_labels = infer_labels(true_values, labels, _read_volume if volumes else read_mask)
    predicted_labels = labels_of_predictions(predicted_values, true_labels, labels)

    def indices(pair: Pair) -> tuple[str, np.ndarray, np.ndarray]:
        predicted, true, _ = read(pair, predicted_labels.raw_values, true_labels.raw_values)
        predicted, true = predicted_labels.encode(predicted, pair.predicted), true_labels.encode(true, pair.true)
        unclear = int(np.count_nonzero((predicted == IGNORE_INDEX) & (true != IGNORE_INDEX)))
        if unclear:
            problem = f"holds the ignored value {true_labels.ignore_value} on {unclear} px that have a truth"
            fix = f"Write one of {', '.join(map(str, true_labels.values))} there."
            raise S2MNetError(pair.predicted, problem, fix)
        return pair.name, predicted, true

    masks = (encoded for _, encoded in _each(indices, pairs, volumes))
    facts = {pair.name: of_pair[2] for pair, of_pair in first.items()}
    return evaluate(masks, true_labels.structures, progress=progress, facts=facts).with_context(
        predictions=str(predictions),
        truth=str(truth),
        labels_of_truth=true_labels.describe(),
        labels_of_predictions=predicted_labels.describe(),
        predictions_without_truth=without_truth,
    )


def find_volumes(path: Path) -> dict[str, Path]:
    """The NIfTI files of a folder, or the file itself, by name without .nii or .nii.gz, sorted, without hidden files.

    Raises:
        S2MNetError: two files with the same name, or a folder that cannot be read.
    """
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise S2MNetError(path, problem, "Check the path and its permissions.") from None
    volumes: dict[str, Path] = {}
    for file in files:
        if is_nifti_name(file) and file.is_file() and not file.name.startswith("."):
            stem = file.name[: file.name.lower().rindex(".nii")]
            if stem in volumes:
                problem = f"has two volumes with one name: {volumes[stem].name} and {file.name}"
                raise S2MNetError(path, problem, "Remove or rename one of them.")
            volumes[stem] = file
    return volumes


def labels_of_predictions(values: Mapping[Path, Histogram], true_labels: LabelMap, labels: LabelRule) -> LabelMap:
    """The labels of the truth, unless both are 0/1 or 0/255 (exact or noisy) and differ only in that.

    A threshold accepts every value, so predictions in 0/1 or in class indices would pass as all background. Values that
    the truth's labels do not explain are therefore refused here.

    Raises:
        S2MNetError: a value that they do not explain.
    """
    present = {value for histogram in values.values() for value in histogram}
    if present <= {*true_labels.values, true_labels.ignore_value} or true_labels.kind == "binary":
        return true_labels
    if labels == "threshold" and max(present) > 127:
        return true_labels
    if true_labels.values in ([0, 1], [0, 255]) and true_labels.ignore_value is None:
        for foreground in (1, 255):
            if present <= {0, foreground}:
                return LabelMap(kind="classes", values=[0, foreground], names=true_labels.names)
        if (own := _noisy(values)) is not None:
            return own.model_copy(update={"names": true_labels.names})
    for file, counts in values.items():
        strange = sorted(set(counts) - set(true_labels.values))
        if strange:
            problem = f"holds the value {pixels_of(strange, counts)}; the truth has {true_labels.describe()}"
            fix = "Write the predictions with the truth's labels, or say how to read the truth with --labels."
            raise S2MNetError(file, problem, fix)
    return true_labels


def _noisy(values: Mapping[Path, Histogram]) -> LabelMap | None:
    """The labels of predictions in 0/255 with noise; None for other predictions."""
    try:
        own = infer_labels(values)
    except S2MNetError:
        return None
    return own if own.kind == "threshold" else None


def _match(predictions: Path, truth: Path, find: Callable[[Path], Mapping[str, Path]]) -> tuple[list[Pair], list[str]]:
    """A pair for each truth, and the names of the predictions without one; two files need no common name."""
    true = find(truth)
    if predictions.is_file() and truth.is_file():
        return [Pair(name, predictions, file) for name, file in true.items()], []
    predicted = find(predictions)
    missing = [file.name for stem, file in true.items() if stem not in predicted]
    if missing:
        problem = f"has no prediction for {len(missing)} of {len(true)} masks in {truth}: {listed(missing, 5)}"
        raise S2MNetError(predictions, problem, "Predict them too with the same file stem, or remove those masks.")
    pairs = [Pair(stem, predicted[stem], file) for stem, file in true.items()]
    return pairs, [file.name for stem, file in predicted.items() if stem not in true]


def _each(function: Callable[[Pair], Result], pairs: list[Pair], one_at_a_time: bool) -> Iterator[tuple[Pair, Result]]:
    """Each pair with the function's result, by threads unless its masks may fill the memory."""
    if one_at_a_time:
        yield from ((pair, function(pair)) for pair in pairs)
        return
    with ThreadPoolExecutor(worker_count()) as pool:
        yield from prefetch(pool, function, pairs, AHEAD)


def _find_images(path: Path) -> dict[str, Path]:
    if path.is_dir():
        check_subfolders(path)
    return {file.stem: file for file in find_images(path)}


def _read_images(pair: Pair, predicted_values: Collection[int] = (), true_values: Collection[int] = ()) -> Masks:
    predicted, true = read_mask(pair.predicted, predicted_values), read_mask(pair.true, true_values)
    if predicted.shape != true.shape:
        sizes = [f"{width} × {height}" for height, width in (predicted.shape, true.shape)]
        problem = f"is {sizes[0]} px, but its truth {pair.true} is {sizes[1]} px"
        raise S2MNetError(pair.predicted, problem, "Write the prediction at the size of the original image.")
    return predicted, true, UNKNOWN


def _read_volume(file: Path) -> np.ndarray:
    return whole_numbers(read_nifti(file))


def _read_volumes(pair: Pair, *_: Collection[int]) -> Masks:
    volumes = map(read_nifti, (pair.predicted, pair.true))
    predicted, true = (replace(volume, array=whole_numbers(volume)) for volume in volumes)
    check_same_grid(true, predicted)
    depth, height, width = true.spacing
    return predicted.array, true.array, CaseFacts(row_mm=height, column_mm=width, slice_mm=depth)
