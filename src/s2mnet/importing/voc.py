"""Pascal VOC's masks with a colour for each class, as CVAT's "segmentation mask 1.1" writes them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from s2mnet.data import IGNORE_INDEX, Dataset, read_image
from s2mnet.data.splits import Split
from s2mnet.datasets.reading import by_stem
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.importing.affixes import split_of_folder
from s2mnet.importing.content import Content, no_pairs, split_named, unique_names
from s2mnet.importing.imagefiles import Images
from s2mnet.importing.shapes import class_names, class_values, ignored_value

_MASKS, _MAP, _LISTS = "SegmentationClass", "labelmap.txt", "ImageSets/Segmentation"
_NO_TRUTH = (224, 224, 192)  # the outlines of objects in VOC
Colour = tuple[int, int, int]


def fits(root: Path) -> bool:
    """Whether there is a folder ``SegmentationClass`` and a ``labelmap.txt``."""
    return (root / _MASKS).is_dir() and (root / _MAP).is_file()


def read(root: Path) -> Content:
    """List the images that have a mask in ``SegmentationClass``. VOC's colour of outlines, (224, 224, 192), is ignored.

    Splits are the lists in ``ImageSets/Segmentation`` that are called train, val or test.

    Raises:
        S2MNetError: ``labelmap.txt`` is wrong, or a mask has no image.
    """
    if not fits(root):
        raise no_pairs(root, f"folder {_MASKS}/ beside {_MAP}")
    colours = _colours(root / _MAP)
    with guarded(root / _MAP, "has too many classes", "Merge some."):
        values = class_values(colours.values())
    table = {colour: values[name] for colour, name in colours.items()}
    ignored = ignored_value(values)
    if _NO_TRUTH not in table:
        table[_NO_TRUTH] = ignored = IGNORE_INDEX
    splits = _splits(root)
    images, masks = Images(root), by_stem(root / _MASKS, "**/*")
    pictures = {image.stem: image for image in images.files if not _is_truth(image.relative_to(root))}
    alone = next((mask for stem, mask in masks.items() if stem not in pictures), None)
    if alone:
        raise S2MNetError(alone, "is a mask without an image of its name", "Add the image to JPEGImages/.")
    pairs = {pictures[stem]: mask for stem, mask in masks.items()}
    stems, records = unique_names(list(pairs), root), []
    for image, mask in pairs.items():
        split = splits.get(image.stem) or split_of_folder(image.relative_to(root).parent) or "train"
        records.append(Record(stems[image], split, stems[image], image, partial(_classes, mask, table)))
    if not records:
        raise no_pairs(root, "image with its mask")
    dataset = Dataset(name=root.resolve().name, classes=class_names(values), ignore=ignored)
    without = [image.relative_to(root).as_posix() for image in pictures.values() if image not in pairs]
    return Content(records, dataset, without)


def _is_truth(path: Path) -> bool:
    return path.parts[0].startswith("Segmentation")


def _colours(file: Path) -> dict[Colour, str]:
    """Name of each colour. A line is ``name:r,g,b:parts:actions``; without a background, black is one."""
    colours: dict[Colour, str] = {}
    place = 0
    with guarded(file, "is not a list of labels and colours", "Correct it: one line for each, such as cell:255,0,0::."):
        for line in file.read_text(encoding="utf-8-sig").split("\n"):
            if line.strip() and not line.startswith("#"):
                name, colour, *_ = line.strip().rsplit(":", 3)
                red, green, blue = map(int, colour.split(",")) if colour else default_colour(place)
                place += 1
                if (red, green, blue) in colours:
                    raise ValueError(f"{name} has the colour of {colours[red, green, blue]}")
                colours[red, green, blue] = name
    return colours if "background" in colours.values() else {(0, 0, 0): "background"} | colours


def default_colour(index: int) -> Colour:
    """VOC's own colour of a class: the bits of its index in turn, from the highest bit of each channel down.

    Example:
        >>> [default_colour(index) for index in (0, 1, 2, 15)]
        [(0, 0, 0), (128, 0, 0), (0, 128, 0), (192, 128, 128)]
    """
    red, green, blue = (
        sum((index >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3)
    )
    return red, green, blue


def _splits(root: Path) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for file in sorted((root / _LISTS).glob("*.txt")):
        split = split_named(file.stem)
        if split:
            with guarded(file, "is not a list of names", "Save it in UTF-8, one name a line."):
                lines = file.read_text(encoding="utf-8").split("\n")
            splits |= {Path(line.strip()).name: split for line in lines if line.strip()}
    return splits


def _classes(mask: Path, table: dict[Colour, int]) -> np.ndarray:
    """Class indices of a mask in colours."""
    pixels = read_image(mask)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    numbers = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    lookup = {red * 65536 + green * 256 + blue: value for (red, green, blue), value in table.items()}
    held = np.unique(numbers)
    strange = [number for number in held.tolist() if number not in lookup]
    if strange:
        colour = (strange[0] >> 16, strange[0] >> 8 & 255, strange[0] & 255)
        problem = f"has the colour {colour} on {int((numbers == strange[0]).sum())} px, which is not in {_MAP}"
        raise S2MNetError(mask, problem, "Add its line to labelmap.txt, or export the masks as PNG.")
    return np.array([lookup[number] for number in held.tolist()], np.uint8)[np.searchsorted(held, numbers)]
