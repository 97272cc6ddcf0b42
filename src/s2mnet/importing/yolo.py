"""YOLO's polygons: a text file for each image, and a yaml file with the names of classes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from s2mnet.data import Dataset
from s2mnet.data.splits import SPLITS, Split
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.importing.affixes import split_of_folder
from s2mnet.importing.content import Content, no_pairs, unique_names, visible
from s2mnet.importing.imagefiles import Images
from s2mnet.importing.shapes import Drawn, class_names, class_values, draw, drawn_polygon
from s2mnet.yamlfile import read_yaml

_LABELS, _IMAGES = "labels", "images"
_NAMES = "classes.txt"


class _Stated(BaseModel):
    """What is used of ``data.yaml``."""

    names: dict[int, str] | list[str]
    path: str = ""
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None


def fits(root: Path) -> bool:
    """Whether there are text files in folders called labels, and the names of classes."""
    return bool(_label_files(root)) and _names_file(root) is not None


def _label_files(root: Path) -> list[Path]:
    files = [file for file in visible(root) if file.suffix.lower() == ".txt"]
    return [file for file in files if _LABELS in file.relative_to(root).parts[:-1] and file.name != _NAMES]


def _names_file(root: Path) -> Path | None:
    files = [file for file in visible(root) if file.suffix.lower() in (".yaml", ".yml")]
    stated = [file for file in files if "names:" in file.read_text(encoding="utf-8", errors="replace")]
    return next(iter(stated or [file for file in visible(root) if file.name == _NAMES]), None)


def read(root: Path) -> Content:
    """List the images that have a text file; an empty one is an image without objects.

    Raises:
        S2MNetError: there are only boxes, a line is no polygon, its class has no name, or an image does not exist.
    """
    files, source = _label_files(root), _names_file(root)
    if not files or source is None:
        raise no_pairs(root, f"folder {_LABELS}/ with text files, and a data.yaml with names")
    stated = _read_names(source)
    names = dict(enumerate(stated.names)) if isinstance(stated.names, list) else stated.names
    names = dict(sorted(names.items()))
    with guarded(source, "has names that cannot be used", "Correct it."):
        if len(set(names.values())) < len(names):
            raise ValueError("two classes have the same name")
        values = class_values(names.values())
    images = Images(root)
    splits = _splits(source, stated, images)
    held: dict[tuple[Path, str], list[Path]] = {}
    for image in images.files:
        held.setdefault((image.parent, image.stem), []).append(image)
    pairs = {_image(file, root, held): file for file in files}
    stems = unique_names(list(pairs), root)
    records, boxes, polygons = [], 0, 0
    for image, file in pairs.items():
        objects, others = _objects(file, names)
        polygons, boxes = polygons + len(objects), boxes + others
        mask = partial(draw, image, objects, values, None)
        split = splits.get(image) or split_of_folder(image.relative_to(root).parent) or "train"
        records.append(Record(stems[image], split, stems[image], image, mask))
    if boxes and not polygons:
        raise S2MNetError(root, f"has {boxes} boxes and no polygons", "Export polygons (segmentation).")
    notes = [f"Left out: {boxes} boxes among the polygons."] if boxes else []
    return Content(records, Dataset(name=root.resolve().name, classes=class_names(values)), images.rest(pairs), notes)


def _read_names(source: Path) -> _Stated:
    if source.name == _NAMES:
        with guarded(source, "is not a list of names", "Save it in UTF-8, one name a line."):
            lines = [line.strip() for line in source.read_text(encoding="utf-8").split("\n")]
            return _Stated(names=[line for line in lines if line])
    return read_yaml(source, _Stated, "Correct it.")


def _splits(source: Path, stated: _Stated, images: Images) -> dict[Path, Split]:
    """The splits that ``data.yaml`` states by folders or by lists of images."""
    splits: dict[Path, Split] = {}
    for split in SPLITS:
        places = getattr(stated, split) or []
        for place in [places] if isinstance(places, str) else places:
            for path in (source.parent / stated.path / place, source.parent / place):
                if path.is_file() and path.suffix == ".txt":
                    with guarded(path, "is not a list of images", "Save it in UTF-8."):
                        lines = path.read_text(encoding="utf-8").split("\n")
                    splits |= {images.find(line.strip(), path): split for line in lines if line.strip()}
                elif path.is_dir():
                    folder = path.resolve()
                    splits |= {file: split for file in images.files if file.resolve().is_relative_to(folder)}
    return splits


def _image(file: Path, root: Path, images: dict[tuple[Path, str], list[Path]]) -> Path:
    """The image beside a text file, or in the folder images in place of labels."""
    parts = list(file.relative_to(root).parent.parts)
    place = len(parts) - 1 - parts[::-1].index(_LABELS)
    folders = (root.joinpath(*parts[:place], _IMAGES, *parts[place + 1 :]), file.parent)
    held = [image for folder in dict.fromkeys(folders) for image in images.get((folder, file.stem), [])]
    if len(held) != 1:
        problem = f"has {len(held)} images called {file.stem}" if held else "has no image of its name"
        raise S2MNetError(file, problem, f"Put one image into {folders[0]}.")
    return held[0]


def _objects(file: Path, names: dict[int, str]) -> tuple[list[Drawn], int]:
    """The polygons of an image, and the number of boxes."""
    objects, boxes = [], 0
    with guarded(file, "is not a list of polygons", "Export polygons (segmentation)."):
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
            fields = line.split()
            if not fields:
                continue
            label, numbers = int(fields[0]), np.array([float(field) for field in fields[1:]])
            if len(numbers) == 4:
                boxes += 1
                continue
            if len(numbers) < 6 or len(numbers) % 2:
                many = f"{len(numbers)} numbers"
                raise ValueError(f"line {number} has {many} after the class; a polygon has three points or more")
            if label not in names:
                raise ValueError(f"line {number} has the class {label}, which has no name")
            if not (np.isfinite(numbers).all() and numbers.min() >= -0.01 and numbers.max() <= 1.01):
                raise ValueError(f"line {number} has coordinates outside 0 to 1")
            objects.append(Drawn(names[label], partial(_scaled, numbers.reshape(-1, 2))))
    return objects, boxes


def _scaled(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As Ultralytics fills it: corners are pixels, and belong to the object."""
    return drawn_polygon(np.rint(points * np.array(size[::-1])), size)
