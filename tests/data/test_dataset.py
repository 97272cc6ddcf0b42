"""``dataset.yaml``: what it says is followed, and what it cannot say is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s2mnet.data import Dataset, find_cases
from s2mnet.errors import S2MNetError
from s2mnet.fingerprint import read_folder

TISSUES = Dataset(name="brain", classes={0: "background", 1: "grey matter", 2: "white matter"}, ignore=9, split="mine")


def write_pairs(root: Path, labels: list[int]) -> Path:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index, label in enumerate(labels):
            mask = np.zeros((40, 40), np.uint8)
            mask[5:15, 5:25] = label
            Image.fromarray(mask * 20).save(root / split / "images" / f"{split}{index}.png")
            Image.fromarray(mask).save(root / split / "masks" / f"{split}{index}.png")
    return root


def test_declared_classes_are_taken_although_one_is_never_seen(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, [1, 9])
    TISSUES.save(folder)
    cases = find_cases(folder)
    assert cases.dataset == TISSUES and cases.name == "brain" and "(mine)" in cases.split_rule
    fingerprint = read_folder(cases)
    assert fingerprint.label_map.names == ["background", "grey matter", "white matter"]
    assert fingerprint.label_map.ignore_value == 9
    shares = [entry.share for entry in fingerprint.classes]
    assert shares == pytest.approx([2800 / 3000, 200 / 3000, 0])  # 200 px of each split are ignored
    assert any("white matter" in warning for warning in fingerprint.warnings)


def test_a_value_that_was_not_declared_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, [1, 3])
    TISSUES.save(folder)
    with pytest.raises(S2MNetError, match=r"train1\.png.*the value 3 on 200 px"):
        read_folder(find_cases(folder))


def test_regions_must_tell_the_classes_apart(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path, [1, 2])
    TISSUES.model_copy(update={"regions": {"brain": [1, 2], "white matter": [2]}}).save(folder)
    labels = read_folder(find_cases(folder)).label_map
    assert labels.structures == {"brain": (1, 2), "white matter": (2,)} and labels.num_outputs == 2
    assert labels.membership.tolist() == [[False, True, True], [False, False, True]]
    TISSUES.model_copy(update={"regions": {"brain": [1, 2]}}).save(folder)
    with pytest.raises(S2MNetError, match="tell the classes apart"):
        find_cases(folder)


def test_without_the_file_the_folder_has_its_own_name(tmp_path: Path) -> None:
    found = find_cases(write_pairs(tmp_path / "polyps", [1]))
    assert found.name == "polyps" and found.dataset == Dataset()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: {0: background}", "classes|at least 2"),
        ("classes: {0: background, 1: polyp}\nregions: {all: [2]}", "region 'all'"),
        ("classes: {0: background, 1: a, 2: a}", "the same name"),
        ("colours: {1: red}", "colours"),
        ("klasses: {}", "klasses"),
        ("classes: [", "cannot be read as YAML"),
        ("5", "dataset"),
    ],
)
def test_what_it_cannot_say_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(S2MNetError, match=message) as error:
        Dataset.load(tmp_path)
    assert error.value.where == str(tmp_path / "dataset.yaml") and error.value.fix
