"""CVAT for images 1.1: one XML file with polygons, masks, boxes and ellipses of all images."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from s2mnet.data import Dataset
from s2mnet.datasets.record import Record
from s2mnet.guard import guarded
from s2mnet.importing.affixes import split_of_folder
from s2mnet.importing.content import Content, files_holding, no_pairs, split_named, unique_names
from s2mnet.importing.imagefiles import Images
from s2mnet.importing.safexml import read_xml
from s2mnet.importing.shapes import Drawn, class_names, class_values, draw, ellipse, polygon
from s2mnet.text import listed

_CORRECT = "Export it again as CVAT for images 1.1."
_KINDS = ("polygon", "mask", "box", "ellipse")
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")


def fits(root: Path) -> bool:
    """Whether an XML file has annotations of images."""
    return bool(_files(root))


def _files(root: Path) -> list[Path]:
    return files_holding(root, ".xml", b"<annotations", b"<image ")


def read(root: Path) -> Content:
    """List the images of all XML files. Objects lie over each other by their ``z_order``, then as they are listed.

    The split of an image is its ``subset``, else that of its folder, else the name of the XML file. Lines, points and
    cuboids are left out.

    Raises:
        S2MNetError: the file is not CVAT's, has a document type, or an image does not exist.
    """
    images, left_out = Images(root), Counter[str]()
    entries: list[tuple[Path, Element]] = []
    names: list[str] = []
    for file in _files(root):
        with guarded(file, "is not a file of CVAT for images", _CORRECT):
            tree = read_xml(file)
            names += [str(label.findtext("name")) for label in tree.iterfind("./meta//labels/label")]
            names += [str(shape.get("label")) for kind in _KINDS for shape in tree.iterfind(f"./image/{kind}")]
            entries += [(file, image) for image in tree.iterfind("./image")]
    if not entries:
        raise no_pairs(root, "XML file of CVAT with images")
    with guarded(entries[0][0], "has too many classes", "Merge some."):
        values = class_values(names)
    annotated = {
        images.find(str(entry.get("name")), file, entry.get("subset", "")): (file, entry) for file, entry in entries
    }
    stems, records = unique_names(list(annotated), root), []
    for image, (file, entry) in annotated.items():
        with guarded(file, f"has annotations of {image.name} that cannot be read", _CORRECT):
            size = int(entry.attrib["height"]), int(entry.attrib["width"])
            shapes = [shape for shape in entry if shape.tag in _KINDS]
            shapes.sort(key=lambda shape: int(shape.get("z_order", 0)))
            objects = [_object(file, shape) for shape in shapes]
            left_out.update(shape.tag for shape in entry if shape.tag in _WITHOUT_AREA)
        folder, inner = image.relative_to(root).parent, file.relative_to(root).with_suffix("")
        of_files = split_of_folder(folder) or split_of_folder(inner)
        split = split_named(entry.get("subset", "")) or of_files or "train"
        records.append(Record(stems[image], split, stems[image], image, partial(draw, image, objects, values, size)))
    notes = [f"Without an area and left out: {listed([f'{n} × {kind}' for kind, n in left_out.items()])}."]
    dataset = Dataset(name=root.resolve().name, classes=class_names(values))
    return Content(records, dataset, images.rest(annotated), notes if left_out else [])


def _object(file: Path, shape: Element) -> Drawn:
    label, given = shape.attrib["label"], shape.attrib
    if shape.tag == "polygon":
        points = [tuple(map(float, point.split(","))) for point in given["points"].split(";")]
        return Drawn(label, partial(polygon, points))
    if shape.tag == "ellipse":
        centre, radii = (float(given["cx"]), float(given["cy"])), (float(given["rx"]), float(given["ry"]))
        return Drawn(label, partial(ellipse, centre, radii, float(given.get("rotation", 0))))
    if shape.tag == "box":
        left, top, right, bottom = (float(given[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        turn, middle = np.deg2rad(float(given.get("rotation", 0))), corners.mean(axis=0)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        return Drawn(label, partial(polygon, (corners - middle) @ matrix + middle))
    place = tuple(int(given[side]) for side in ("top", "left", "height", "width"))
    runs = np.array([int(run) for run in given["rle"].split(",")])
    if runs.min() < 0 or runs.sum() > place[2] * place[3]:
        raise ValueError(f"its run lengths sum to {runs.sum()}, above {place[2]} × {place[3]}")
    return Drawn(label, partial(_mask, file, runs, place))


def _mask(file: Path, runs: np.ndarray, place: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    """Runs of background and object in turn, by rows within a rectangle."""
    top, left, height, width = place
    with guarded(file, "has a mask that exceeds its image", _CORRECT):
        patch = np.zeros(height * width, bool)
        patch[: runs.sum()] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        result = np.zeros(size, bool)
        result[top : top + height, left : left + width] = patch.reshape(height, width)
        return result
