"""COCO's json of objects: polygons, run lengths, and crowds."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.data import Dataset
from s2mnet.data.splits import Split
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.importing.affixes import split_of_folder
from s2mnet.importing.content import Content, no_pairs, unique_names, visible
from s2mnet.importing.imagefiles import Images
from s2mnet.importing.shapes import Drawn, class_names, class_values, draw
from s2mnet.jsonfile import read_json

_LARGEST = 1_000_000_000  # bytes: the training part of COCO has 450 million
_PARTS = (b'"images"', b'"annotations"', b'"categories"')
_CORRECT = "Export it again."


def fits(root: Path) -> bool:
    """Whether a json file has images, annotations and categories."""
    return bool(_files(root))


def _files(root: Path) -> list[Path]:
    return [file for file in visible(root) if file.suffix.lower() == ".json" and _is_coco(file)]


def _is_coco(file: Path) -> bool:
    content = file.read_bytes()
    return all(part in content for part in _PARTS)


def read(root: Path) -> Content:
    """List the images of all json files. A crowd is of the class of its objects. Boxes alone are no masks.

    The split of an image is that of its folder or of the name of its json file, such as ``instances_val.json``. An
    image without an annotation is background.

    Raises:
        S2MNetError: pycocotools is not installed, a json is not COCO's, an image does not exist, or there are only
            boxes.
    """
    _library(root)
    files = _files(root)
    contents = {file: _Coco(file) for file in files}
    names = [name for content in contents.values() for name in content.categories.values()]
    with guarded(files[0] if files else root, "has too many classes", "Merge some."):
        values = class_values(names)
    images, where = Images(root), dict[Path, tuple[Split, Any]]()
    for file, content in contents.items():
        split = split_of_folder(file.relative_to(root).with_suffix(""))
        for number, entry in content.images.items():
            image = images.find(str(entry["file_name"]), file)
            if image in where:
                raise S2MNetError(file, f"has {image.name} a second time", "Keep one of the two entries.")
            own = split or split_of_folder(image.relative_to(root).parent) or "train"
            size = (int(entry["height"]), int(entry["width"])) if "height" in entry and "width" in entry else None
            where[image] = own, partial(draw, image, content.objects[number], values, size)
    if not where:
        raise no_pairs(root, "json file of COCO with images")
    boxes = sum(content.boxes for content in contents.values())
    if boxes and not any(any(content.objects.values()) for content in contents.values()):
        raise S2MNetError(root, f"has {boxes} boxes and no segmentation", "Export polygons or masks.")
    notes = [f"Left out: {boxes} boxes without a segmentation."] if boxes else []
    stems = unique_names(list(where), root)
    records = [Record(stems[image], split, stems[image], image, mask) for image, (split, mask) in where.items()]
    dataset = Dataset(name=root.resolve().name, classes=class_names(values))
    return Content(records, dataset, images.rest(where), notes)


class _Coco:
    """The images, the categories, the objects by image, and the number of boxes without an outline of one file."""

    def __init__(self, file: Path) -> None:
        with guarded(file, "is not a json of COCO", _CORRECT):
            stated = read_json(file, _LARGEST)
            self.images = {entry["id"]: entry for entry in stated["images"]}
            order = sorted(stated["categories"], key=lambda entry: entry["id"])
            used = {entry["category_id"] for entry in stated["annotations"]}
            groups = {entry.get("supercategory") for entry in order}  # Roboflow lists the group as a category too
            order = [entry for entry in order if entry["id"] in used or entry["name"] not in groups]
            self.categories = {entry["id"]: str(entry["name"]) for entry in order}
            self.boxes = 0
            self.objects: dict[int, list[Drawn]] = defaultdict(list)
            for entry in stated["annotations"]:
                label = self.categories[entry["category_id"]]
                outline = entry.get("segmentation")
                if not outline:
                    self.boxes += 1
                    continue
                if entry["image_id"] not in self.images:
                    raise ValueError(f"annotation {entry.get('id')} is of an image that is not listed")
                self.objects[entry["image_id"]].append(Drawn(label, partial(_decoded, file, outline)))


def _library(where: Path) -> Any:
    try:
        from pycocotools import mask
    except ImportError:
        problem = "is a data set of COCO, and pycocotools, which decodes its masks, is not installed"
        raise S2MNetError(where, problem, "Install it: pip install 's2mnet[import]'.") from None
    return mask


def _decoded(file: Path, outline: Any, size: tuple[int, int]) -> np.ndarray:
    library = _library(file)
    with guarded(file, "has a segmentation that cannot be decoded", _CORRECT):
        if isinstance(outline, list):
            runs = library.frPyObjects(outline, *size)
        else:
            if tuple(outline["size"]) != size:
                raise ValueError(f"it is of {outline['size']} px, its image of {list(size)}")
            listed = isinstance(outline["counts"], list)
            if listed and sum(outline["counts"]) != size[0] * size[1]:
                raise ValueError(f"its run lengths sum to {sum(outline['counts'])}, not to {size[0] * size[1]}")
            runs = [library.frPyObjects(outline, *size) if listed else outline]
        return np.asarray(library.decode(library.merge(runs)), bool)
