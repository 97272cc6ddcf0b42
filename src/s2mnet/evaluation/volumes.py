"""A folder of predicted NIfTI masks measured against a folder of true ones, in 3-D."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from s2mnet.data.label_rules import Histogram, histogram
from s2mnet.data.labels import LabelRule, infer_labels
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.folders import check_clear, labels_of_predictions, match
from s2mnet.evaluation.metrics import Unit
from s2mnet.evaluation.records import Evaluation, VolumeResult, volumes_of
from s2mnet.evaluation.results import measure
from s2mnet.progress import Progress
from s2mnet.volumes import Volume, check_same_grid
from s2mnet.volumes.nifti import is_nifti_name, read_nifti, whole_numbers


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


def evaluate_volumes(
    predictions: str | Path, truth: str | Path, labels: LabelRule = "auto", progress: Progress | None = None
) -> Evaluation:
    """Measure every volume of ``truth`` against the prediction with the same name, in 3-D.

    The meaning of the values is inferred as in :func:`~s2mnet.evaluation.folders.evaluate_folders`. Distances are in
    millimetres if every header gives all three voxel sizes, else in voxels. All files are checked before the first is
    measured; one pair is in memory at a time.

    Args:
        predictions: a folder of masks .nii or .nii.gz, or one mask.
        truth: the same.
        labels: how to read the values of the truth.
        progress: called after each volume with the number of volumes done and of all.

    Returns:
        The evaluation, of volumes only.

    Raises:
        S2MNetError: a truth without prediction, a pair with different grids, a file that is unreadable or holds
            fractions, a prediction with values that the truth's labels do not explain.

    Example:
        >>> import tempfile, nibabel, numpy as np
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("predicted.nii.gz", "true.nii.gz"):
        ...     nibabel.save(nibabel.Nifti1Image(np.eye(4, dtype=np.uint8)[None], np.eye(4)), folder / name)
        >>> done = evaluate_volumes(folder / "predicted.nii.gz", folder / "true.nii.gz")
        >>> done.volumes.summary["foreground"]["dice"].mean, done.volumes.unit
        (1.0, 'mm')
    """
    predictions, truth = Path(predictions), Path(truth)
    pairs, without_truth = match(predictions, truth, find_volumes)
    predicted_values: dict[Path, Histogram] = {}
    true_values: dict[Path, Histogram] = {}
    spacings = []
    for predicted_file, true_file in pairs:
        predicted, true = _read(predicted_file), _read(true_file)
        check_same_grid(true, predicted)
        predicted_values[predicted_file], true_values[true_file] = histogram(predicted.array), histogram(true.array)
        spacings.append(true.spacing)
    true_labels = infer_labels(true_values, labels)
    predicted_labels = labels_of_predictions(predicted_values, true_labels, labels)
    unit: Unit = "mm" if all(size is not None for spacing in spacings for size in spacing) else "voxels"
    cases = []
    for (predicted_file, true_file), spacing in zip(pairs, spacings, strict=True):
        predicted_indices = predicted_labels.encode(_read(predicted_file).array, predicted_file)
        true_indices = true_labels.encode(_read(true_file).array, true_file)
        check_clear(predicted_file, predicted_indices, true_indices, true_labels)
        name = next(iter(find_volumes(true_file)))
        sizes = [size for size in spacing if size is not None] if unit == "mm" else None
        metrics, empty = measure(name, predicted_indices, true_indices, true_labels.structures, spacing=sizes)
        cases.append(VolumeResult(name=name, slices=len(true_indices), metrics=metrics, empty=empty))
        if progress:
            progress(len(cases), len(pairs))
    return Evaluation(
        class_names=list(true_labels.structures), cases=[], summary={}, empty={}, volumes=volumes_of(cases, unit)
    ).with_context(
        predictions=str(predictions),
        truth=str(truth),
        labels_of_truth=true_labels.describe(),
        labels_of_predictions=predicted_labels.describe(),
        predictions_without_truth=without_truth,
    )


def _read(path: Path) -> Volume:
    """A mask of whole numbers, int32."""
    volume = read_nifti(path)
    return replace(volume, array=whole_numbers(volume))
