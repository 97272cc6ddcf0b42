"""Two folders of NIfTI masks, predictions and truth, measured against each other in 3-D."""

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
from s2mnet.volumes import Volume, check_same_grid
from s2mnet.volumes.nifti import is_nifti_name, read_nifti, whole_numbers


def find_volumes(path: Path) -> dict[str, Path]:
    """The NIfTI files of a folder, or the file itself, by name without .nii or .nii.gz, sorted; hidden ones left out.

    Raises:
        S2MNetError: two files with one such name, or a folder that cannot be read.
    """
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        unread, mend = f"what cannot be read ({error.strerror or error})", "Check the path and its permissions."
        raise S2MNetError(path, unread, "a folder that you may read", mend) from None
    found: dict[str, Path] = {}
    for file in files:
        if is_nifti_name(file) and file.is_file() and not file.name.startswith("."):
            stem = file.name[: file.name.lower().rindex(".nii")]
            if stem in found:
                both = f"{found[stem].name} and {file.name}"
                raise S2MNetError(path, f"two volumes of one name: {both}", "one file per name", "Remove one.")
            found[stem] = file
    return found


def evaluate_volumes(predictions: str | Path, truth: str | Path, labels: LabelRule = "auto") -> Evaluation:
    """Measure every volume of ``truth`` against the prediction of the same name, in 3-D.

    What the values mean is inferred as in :func:`~s2mnet.evaluation.folders.evaluate_folders`. Distances are in
    millimetres where the headers of all give all three voxel sizes, else in voxels. All files are checked before the
    first is measured; one pair is in memory at a time.

    Args:
        predictions: a folder of masks .nii or .nii.gz, or one mask.
        truth: the same.
        labels: how to read the values of the truth.

    Returns:
        The evaluation, of volumes alone.

    Raises:
        S2MNetError: a truth without prediction, a pair of different grids, a file that cannot be read or holds
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
    """A mask with whole numbers, int32."""
    volume = read_nifti(path)
    return replace(volume, array=whole_numbers(volume))
