"""A folder of predicted masks measured against a folder of true ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from s2mnet.data.cases import find_images
from s2mnet.data.images import read_mask
from s2mnet.data.label_rules import Histogram, histogram
from s2mnet.data.labels import IGNORE_INDEX, LabelMap, LabelRule, infer_labels
from s2mnet.device import worker_count
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.results import Evaluation, evaluate
from s2mnet.files import prefetch
from s2mnet.text import listed

AHEAD = 4  # pairs being read, or waiting to be measured


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

    Args:
        predictions: a folder of masks, or one mask.
        truth: the same.
        labels: how to read the values of the truth, see `s2mnet.data.labels.infer_labels`.
        progress: called after each image with the number of images done and the name of this one.

    Returns:
        The evaluation; its context says where the masks are and how their values were read.

    Raises:
        S2MNetError: a truth without prediction, a pair of different sizes, an unreadable file, a prediction with values
            that the truth's labels do not explain, or with ignored pixels where the truth is known.

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
    pairs, without_truth = match(predictions, truth, lambda path: {file.stem: file for file in find_images(path)})
    predicted_values, true_values = _read_values(pairs)
    true_labels = infer_labels(true_values, labels)
    predicted_labels = labels_of_predictions(predicted_values, true_labels, labels)

    def read(pair: tuple[Path, Path]) -> tuple[str, np.ndarray, np.ndarray]:
        predicted_file, true_file = pair
        predicted = predicted_labels.encode(read_mask(predicted_file), predicted_file)
        true = true_labels.encode(read_mask(true_file), true_file)
        check_clear(predicted_file, predicted, true, true_labels)
        return true_file.stem, predicted, true

    def masks() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        with _threads() as pool:
            for _, read_pair in prefetch(pool, read, pairs, AHEAD):
                yield read_pair

    return evaluate(masks(), true_labels.structures, progress=progress).with_context(
        predictions=str(predictions),
        truth=str(truth),
        labels_of_truth=true_labels.describe(),
        labels_of_predictions=predicted_labels.describe(),
        predictions_without_truth=without_truth,
    )


def match(
    predictions: Path, truth: Path, find: Callable[[Path], Mapping[str, Path]]
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pairs (prediction, truth), one for each truth, and the names of the predictions without a truth.

    Args:
        predictions, truth: folders, or one file each.
        find: returns the masks of a folder by stem.

    Raises:
        S2MNetError: a truth without prediction.
    """
    if predictions.is_file() and truth.is_file():
        return [(predictions, truth)], []
    predicted, true = find(predictions), find(truth)
    missing = [file.name for stem, file in true.items() if stem not in predicted]
    if missing:
        problem = f"has no prediction for {len(missing)} of {len(true)} masks in {truth}: {listed(missing, 5)}"
        raise S2MNetError(predictions, problem, "Predict them too with the same file stem, or remove those masks.")
    pairs = [(predicted[stem], file) for stem, file in true.items()]
    return pairs, [file.name for stem, file in predicted.items() if stem not in true]


def _read_values(pairs: list[tuple[Path, Path]]) -> tuple[dict[Path, Histogram], dict[Path, Histogram]]:
    predicted_values: dict[Path, Histogram] = {}
    true_values: dict[Path, Histogram] = {}
    with _threads() as pool:
        for (predicted_file, true_file), (predicted, true) in prefetch(pool, _values_of_pair, pairs, AHEAD):
            predicted_values[predicted_file], true_values[true_file] = predicted, true
    return predicted_values, true_values


def _values_of_pair(pair: tuple[Path, Path]) -> tuple[Histogram, Histogram]:
    predicted_file, true_file = pair
    predicted, true = read_mask(predicted_file), read_mask(true_file)
    if predicted.shape != true.shape:
        sizes = [f"{width} × {height}" for height, width in (predicted.shape, true.shape)]
        problem = f"is {sizes[0]} px, but its truth {true_file} is {sizes[1]} px"
        raise S2MNetError(predicted_file, problem, "Write the prediction at the size of the original image.")
    return histogram(predicted), histogram(true)


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(worker_count())


def check_clear(file: Path, predicted: np.ndarray, true: np.ndarray, labels: LabelMap) -> None:
    """Raise if a prediction, as class indices, has ignored pixels where the truth is known."""
    unclear = int(np.count_nonzero((predicted == IGNORE_INDEX) & (true != IGNORE_INDEX)))
    if unclear:
        problem = f"holds the ignored value {labels.ignore_value} on {unclear} px that have a truth"
        raise S2MNetError(file, problem, f"Write one of {', '.join(map(str, labels.values))} there.")


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
            shown = listed([str(value) for value in strange], 5)
            problem = f"holds the value{'s' * (len(strange) > 1)} {shown}; the truth has {true_labels.describe()}"
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
