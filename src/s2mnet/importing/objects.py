"""One folder for each image, with one mask file for each object, as in the Data Science Bowl 2018."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from s2mnet.data.images import is_image_file
from s2mnet.datasets.record import Record
from s2mnet.importing.affixes import role_of, split_of_folder
from s2mnet.importing.content import Content, no_pairs, unique_names, visible
from s2mnet.importing.paired import union


def fits(root: Path) -> bool:
    """Whether images lie alone in a folder beside a folder of masks, of which there are several for an image."""
    return any(len(masks) > 1 for masks in _objects(root).values())


def read(root: Path) -> Content:
    """List the images; each mask is the union of its objects. An image of which no mask folder exists is left out.

    Raises:
        S2MNetError: no image has a folder of masks.
    """
    held = _objects(root)
    if not held:
        raise no_pairs(root, "folder with one image beside a folder of its masks")
    names = unique_names(list(held), root)
    records = []
    for image, masks in held.items():
        split = split_of_folder(image.relative_to(root).parent) or "train"
        records.append(Record(names[image], split, names[image], image, partial(union, masks)))
    alone = [file for file in visible(root) if is_image_file(file) and role_of(file.parent.name) == "image"]
    without = [image.relative_to(root).as_posix() for image in alone if image not in held]
    return Content(records, without=without, notes=["All objects are foreground."])


def _objects(root: Path) -> dict[Path, list[Path]]:
    """The masks of each image that lies alone in a folder beside a folder of masks."""
    pictures: dict[Path, list[Path]] = {}
    for file in visible(root):
        if is_image_file(file):
            pictures.setdefault(file.parent, []).append(file)
    held = {}
    for folder, files in pictures.items():
        masks = [other for other in pictures if other.parent == folder.parent and role_of(other.name) == "mask"]
        if len(files) == 1 and role_of(folder.name) == "image" and len(masks) == 1:
            held[files[0]] = pictures[masks[0]]
    return held
