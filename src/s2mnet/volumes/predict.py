"""A trained model on a volume, slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s2mnet.volumes.nifti import check_output, write_nifti_mask
from s2mnet.volumes.read import read_volume
from s2mnet.volumes.window import to_uint8

if TYPE_CHECKING:
    from s2mnet.prediction import Predictor


def predict_volume(
    predictor: Predictor,
    path: str | Path,
    output: str | Path,
    window: tuple[float, float] | None = None,
    tta: int | None = None,
    progress: Callable[[int, int], None] | None = None,
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

    Returns:
        The file written.

    Raises:
        S2MNetError: the volume cannot be read, or the output is no NIfTI name, is the input, or cannot be written.
    """
    path, output = Path(path), Path(output)
    check_output(output, path)
    volume = read_volume(path)
    slices = to_uint8(volume, window)
    masks = []
    for done, image in enumerate(slices, 1):
        masks.append(predictor.predict(np.ascontiguousarray(image), tta).mask)
        if progress:
            progress(done, len(slices))
    write_nifti_mask(np.stack(masks), volume, output)
    return output
