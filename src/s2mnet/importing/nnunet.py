"""nnU-Net's raw data sets, versions 1 and 2, and those of the Medical Segmentation Decathlon."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from s2mnet.data import Dataset
from s2mnet.data.splits import Split
from s2mnet.datasets.reading import natural
from s2mnet.errors import S2MNetError
from s2mnet.guard import guarded
from s2mnet.importing.content import Content, no_pairs, visible
from s2mnet.importing.pictures import Pair, PairSet
from s2mnet.jsonfile import read_json
from s2mnet.volumes.nifti import is_nifti_name, read_nifti_grid

FILE = "dataset.json"
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_CORRECT = "Correct the file."
_PARTS: tuple[tuple[str, Split], ...] = (("Tr", "train"), ("Ts", "test"))


def fits(root: Path) -> bool:
    """Whether a folder has ``dataset.json`` and ``labelsTr``, or a ``dataset.json`` that lists cases."""
    return (root / FILE).is_file() and ((root / "labelsTr").is_dir() or bool(_stated(root).get("dataset")))


def _stated(root: Path) -> dict[str, Any]:
    file = root / FILE
    with guarded(file, "is not JSON", _CORRECT):
        content = read_json(file, largest=100_000_000)
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
        return content


def read(root: Path) -> Content:
    """List the cases of ``imagesTr`` and ``labelsTr``; those of ``imagesTs`` too where ``labelsTs`` has their labels.

    Raises:
        S2MNetError: ``dataset.json`` is wrong, or no image has its labels.
    """
    stated = _stated(root)
    file = root / FILE
    with guarded(file, "does not describe a data set of nnU-Net or the Decathlon", _CORRECT):
        classes, regions, ignore = _labels(stated.get("labels", {}))
        channels = _channel_names(stated)
    pairs, without = (
        _listed(root, stated) if stated.get("dataset") else _found(root, str(stated.get("file_ending", "")))
    )
    if not pairs:
        raise no_pairs(root, "image with its labels")
    depth = _depth(pairs[0])
    try:
        dataset = Dataset(
            name=str(stated.get("name") or root.resolve().name),
            modality=", ".join(channels),
            classes=classes,
            ignore=ignore,
            regions=regions,
            channels=channels if depth == len(channels) > 1 else [],
            source=str(stated.get("reference", "")),
            licence=str(stated.get("licence", stated.get("license", ""))),
        )
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise S2MNetError(file, f"has labels that cannot be used: {message}", _CORRECT) from None
    together = PairSet(pairs, dataset.label_map())
    dataset = dataset.model_copy(update={"orientation": together.plane.recorded})
    return Content(together.records(), dataset, without, together.plane.notes)


def _depth(pair: Pair) -> int:
    """The channels of a case that are not the colours of one picture."""
    first = pair.images[0]
    if len(pair.images) > 1 or not is_nifti_name(first):
        return len(pair.images)
    shape = read_nifti_grid(first).header.get_data_shape()
    return shape[3] if len(shape) == 4 else 1


def _labels(stated: dict[str, Any]) -> tuple[dict[int, str], dict[str, list[int]], int | None]:
    """Names of values, regions, and the value to ignore. Version 2 maps names to values, version 1 the reverse."""
    backwards = all(key.strip().lstrip("-").isdecimal() for key in stated)
    named = {str(name): value for value, name in stated.items()} if backwards else dict(stated)
    if len(named) < len(stated):
        raise ValueError("two labels have the same name")
    values = {
        name: [int(one) for one in (value if isinstance(value, list) else [value])] for name, value in named.items()
    }
    ignore = values.pop("ignore", [None])[0]
    single = {members[0]: name for name, members in values.items() if len(members) == 1}
    held = sorted({value for members in values.values() for value in members})
    classes = {value: single.get(value, f"label {value}") for value in held}
    regional = any(len(members) > 1 for members in values.values())
    regions = {name: members for name, members in values.items() if members != [0]} if regional else {}
    return classes, regions, ignore


def _channel_names(stated: dict[str, Any]) -> list[str]:
    names = stated.get("channel_names") or stated.get("modality") or {}
    if isinstance(names, dict):
        return [str(names[key]) for key in sorted(names, key=lambda key: int(key))]
    return [str(name) for name in names] if isinstance(names, list) else [str(names)]


def _found(root: Path, ending: str) -> tuple[list[Pair], list[str]]:
    pairs: list[Pair] = []
    without: list[str] = []
    for part, split in _PARTS:
        images = _by_case(root / f"images{part}", ending)
        labels = {_stem(file, ending): file for file in _files(root / f"labels{part}", ending)}
        for case in sorted(images, key=natural):
            if case in labels:
                pairs.append(Pair(case, images[case], labels[case], split))
            else:
                without.append(case)
        alone = next((labels[case] for case in labels if case not in images), None)
        if alone:
            problem = f"has no image in images{part}/"
            raise S2MNetError(alone, problem, f"Add {_stem(alone, ending)}_0000, or remove the labels.")
    return pairs, without


def _by_case(folder: Path, ending: str) -> dict[str, tuple[Path, ...]]:
    """The files of each case, in the order of the channels; the Decathlon has one file without a number."""
    cases: dict[str, dict[int, Path]] = {}
    for file in _files(folder, ending):
        stem = _stem(file, ending)
        match = _CHANNEL.fullmatch(stem)
        case, channel = (match[1], int(match[2])) if match else (stem, 0)
        if channel in cases.setdefault(case, {}):
            other = cases[case][channel].name
            raise S2MNetError(folder, f"has {other} and {file.name} for one channel", "Remove one of the two.")
        cases[case][channel] = file
    for case, channels in cases.items():
        if sorted(channels) != list(range(len(channels))):
            missing = min(set(range(max(channels))) - set(channels))
            raise S2MNetError(folder, f"has no channel {case}_{missing:04d}", "Add the file.")
    return {case: tuple(channels[number] for number in sorted(channels)) for case, channels in cases.items()}


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return [file for file in visible(folder) if file.parent == folder and file.name.endswith(ending or "")]


def _stem(file: Path, ending: str) -> str:
    return file.name.removesuffix(ending) if ending else re.sub(r"(\.nii)?\.[^.]+$", "", file.name)


def _listed(root: Path, stated: dict[str, Any]) -> tuple[list[Pair], list[str]]:
    """The cases that the field ``dataset`` of version 2 lists, with paths relative to the folder."""
    pairs = []
    with guarded(root / FILE, "has a field dataset that is no list of cases", _CORRECT):
        for name, case in stated["dataset"].items():
            images = tuple(root / str(image) for image in case["images"])
            pairs.append(Pair(name, images, root / str(case["label"])))
    return pairs, []
