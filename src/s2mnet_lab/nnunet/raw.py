"""A data folder in nnU-Net's raw layout: PNG images, masks of class indices, and its description."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from s2mnet.data import Case, ImageFolder, LabelMap, load_case
from s2mnet.data.cases import Split
from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.dataexport.nnunet import ENDING, channel_names, write_image, write_truth

Identified = dict[str, Case]
"""Cases by nnU-Net's identifier, which is the file name without channel and suffix."""


def identified(folder: ImageFolder, split: Split) -> Identified:
    """The cases of a split by identifier. Names of images may hold what nnU-Net does not expect in a file name.

    Args:
        folder: the data folder.
        split: train, val or test.
    """
    return {f"{split}_{number:05d}": case for number, case in enumerate(folder.splits.get(split, []))}


def write_raw(folder: ImageFolder, labels: LabelMap, raw: Path) -> None:
    """Write the training and validation images as a data set of nnU-Net. Test images are neither read nor written.

    Pixels without a truth get nnU-Net's ignore label, the highest.

    Args:
        folder: the data folder.
        labels: what the values of its masks mean.
        raw: the folder of the data set, such as ``nnUNet_raw/Dataset001_DRIVE``.

    Raises:
        S2MNetError: an image or mask cannot be read.
    """
    cases = identified(folder, "train") | identified(folder, "val")
    channels, ignored = 0, False
    for name, case in cases.items():
        image, truth = load_case(case, labels)
        channels = write_image(image, raw / "imagesTr", name)
        ignored = ignored or bool((truth == IGNORE_INDEX).any())
        write_truth(truth, labels, raw / "labelsTr", name)
    classes = {name: index for index, name in enumerate(labels.names) if index}
    content = {
        "channel_names": dict(zip(map(str, range(channels)), channel_names(channels), strict=True)),
        "labels": {"background": 0, **classes, **({"ignore": labels.num_classes} if ignored else {})},
        "numTraining": len(cases),
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    (raw / "dataset.json").write_text(json.dumps(content, indent=1))


def write_images(cases: Mapping[str, Case], labels: LabelMap, folder: Path) -> None:
    """Write images without their masks, for nnU-Net to predict.

    Args:
        cases: by identifier.
        labels: what the values of their masks mean.
        folder: created if missing.
    """
    for name, case in cases.items():
        write_image(load_case(case, labels)[0], folder, name)


def split_file(folder: ImageFolder) -> str:
    """The content of nnU-Net's ``splits_final.json``: one fold with our training and validation images."""
    parts: Iterable[Split] = ("train", "val")
    return json.dumps([{split: list(identified(folder, split)) for split in parts}])
