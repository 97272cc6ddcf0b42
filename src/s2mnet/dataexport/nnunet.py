"""A data folder as a raw data set of nnU-Net 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from s2mnet.data import IGNORE_INDEX, ImageFolder, LabelMap, load_case, write_mask
from s2mnet.errors import S2MNetError
from s2mnet.files import write_atomically, write_png
from s2mnet.progress import Progress

ENDING = ".png"


def write(folder: ImageFolder, labels: LabelMap, output: Path, progress: Progress) -> list[str]:
    """Write ``imagesTr`` and ``labelsTr`` of train and val, ``imagesTs`` and ``labelsTs`` of test.

    ``splits_final.json`` has the split as one fold; nnU-Net reads it from its folder of preprocessed data.

    Returns:
        Sentences on what the user has to do.

    Raises:
        S2MNetError: an image or mask cannot be read, images differ in channels, or the regions are not nested.
    """
    total, done, channels = len(folder.cases_of("all")), 0, 0
    for split, cases in folder.splits.items():
        part = "Ts" if split == "test" else "Tr"
        for case in cases:
            image, mask = load_case(case, labels)
            depth = write_image(image, output / f"images{part}", case.name)
            if channels and depth != channels:
                problem = f"has {depth} channels; other images have {channels}"
                raise S2MNetError(case.image, problem, "Save all images with the same channels.")
            channels = depth
            write_truth(mask, labels, output / f"labels{part}", case.name)
            done += 1
            progress(done, total)
    _save(output / "dataset.json", _description(folder, labels, channels))
    fold = {split: [case.name for case in folder.splits[split]] for split in ("train", "val")}
    _save(output / "splits_final.json", [fold])
    return ["Copy splits_final.json into the folder of nnUNet_preprocessed to train on the same split (fold 0)."]


def write_image(image: np.ndarray, folder: Path, name: str) -> int:
    """Write an image as nnU-Net's NaturalImage2DIO reads it: a colour PNG, or a grey PNG for each channel.

    Args:
        image: uint8 (H, W) or (H, W, C).
        folder: created if missing.
        name: of the case.

    Returns:
        The number of channels.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    files = [image] if channels == 3 else np.moveaxis(np.atleast_3d(image), 2, 0)
    for number, pixels in enumerate(files):
        write_png(folder / f"{name}_{number:04d}{ENDING}", np.ascontiguousarray(pixels))
    return channels


def write_truth(mask: np.ndarray, labels: LabelMap, folder: Path, name: str) -> None:
    """Write class indices; pixels without a truth get the label "ignore", which nnU-Net wants to be the highest."""
    write_mask(folder / f"{name}{ENDING}", np.where(mask == IGNORE_INDEX, labels.num_classes, mask).astype(np.uint8))


def channel_names(channels: int) -> list[str]:
    """The names of channels that the data do not name."""
    return ["R", "G", "B"] if channels == 3 else [f"channel {number}" for number in range(channels)]


def _description(folder: ImageFolder, labels: LabelMap, channels: int) -> dict[str, Any]:
    names = folder.dataset.channels
    if len(names) != channels:
        names = channel_names(channels)
    stated: dict[str, Any] = {"background": 0}
    order: list[int] = []
    if labels.regions:
        structures = sorted(labels.structures.items(), key=lambda item: -len(item[1]))
        for place, (name, members) in enumerate(structures):
            inner = {value for _, others in structures[place + 1 :] for value in others}
            own = [value for value in members if value not in inner]
            if len(own) != 1:
                problem = f"has the region {name}, which nnU-Net cannot tell from those within it"
                raise S2MNetError(folder.root, problem, "Leave regions out of a copy of dataset.yaml.")
            stated[name] = list(members)
            order += own
    else:
        stated |= {name: index for index, name in enumerate(labels.names) if index}
    if labels.ignore_value is not None or any(case.field for case in folder.cases_of("all")):
        stated["ignore"] = labels.num_classes
    return {
        "name": folder.name,
        "channel_names": {str(number): name for number, name in enumerate(names)},
        "labels": stated,
        **({"regions_class_order": order} if order else {}),
        "numTraining": len(folder.splits["train"]) + len(folder.splits["val"]),
        "file_ending": ENDING,
    }


def _save(file: Path, content: Any) -> None:
    write_atomically(file, json.dumps(content, indent=2, ensure_ascii=False).encode())
