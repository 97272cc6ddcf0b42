"""An image and its mask, read together: the only place that checks that their sizes agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s2mnet.data.cases import Case, ImageFolder
from s2mnet.data.images import check_palettes, read_image, read_mask
from s2mnet.data.label_rules import histogram
from s2mnet.data.labels import IGNORE_INDEX, LabelMap, infer_labels
from s2mnet.errors import S2MNetError


def read_pair(image_file: Path, mask_file: Path, labels: LabelMap | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W[, C]) and raw mask values (H, W), read as the labels have them if these are known.

    Raises:
        S2MNetError: either cannot be read, or their sizes differ.
    """
    image = read_image(image_file)
    return image, _read_fitting(mask_file, image_file, image, labels)


def read_field(case: Case, image: np.ndarray) -> np.ndarray | None:
    """Where a case has a truth, bool (H, W): inside its field of view; None if it has none.

    Raises:
        S2MNetError: the file cannot be read, or its size is not that of the image.
    """
    return _read_fitting(case.field, case.image, image) != 0 if case.field else None


def class_indices(mask: np.ndarray, field: np.ndarray | None, labels: LabelMap, where: str | Path) -> np.ndarray:
    """Class indices uint8 (H, W) of raw mask values; 255 where there is no truth.

    Raises:
        S2MNetError: a value that stands for no class.
    """
    indices = labels.encode(mask, where)
    if field is not None:
        indices[~field] = IGNORE_INDEX
    return indices


def labels_of(folder: ImageFolder) -> LabelMap:
    """The label map of a data folder: of its ``dataset.yaml``, else inferred from all masks.

    Raises:
        S2MNetError: a mask cannot be read, or the values of the masks have no known meaning.
    """
    stated = folder.dataset.label_map()
    if stated is not None:
        return stated
    masks = {case.mask: histogram(read_mask(case.mask)) for case in folder.cases_of("all") if case.mask}
    check_palettes(masks)
    return infer_labels(masks, read=read_mask)


def load_case(case: Case, labels: LabelMap) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H, W[, C]) and class indices uint8 (H, W), 255 where there is no truth, of a case with a mask.

    Raises:
        S2MNetError: as :func:`read_pair`; a case without a mask; a value that stands for no class; a field of view of
            another size.
    """
    mask_file = mask_of(case)
    image, mask = read_pair(case.image, mask_file, labels)
    return image, class_indices(mask, read_field(case, image), labels, mask_file)


def mask_of(case: Case) -> Path:
    """The mask file of a case.

    Raises:
        S2MNetError: the case has none.
    """
    if case.mask is None:
        raise S2MNetError(case.image, "has no mask", "Add a mask with the same file name, without its extension.")
    return case.mask


def _read_fitting(mask_file: Path, image_file: Path, image: np.ndarray, labels: LabelMap | None = None) -> np.ndarray:
    mask = read_mask(mask_file, labels.raw_values if labels else ())
    if image.shape[:2] != mask.shape:
        sizes = [f"{height} × {width} px" for height, width in (mask.shape, image.shape[:2])]
        problem = f"has {sizes[0]} (height × width); its image {image_file.name} has {sizes[1]}"
        raise S2MNetError(mask_file, problem, "Export image and mask at one size and orientation.")
    return mask
