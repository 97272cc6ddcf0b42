"""Predict a volume slice by slice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.names import safe_stem
from s2mnet.volumes.dicom import check_dicom_seg, write_dicom_seg
from s2mnet.volumes.nifti import SUFFIXES, check_output, check_replaceable, write_nifti_mask
from s2mnet.volumes.read import read_volume
from s2mnet.volumes.slices import to_uint8, with_neighbours

if TYPE_CHECKING:
    from s2mnet.plan import Preprocessing
    from s2mnet.prediction import Predictor


def predict_volume(
    predictor: Predictor,
    path: str | Path,
    output: str | Path,
    window: tuple[float, float] | None = None,
    tta: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    dicom_seg: str | Path | None = None,
) -> Path:
    """Segment every slice of a volume and write the masks as one NIfTI file in the grid of the input.

    Args:
        predictor: the model.
        path: a NIfTI file, a DICOM file or a folder with a DICOM series, see :func:`s2mnet.volumes.read_volume`.
        output: the file to write, .nii or .nii.gz. It holds the label values of the training masks, with the shape
            and the affine of the input (for DICOM: columns, rows, slices).
        window: (centre, width), see :func:`s2mnet.volumes.to_uint8`. Use the window of the training images.
        tta: see :meth:`s2mnet.Predictor.predict`.
        progress: called with the slices done and their total after each.
        dicom_seg: a file for the mask as a DICOM Segmentation object, see :func:`s2mnet.volumes.write_dicom_seg`.
            Whether the input allows one is checked before the prediction.

    Returns:
        The NIfTI file written.

    Raises:
        S2MNetError: the volume cannot be read; the output has no NIfTI name, is the input or any other file but an
            earlier mask of this volume, or cannot be written; the input does not allow the DICOM Segmentation object.
    """
    path, output = Path(path), Path(output)
    check_output(output, path)
    preprocessing, labels = predictor.config.preprocessing, predictor.config.labels
    volume = read_volume(path, preprocessing.orientation)
    _check_channels(preprocessing, path)
    check_replaceable(output, volume)
    if dicom_seg is not None:
        check_dicom_seg(volume, labels, dicom_seg)
    slices = with_neighbours(to_uint8(volume, window), preprocessing.neighbours)
    predicted = []
    for done, image in enumerate(slices, 1):
        predicted.append(predictor.predict(np.ascontiguousarray(image), tta).indices)
        if progress:
            progress(done, len(slices))
    indices = np.stack(predicted)
    write_nifti_mask(labels.decode(indices), volume, output)
    if dicom_seg is not None:
        try:
            write_dicom_seg(indices, volume, labels, dicom_seg)
        except S2MNetError as error:
            fix = f"{error.fix} The NIfTI mask is written: {output}."
            raise S2MNetError(error.where, error.problem, fix) from None
    return output


def mask_stem(path: str | Path) -> str:
    """The name of a volume without its suffix, from which the names of its masks are made.

    Example:
        >>> mask_stem("a/heart.NII.gz"), mask_stem("CT.dcm"), mask_stem("scan/series/.."), mask_stem("/")
        ('heart', 'CT', 'scan', 'volume')
    """
    name = Path(os.path.abspath(path)).name  # "." and ".." have names, too; links keep theirs
    suffix = next((suffix for suffix in (*reversed(SUFFIXES), ".dcm") if name.lower().endswith(suffix)), "")
    return safe_stem(name.removesuffix(name[len(name) - len(suffix) :]) or "volume", ".seg.dcm")


def _check_channels(preprocessing: Preprocessing, path: Path) -> None:
    """A volume gives one channel, or a slice with its neighbours. A model of several sequences needs several."""
    needed = len(preprocessing.stored)
    if needed and needed != 2 * preprocessing.neighbours + 1:
        problem = f"is a single volume; the model was trained on the channels {', '.join(preprocessing.stored)}"
        fix = "Write a TIFF with these as grey samples per pixel for each slice, and predict their folder."
        raise S2MNetError(path, problem, fix)
