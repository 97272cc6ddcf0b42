"""An image and its mask, read together: the one place that insists on their being of one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s2mnet.data.cases import Case
from s2mnet.data.images import read_image, read_mask
from s2mnet.data.labels import IGNORE_INDEX, LabelMap
from s2mnet.errors import S2MNetError


def read_pair(image_file: Path, mask_file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W[, 3]) and raw mask values (H, W).

    Raises:
        S2MNetError: either cannot be read, or their sizes differ.
    """
    image, mask = read_image(image_file), read_mask(mask_file)
    if image.shape[:2] != mask.shape:
        found = f"a mask of {mask.shape[0]} × {mask.shape[1]} px (height × width)"
        expected = f"the size of its image {image_file.name}, {image.shape[0]} × {image.shape[1]} px"
        raise S2MNetError(mask_file, found, expected, "Export image and mask at one size and orientation.")
    return image, mask


def load_case(case: Case, labels: LabelMap) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W[, 3]) and class indices uint8 (H, W), 255 where there is no truth, of a case with a mask.

    Raises:
        S2MNetError: as :func:`read_pair`; a case without a mask; a value that stands for no class; a field of view of
            another size.
    """
    mask_file = mask_of(case)
    image, mask = read_pair(case.image, mask_file)
    indices = labels.encode(mask, mask_file)
    if case.field:
        field = read_pair(case.image, case.field)[1]
        indices[field == 0] = IGNORE_INDEX
    return image, indices


def mask_of(case: Case) -> Path:
    """The mask file of a case.

    Raises:
        S2MNetError: the case has none.
    """
    if case.mask is None:
        raise S2MNetError(case.image, "has no mask", "Add a mask with the same file name, without its extension.")
    return case.mask
