"""A trained model on a volume, slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s2mnet.errors import S2MNetError
from s2mnet.volumes.dicom import check_dicom_seg, write_dicom_seg
from s2mnet.volumes.neighbours import with_neighbours
from s2mnet.volumes.nifti import check_output, write_nifti_mask
from s2mnet.volumes.read import read_volume
from s2mnet.volumes.window import to_uint8

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
    """Segment every slice of a volume and write the masks as one NIfTI in the grid of the input.

    Args:
        predictor: the model.
        path: a NIfTI file, a DICOM file or a folder with a DICOM series, see :func:`s2mnet.volumes.read_volume`.
        output: the file to write, .nii or .nii.gz: label values of the training masks, with the shape and the affine
            of the input (from DICOM: columns, rows, slices).
        window: (centre, width), see :func:`s2mnet.volumes.to_uint8`. Use the one the training images were made with.
        tta: see :meth:`s2mnet.Predictor.predict`.
        progress: called with slices done and slices in all.
        dicom_seg: a file to write the mask to as a DICOM Segmentation object, too, see
            :func:`s2mnet.volumes.write_dicom_seg`. Whether that can be done is found out before the prediction.

    Returns:
        The NIfTI file written.

    Raises:
        S2MNetError: the volume cannot be read, or the output is no NIfTI name, is the input, or cannot be written; a
            DICOM Segmentation object is asked for and cannot be made of this input.
    """
    path, output = Path(path), Path(output)
    check_output(output, path)
    volume = read_volume(path)
    labels = predictor.config.labels
    _check_channels(predictor.config.preprocessing, path)
    if dicom_seg is not None:
        check_dicom_seg(volume, labels, dicom_seg)
    slices = with_neighbours(to_uint8(volume, window), predictor.config.preprocessing.neighbours)
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
            mend = f"{error.mend} The NIfTI mask is written: {output}."
            raise S2MNetError(error.where, error.found, error.expected, mend) from None
    return output


def _check_channels(preprocessing: Preprocessing, path: Path) -> None:
    """One volume gives one channel, or its neighbours beside it; a model of several sequences needs several."""
    needed = len(preprocessing.stored)
    if needed and needed != 2 * preprocessing.neighbours + 1:
        expected = f"images of the channels {', '.join(preprocessing.stored)}, which the model was trained on"
        mend = "Write a TIFF with these as grey samples per pixel for each slice, and predict their folder."
        raise S2MNetError(path, "a single volume", expected, mend)
