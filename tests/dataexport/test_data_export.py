"""Data folders as data sets of nnU-Net and COCO, read by other libraries and imported again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from s2mnet.data import Dataset, find_cases, load_case
from s2mnet.data.pairs import labels_of
from s2mnet.dataexport import export_data
from s2mnet.errors import S2MNetError
from s2mnet.importing import import_data

HEIGHT, WIDTH = 32, 40


def data_folder(root: Path, dataset: Dataset, channels: int = 3, values: tuple[int, ...] = (0, 10, 20)) -> Path:
    rng = np.random.default_rng(0)
    for number in range(6):
        part = root / ("train" if number < 3 else "val" if number < 4 else "test")
        for name in ("images", "masks"):
            (part / name).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, channels), np.uint8)
        if channels == 3:
            Image.fromarray(pixels).save(part / f"images/c{number}.png")
        else:
            tifffile.imwrite(part / f"images/c{number}.tif", pixels, photometric="minisblack", planarconfig="contig")
        blocks = np.array(values, np.uint8)[rng.integers(0, len(values), (8, 10))]
        Image.fromarray(np.kron(blocks, np.ones((4, 4), np.uint8))).save(part / f"masks/c{number}.png")
    dataset.save(root)
    return root


CLASSES = Dataset(name="Cells", classes={0: "background", 10: "cell", 20: "vessel"})


def same(one: Path, other: Path) -> None:
    """The same images and class indices in the same splits, where COCO and nnU-Net keep them."""
    folders = find_cases(one), find_cases(other)
    maps = [labels_of(folder) for folder in folders]
    for split in ("train", "val", "test"):
        pairs = zip(folders[0].splits[split], folders[1].splits[split], strict=True)
        for first, second in pairs:
            assert first.name == second.name
            for a, b in zip(load_case(first, maps[0]), load_case(second, maps[1]), strict=True):
                np.testing.assert_array_equal(a, b)


def test_coco_there_and_back(tmp_path: Path) -> None:
    data = data_folder(tmp_path / "data", CLASSES)
    done = export_data(data, tmp_path / "coco", "coco")
    assert done.counts == {"train": 3, "val": 1, "test": 2} and not done.notes
    import_data(tmp_path / "coco", tmp_path / "again")
    same(data, tmp_path / "again")
    assert labels_of(find_cases(tmp_path / "again")).names == ["background", "cell", "vessel"]


def test_coco_by_its_own_reader(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    data = data_folder(tmp_path / "data", CLASSES)
    export_data(data, tmp_path / "coco", "coco")
    reader = COCO(str(tmp_path / "coco/annotations/instances_test.json"))
    for entry in reader.loadImgs(reader.getImgIds()):
        truth = np.array(Image.open(data / "test/masks" / entry["file_name"]))
        mask = np.zeros_like(truth)
        for each in reader.loadAnns(reader.getAnnIds(entry["id"])):
            own = reader.annToMask(each).astype(bool)
            assert own.sum() == each["area"]
            mask[own] = 10 * each["category_id"]
        np.testing.assert_array_equal(mask, truth)


@pytest.mark.parametrize("channels", [2, 3])
def test_nnunet_there_and_back(tmp_path: Path, channels: int) -> None:
    named = {"channels": ["T1", "T2"]} if channels == 2 else {}
    facts = {"name": "Cells", "classes": {0: "background", 10: "cell", 20: "vessel"}, "ignore": 30, **named}
    data = data_folder(tmp_path / "data", Dataset(**facts), channels, (0, 10, 20, 30))
    done = export_data(data, tmp_path / "nn", "nnunet")
    assert done.counts == {"train": 3, "val": 1, "test": 2}
    stated = json.loads((tmp_path / "nn/dataset.json").read_text())
    assert stated["labels"] == {"background": 0, "cell": 1, "vessel": 2, "ignore": 3}
    assert list(stated["channel_names"].values()) == (["T1", "T2"] if channels == 2 else ["R", "G", "B"])
    fold = json.loads((tmp_path / "nn/splits_final.json").read_text())
    assert fold == [{"train": ["c0", "c1", "c2"], "val": ["c3"]}]
    mask, truth = (np.array(Image.open(file)) for file in (tmp_path / "nn/labelsTs/c5.png", data / "test/masks/c5.png"))
    np.testing.assert_array_equal(mask.astype(int) * 10, truth)

    import_data(tmp_path / "nn", tmp_path / "again")
    held = find_cases(tmp_path / "again")
    assert [case.name for case in held.splits["test"]] == ["c4", "c5"]
    for case in held.splits["test"]:
        image, indices = load_case(case, labels_of(held))
        own = next(one for one in find_cases(data).splits["test"] if one.name == case.name)
        original = load_case(own, labels_of(find_cases(data)))
        np.testing.assert_array_equal(image, original[0])
        np.testing.assert_array_equal(indices, original[1])


def test_regions_of_nnunet(tmp_path: Path) -> None:
    classes = {0: "background", 10: "oedema", 20: "core"}
    data = data_folder(tmp_path / "data", Dataset(classes=classes, regions={"core": [20], "whole": [10, 20]}))
    export_data(data, tmp_path / "nn", "nnunet")
    stated = json.loads((tmp_path / "nn/dataset.json").read_text())
    assert stated["labels"] == {"background": 0, "whole": [1, 2], "core": [2]}
    # nnU-Net paints the regions in the order of the file, each with its value: the later over the earlier.
    assert stated["regions_class_order"] == [1, 2]
    import_data(tmp_path / "nn", tmp_path / "again")
    assert labels_of(find_cases(tmp_path / "again")).structures == {"whole": (1, 2), "core": (2,)}


def test_an_existing_folder_and_channels_that_coco_lacks_are_refused(tmp_path: Path) -> None:
    data = data_folder(tmp_path / "data", CLASSES, channels=2)
    with pytest.raises(S2MNetError, match=r"2 channels; COCO has grey and RGB.*--as nnunet"):
        export_data(data, tmp_path / "coco", "coco")
    assert not (tmp_path / "coco").exists()
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/mine").touch()
    with pytest.raises(S2MNetError, match="already exists"):
        export_data(data, tmp_path / "coco", "coco")
