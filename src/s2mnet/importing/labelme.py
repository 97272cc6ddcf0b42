"""labelme: a json file for each image, with polygons, rectangles, circles and masks."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from s2mnet.data import Dataset
from s2mnet.datasets.record import Record
from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.importing.affixes import split_of_folder
from s2mnet.importing.content import Content, files_holding, no_pairs, unique_names
from s2mnet.importing.imagefiles import Images
from s2mnet.importing.shapes import Drawn, class_names, class_values, draw, drawn_polygon, ignored_value
from s2mnet.jsonfile import read_json
from s2mnet.text import listed

_LARGEST = 500_000_000  # bytes: a file may hold its image
_CORRECT = "Export it again."
_ORDER = "labels.txt"


def fits(root: Path) -> bool:
    """Whether a json file has shapes and the path of an image."""
    return bool(_files(root))


def _files(root: Path) -> list[Path]:
    return files_holding(root, ".json", b'"shapes"', b'"imagePath"')


def read(root: Path) -> Content:
    """List the images of all json files. Classes are in the order of ``labels.txt`` if there is one, else sorted.

    Shapes are filled as labelme itself fills them: corners are pixels, and belong to the object. Lines and points have
    no area and are left out. An image without shapes is background.

    Raises:
        S2MNetError: a json is not labelme's, or an image does not exist.
    """
    files = _files(root)
    if not files:
        raise no_pairs(root, "json file of labelme")
    images, stated = Images(root), {file: _stated(file) for file in files}
    labels = sorted({str(shape.get("label")) for content in stated.values() for shape in content["shapes"]})
    order = root / _ORDER
    first = order.read_text(encoding="utf-8").split("\n") if order.is_file() else []
    with guarded(root, "has too many classes", "Merge some."):
        values = class_values([name.strip() for name in first if name.strip() and name.strip() in labels] + labels)
    stems, left_out = unique_names(files, root), Counter[str]()
    records, used = [], set()
    for file, content in stated.items():
        with guarded(file, "is not a file of labelme", _CORRECT):
            objects = [each for shape in content["shapes"] if (each := _object(file, shape, left_out))]
            size = (int(content["imageHeight"]), int(content["imageWidth"])) if content.get("imageHeight") else None
            image = _image(file, content, images)
            split = split_of_folder(file.relative_to(root).parent) or "train"
            if isinstance(image, Path):
                used.add(image)
                mask = partial(draw, image, objects, values, size)
            else:
                mask = partial(draw, None, objects, values, image().shape[:2])
            records.append(Record(stems[file], split, stems[file], image, mask))
    notes = [f"Without an area and left out: {listed([f'{n} × {kind}' for kind, n in left_out.items()])}."]
    dataset = Dataset(name=root.resolve().name, classes=class_names(values), ignore=ignored_value(values))
    return Content(records, dataset, images.rest(used), notes if left_out else [])


def _stated(file: Path) -> dict[str, Any]:
    with guarded(file, "is not a file of labelme", _CORRECT):
        content = read_json(file, _LARGEST)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            raise ValueError("it has no list of shapes")
        return content


def _image(file: Path, content: dict[str, Any], images: Images) -> Any:
    """The file of the image, beside the json or below the root; or a function that decodes the image in the json."""
    try:
        return images.find(str(content["imagePath"]), file)
    except S2MNetError:
        if not content.get("imageData"):
            raise
    return partial(_embedded, file)


def _embedded(file: Path) -> np.ndarray:
    with guarded(file, "holds an image that cannot be decoded", _CORRECT):
        return _decoded(_stated(file)["imageData"], "RGB")


def _decoded(text: str, mode: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG", "JPEG")) as picture:
            return np.array(picture if picture.mode in ("L", mode) else picture.convert(mode))
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


def _object(file: Path, shape: dict[str, Any], left_out: Counter[str]) -> Drawn | None:
    kind, points = str(shape.get("shape_type") or "polygon"), shape["points"]
    label = str(shape["label"])
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return Drawn(label, partial(drawn_polygon, [(left, top), (right, top), (right, bottom), (left, bottom)]))
    if kind in ("polygon", "rectangle", "oriented_rectangle") and len(points) >= 3:
        return Drawn(label, partial(drawn_polygon, points))
    if kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return Drawn(label, partial(_circle, x, y, radius))
    if kind == "mask":
        left, top = (int(value) for value in points[0])
        return Drawn(label, partial(_placed, file, str(shape["mask"]), top, left))
    left_out[kind] += 1
    return None


def _circle(x: float, y: float, radius: float, size: tuple[int, int]) -> np.ndarray:
    picture = Image.new("1", size[::-1])
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    return np.array(picture)


def _placed(file: Path, text: str, top: int, left: int, size: tuple[int, int]) -> np.ndarray:
    with guarded(file, "has a mask that cannot be decoded", _CORRECT):
        patch = _decoded(text, "L") > 0
        result = np.zeros(size, bool)
        part = result[top : top + patch.shape[0], left : left + patch.shape[1]]
        if min(top, left) < 0 or part.shape != patch.shape:
            raise ValueError(f"{patch.shape[0]} × {patch.shape[1]} px at ({top}, {left}) exceed the image")
        part[:] = patch
        return result
