"""Objects as polygons, run lengths, masks and colours: COCO, labelme, YOLO, CVAT and VOC."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from outlines import border, objects_of, outline, painted
from PIL import Image
from sources import HEIGHT, WIDTH, described, imported, noise, save, write_json

from s2mnet.errors import S2MNetError
from s2mnet.importing import import_data

NAMES = ["cell", "vessel"]
Source = Callable[[Path], dict[str, np.ndarray]]


def check(folder: Path, truth: dict[str, np.ndarray], part: str = "") -> None:
    held = imported(folder, part)
    assert held.keys() == truth.keys()
    for stem, mask in truth.items():
        np.testing.assert_array_equal(held[stem][1], mask)


def coco(root: Path, kind: str, **changes: Any) -> dict[str, np.ndarray]:
    """Written by COCO's own encoder, but for polygons."""
    from pycocotools import mask as codec

    images, annotations, truth = [], [], {}
    for number in range(3):
        save(root / f"images/im{number}.png", noise(number))
        images.append({"id": 7 + number, "file_name": f"im{number}.png", "height": HEIGHT, "width": WIDTH})
        objects = objects_of(number)
        for value, where in objects:
            encoded = codec.encode(np.asfortranarray(where.astype(np.uint8)))
            segmentation: Any = {"size": encoded["size"], "counts": encoded["counts"].decode()}
            if kind == "polygons":
                segmentation = [[coordinate for point in outline(where) for coordinate in point]]
            if kind == "plain runs":
                flat = where.ravel(order="F").astype(int)
                borders = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
                segmentation["counts"] = np.diff(np.concatenate([[0], borders])).tolist()
            entry = {
                "id": len(annotations) + 1,
                "image_id": 7 + number,
                "category_id": 10 * value,
                "bbox": [0, 0, 1, 1],
            }
            annotations.append(entry | {"segmentation": segmentation, "iscrowd": int(kind != "polygons")})
        truth[f"im{number}"] = painted(objects)
    categories = [{"id": 10 * (value + 1), "name": name} for value, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories[::-1]}
    write_json(root / "annotations/instances.json", content | changes)
    return truth


@pytest.mark.parametrize("kind", ["polygons", "runs", "plain runs"])
def test_coco(tmp_path: Path, kind: str) -> None:
    truth = coco(tmp_path / "src", kind)
    save(tmp_path / "src/images/extra.png", noise(9))
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "coco" and any("images/extra.png" in note for note in done.notes)
    check(tmp_path / "data", truth)
    assert described(tmp_path / "data")["classes"] == {0: "background", 1: "cell", 2: "vessel"}


def test_coco_in_two_pieces_with_splits(tmp_path: Path) -> None:
    """As Roboflow exports it: a json in each folder, and a category for the group that nothing belongs to."""
    for part in ("train", "valid"):
        truth = coco(tmp_path / "one", "polygons")
        content = json.loads((tmp_path / "one/annotations/instances.json").read_text())
        content["categories"] = [{"id": 0, "name": "things"}, *content["categories"]]
        content["categories"][1]["supercategory"] = "things"
        write_json(tmp_path / f"src/{part}/_annotations.coco.json", content)
        for file in (tmp_path / "one/images").glob("*.png"):
            file.rename(tmp_path / f"src/{part}/{file.name}")
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.counts == {"train": 3, "val": 3}
    for part, split in (("train", "train"), ("valid", "val")):
        check(tmp_path / "data", {f"{part}_{stem}": mask for stem, mask in truth.items()}, split)
    assert described(tmp_path / "data")["classes"] == {0: "background", 1: "cell", 2: "vessel"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 7, "file_name": "im0.png"}]}, "is of an image that is not listed"),
        ({"categories": []}, "is not a json of COCO"),
        ({"images": [{"id": 7 + n, "file_name": f"no{n}.png"} for n in range(3)]}, "names no0.png, which is not below"),
        (
            {"images": [{"id": 7 + n, "file_name": f"im{n}.png", "height": 9, "width": 9} for n in range(3)]},
            "annotation was made on 9 × 9 px",
        ),
        (
            {"annotations": [{"id": 3, "image_id": 7, "category_id": 10, "bbox": [1, 2, 3, 4]}]},
            "has 1 boxes and no segmentation",
        ),
        (
            {"annotations": [
                {"image_id": 7, "category_id": 10, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 9]}}
            ]},
            "its run lengths sum to 14",
        ),
    ],
)  # fmt: skip
def test_wrong_coco_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    coco(tmp_path / "src", "polygons", **changes)
    with pytest.raises(S2MNetError, match=message):
        import_data(tmp_path / "src", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_coco_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco(tmp_path / "src", "polygons")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(S2MNetError, match=r"pip install 's2mnet\[import\]'"):
        import_data(tmp_path / "src", tmp_path / "data")


def png(array: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("kind", ["polygon", "mask"])
@pytest.mark.parametrize("embedded", [False, True])
def test_labelme(tmp_path: Path, kind: str, embedded: bool) -> None:
    truth = {}
    for number in range(3):
        shapes: list[dict[str, Any]] = [{"label": "cell", "shape_type": "line", "points": [[0, 0], [5, 5]]}]
        objects = objects_of(number)
        for value, where in objects:
            shape = {"label": NAMES[value - 1], "shape_type": kind, "points": border(where)}
            if kind == "mask":
                rows, columns = np.nonzero(where.any(axis=1))[0], np.nonzero(where.any(axis=0))[0]
                corners = [[int(columns[0]), int(rows[0])], [int(columns[-1]), int(rows[-1])]]
                patch = where[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                shape |= {"points": corners, "mask": png(patch)}
            shapes.append(shape)
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"..\\pics\\im{number}.png"}
        content |= {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imageData": png(noise(number)) if embedded else None}
        write_json(tmp_path / f"src/json/im{number}.json", content)
        if not embedded:
            save(tmp_path / f"src/pics/im{number}.png", noise(number))
        truth[f"im{number}"] = painted(objects)
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "labelme" and any("3 × line" in note for note in done.notes)
    check(tmp_path / "data", truth)
    np.testing.assert_array_equal(imported(tmp_path / "data")["im1"][0], noise(1))
    assert described(tmp_path / "data")["classes"] == {0: "background", 1: "cell", 2: "vessel"}


def test_labelme_rectangles_circles_and_ignored_parts(tmp_path: Path) -> None:
    save(tmp_path / "src/a.png", noise(0))
    shapes = [
        {"label": "b", "shape_type": "rectangle", "points": [[10, 4], [2, 9]]},
        {"label": "__ignore__", "shape_type": "circle", "points": [[30, 20], [30, 28]]},
    ]
    write_json(tmp_path / "src/a.json", {"shapes": shapes, "imagePath": "a.png"})
    import_data(tmp_path / "src", tmp_path / "data")
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    expected = np.where((x >= 2) & (x <= 10) & (y >= 4) & (y <= 9), 1, 0)
    mask = imported(tmp_path / "data")["a"][1]
    radius = np.hypot(x - 30, y - 20)
    np.testing.assert_array_equal(mask[:, :20], expected[:, :20])
    assert (mask[radius <= 7.5] == 255).all() and (mask[(radius > 8.5) & (x > 10)] == 0).all()
    assert described(tmp_path / "data")["ignore"] == 255


@pytest.mark.parametrize("places", ["images/{}", "{}/images"])
def test_yolo(tmp_path: Path, places: str) -> None:
    truth: dict[str, dict[str, np.ndarray]] = {"train": {}, "val": {}}
    for number in range(4):
        split = "val" if number == 3 else "train"
        folder = tmp_path / "src" / places.format(split)
        save(folder / f"im{number}.png", noise(number))
        objects = objects_of(number) if number else []  # an empty file: no objects
        lines = ["0 0.5 0.5 0.2 0.2"] * (number == 2) + [
            " ".join([str(value - 1), *(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in border(where))])
            for value, where in objects
        ]
        labels = tmp_path / "src" / places.format(split).replace("images", "labels") / f"im{number}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("\n".join(lines))
        truth[split][f"im{number}"] = painted(objects)
    save(tmp_path / "src" / places.format("train") / "unlabelled.png", noise(9))
    (tmp_path / "src/data.yaml").write_text(
        f"path: .\ntrain: {places.format('train')}\nval: x\nnc: 2\nnames: {NAMES}\n"
    )
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "yolo" and any("unlabelled.png" in note for note in done.notes)
    assert "Left out: 1 boxes among the polygons." in done.notes
    assert done.counts == {"train": 3, "val": 1}
    for part, held in truth.items():
        check(tmp_path / "data", held, part)
    assert described(tmp_path / "data")["classes"] == {0: "background", 1: "cell", 2: "vessel"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", "has 1 boxes and no polygons"),
        ("5 0 0 0 1 1 1", "the class 5, which has no name"),
        ("0 0 0 0 40 1 1", "coordinates outside 0 to 1"),
        ("0 0 0 0 nan 1 1", "coordinates outside 0 to 1"),
        ("0 0 0 0 1 1 1 1", "has 7 numbers after the class"),
    ],
)
def test_wrong_yolo_is_refused(tmp_path: Path, line: str, message: str) -> None:
    save(tmp_path / "src/images/a.png", noise(0))
    (tmp_path / "src/labels").mkdir()
    (tmp_path / "src/labels/a.txt").write_text(line)
    (tmp_path / "src/data.yaml").write_text("names: {0: cell, 1: vessel}\n")
    with pytest.raises(S2MNetError, match=message):
        import_data(tmp_path / "src", tmp_path / "data")


def cvat(root: Path, kind: str) -> dict[str, np.ndarray]:
    tree = ElementTree.Element("annotations")
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(tree, "meta"), "job"), "labels")
    for name in NAMES:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    truth = {}
    for number in range(3):
        save(root / f"images/sub/im{number}.png", noise(number))
        facts = {"id": str(number), "name": f"sub/im{number}.png", "width": str(WIDTH), "height": str(HEIGHT)}
        image = ElementTree.SubElement(tree, "image", facts)
        objects = objects_of(number)
        for order, (value, where) in reversed(list(enumerate(objects))):  # z_order, not the place in the file, decides
            given = {"label": NAMES[value - 1], "z_order": str(order), "occluded": "0"}
            if kind == "polygon":
                given["points"] = ";".join(f"{x:.2f},{y:.2f}" for x, y in outline(where))
            else:
                rows, columns = np.nonzero(where.any(axis=1))[0], np.nonzero(where.any(axis=0))[0]
                patch = where[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                flat = patch.ravel().astype(int)
                borders = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
                given["rle"] = ", ".join(map(str, np.diff(np.concatenate([[0], borders]))))
                given |= {"left": str(columns[0]), "top": str(rows[0])}
                given |= {"width": str(patch.shape[1]), "height": str(patch.shape[0])}
            ElementTree.SubElement(image, kind, given)
        truth[f"im{number}"] = painted(objects)
    ElementTree.ElementTree(tree).write(root / "annotations.xml", encoding="utf-8", xml_declaration=True)
    return truth


@pytest.mark.parametrize("kind", ["polygon", "mask"])
def test_cvat(tmp_path: Path, kind: str) -> None:
    truth = cvat(tmp_path / "src", kind)
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "cvat" and done.counts == {"all": 3}
    check(tmp_path / "data", truth)
    assert described(tmp_path / "data")["classes"] == {0: "background", 1: "cell", 2: "vessel"}


def test_cvat_boxes_ellipses_and_subsets(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"src/images/{name}.png", noise(0))
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    (tmp_path / "src/annotations.xml").write_text(f"""<annotations><version>1.1</version>
      <image id="0" name="a.png" subset="Train" {size}>
      <box label="x" xtl="3" ytl="4" xbr="9" ybr="6" rotation="90"/></image>
      <image id="1" name="b.png" subset="Validation" {size}><ellipse label="x" cx="20" cy="20" rx="9" ry="4"/>
      <polyline label="x" points="0,0;5,5"/></image></annotations>""")
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.counts == {"train": 1, "val": 1} and any("1 × polyline" in note for note in done.notes)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    turned = (x >= 5) & (x < 7) & (y >= 2) & (y < 8)
    check(tmp_path / "data", {"a": turned}, "train")
    check(tmp_path / "data", {"b": ((x + 0.5 - 20) / 9) ** 2 + ((y + 0.5 - 20) / 4) ** 2 <= 1}, "val")


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE a [<!ENTITY x "lol"><!ENTITY y "&x;&x;">]>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    ],
)
def test_xml_with_a_document_type_is_refused(tmp_path: Path, head: str) -> None:
    cvat(tmp_path / "src", "polygon")
    file = tmp_path / "src/annotations.xml"
    file.write_text(file.read_text().replace("<annotations>", f"{head}<annotations>"))
    with pytest.raises(S2MNetError, match="declares a document type"):
        import_data(tmp_path / "src", tmp_path / "data")


def voc(root: Path) -> dict[str, np.ndarray]:
    colours = {"background": (0, 0, 0), "cell": (250, 50, 83), "vessel": (51, 221, 255)}
    table = np.array(list(colours.values()), np.uint8)
    truth = {}
    for number in range(4):
        mask = painted(objects_of(number))
        save(root / f"JPEGImages/im{number}.png", noise(number))
        save(root / f"SegmentationClass/im{number}.png", table[mask])
        save(root / f"SegmentationObject/im{number}.png", noise(number + 9))
        truth[f"im{number}"] = mask
    lines = ["# label:color_rgb:parts:actions"]
    lines += [f"{name}:{r},{g},{b}::" for name, (r, g, b) in reversed(colours.items())]
    (root / "labelmap.txt").write_text("\n".join(lines))
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("im0\nim1\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("im2\n")
    (root / "ImageSets/Segmentation/test.txt").write_text("im3\n")
    return truth


def test_voc(tmp_path: Path) -> None:
    truth = voc(tmp_path / "src")
    done = import_data(tmp_path / "src", tmp_path / "data")
    assert done.layout.name == "voc" and done.counts == {"train": 2, "val": 1, "test": 1}
    classes = described(tmp_path / "data")["classes"]
    assert classes == {0: "background", 1: "vessel", 2: "cell"}  # in the order of the file
    order = np.array([0, 2, 1])
    check(tmp_path / "data", {name: order[truth[name]] for name in ("im0", "im1")}, "train")
    check(tmp_path / "data", {"im3": order[truth["im3"]]}, "test")


def test_voc_without_colours_has_those_of_voc(tmp_path: Path) -> None:
    """As Datumaro writes it for classes without colours."""
    for number in range(3):
        save(tmp_path / f"src/JPEGImages/im{number}.png", noise(number))
        colours = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)
        save(tmp_path / f"src/SegmentationClass/im{number}.png", colours[painted(objects_of(number))])
    (tmp_path / "src/labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:::\ncell:::\nvessel:::\n")
    import_data(tmp_path / "src", tmp_path / "data")
    check(tmp_path / "data", {f"im{number}": painted(objects_of(number)) for number in range(3)})


def test_a_colour_that_is_not_in_the_map_is_refused(tmp_path: Path) -> None:
    voc(tmp_path / "src")
    strange = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    strange[3, 5] = (1, 2, 3)
    save(tmp_path / "src/SegmentationClass/im2.png", strange)
    with pytest.raises(S2MNetError, match=r"im2\.png has the colour \(1, 2, 3\) on 1 px"):
        import_data(tmp_path / "src", tmp_path / "data")


def test_two_layouts_at_once_are_refused_with_the_way_out(tmp_path: Path) -> None:
    voc(tmp_path / "src")
    truth = coco(tmp_path / "src", "runs")
    with pytest.raises(S2MNetError, match=r"2 ways: COCO json.*--as coco or --as voc"):
        import_data(tmp_path / "src", tmp_path / "data")
    for file in (tmp_path / "src/JPEGImages").iterdir():
        file.unlink()
    import_data(tmp_path / "src", tmp_path / "data", "coco")
    check(tmp_path / "data", truth)


def test_an_unknown_layout_name_lists_the_known_ones(tmp_path: Path) -> None:
    voc(tmp_path / "src")
    with pytest.raises(S2MNetError, match=r"--as kitti is not a layout\. Choose one of coco, cvat"):
        import_data(tmp_path / "src", tmp_path / "data", "kitti")
