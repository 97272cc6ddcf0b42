"""The images and masks of a download, by the layout in its description alone."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from functools import partial, reduce
from pathlib import Path, PurePath

import numpy as np
from PIL import ImageColor

from s2mnet.data import Dataset, read_image, read_mask
from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.data.splits import Split, by_hash, in_order
from s2mnet.datasets.reading import COMPLETE, by_stem, check_shapes
from s2mnet.datasets.record import STEM, Download, Part, PublicSet, Record
from s2mnet.errors import S2MNetError


def _two_valued(mask: Path, _: Dataset) -> np.ndarray:
    raw = read_mask(mask)
    return raw > (127 if raw.max() > 1 else 0)


def _nearest_colour(mask: Path, dataset: Dataset) -> np.ndarray:
    pixels = read_image(mask).astype(np.int64)
    if pixels.ndim != 3:
        raise S2MNetError(mask, "is grey; a mask has coloured regions on black", "Check the file.")
    pure = [(0, 0, 0), *(ImageColor.getrgb(dataset.colours[index]) for index in sorted(dataset.colours))]
    return ((pixels[:, :, None] - np.array(pure)) ** 2).sum(axis=-1).argmin(axis=-1)


LABELS: Mapping[str, Callable[[Path, Dataset], np.ndarray]] = {
    "two-valued": _two_valued,
    "above half": lambda mask, _: read_mask(mask) > 127,
    "nonzero": lambda mask, _: read_mask(mask) > 0,
    "nearest colour": _nearest_colour,
}
"""How a mask file becomes class indices (H, W).

"two-valued": 1 for the higher of 0 and 1, or of 0 and 255. "above half": 1 above 127, for masks with JPEG noise.
"nonzero": 1 above 0, for instances. "nearest colour": the class with the nearest colour, for blurred colour masks.
"""


def find(public: PublicSet, root: Path) -> Download:
    """List the records of a folder with one of the layouts of the data set.

    Raises:
        S2MNetError: an image has no mask, or a name does not follow the pattern of the data set.
    """
    layout = next(layout for layout in public.layouts if layout.fits(root))
    records, left_out = [], []
    for part in layout.parts:
        masks = _by_image(root, part, part.masks)
        fields = _by_image(root, part, part.field)
        truths = {mask for together in masks.values() for mask in together}
        images = {stem: file for stem, file in by_stem(root, part.images).items() if file not in truths}
        if part.left_out and not masks:
            left_out += [part.left_out.format(len(images))] if images else []
            continue
        groups = {stem: _group(part, stem, image) for stem, image in images.items()}
        splits = _split(part, list(groups.values()))
        for stem, image in images.items():
            mask = partial(_truth, public, _of(image, masks, part.masks), _of(image, fields, part.field))
            records.append(Record(stem, splits[groups[stem]], groups[stem], image, mask))
    return Download(records, left_out, layout.rule)


def _by_image(root: Path, part: Part, pattern: str) -> dict[str, list[Path]]:
    """The files that match a pattern, by the part of their stem in the place of ``{}``."""
    if not pattern:
        return {}
    name = fnmatch.translate(STEM.sub("STEM", PurePath(pattern).stem)).replace("STEM", "(.+?)")
    files: dict[str, list[Path]] = {}
    for stem, file in by_stem(root, STEM.sub(PurePath(part.images).stem, pattern)).items():
        match = re.match(name, stem)
        if match:
            files.setdefault(match[1], []).append(file)
    return files


def _of(image: Path, files: dict[str, list[Path]], pattern: str) -> list[Path]:
    if not pattern:
        return []
    placeholder, name = STEM.findall(pattern)[0], PurePath(pattern).stem
    own = files.get(placeholder.format(image.stem))
    if own is None:
        raise S2MNetError(image, f"is an image without its mask {name.format(image.stem)}", COMPLETE)
    return own


def _group(part: Part, stem: str, image: Path) -> str:
    match = re.fullmatch(part.group, stem)
    if match is None:
        problem = f"has a name that does not follow the pattern of the data set, {part.group}"
        raise S2MNetError(image, problem, "Check the download.")
    return part.group_name.format(match[1])


def _split(part: Part, groups: list[str]) -> dict[str, Split]:
    if part.split == "by hash":
        return by_hash(groups)
    if part.split == "in order":
        return in_order(groups)
    return dict.fromkeys(groups, part.split) | part.exceptions


def _truth(public: PublicSet, masks: list[Path], fields: list[Path]) -> np.ndarray:
    """Class indices, uint8 (H, W): the union of the masks, 255 outside of the field of view."""
    classes = {mask: LABELS[public.labels](mask, public) for mask in masks}
    inside = {field: _two_valued(field, public) for field in fields}
    check_shapes(classes | inside)
    truth = reduce(np.maximum, classes.values()).astype(np.uint8)
    return reduce(lambda known, field: np.where(field, known, np.uint8(IGNORE_INDEX)), inside.values(), truth)
