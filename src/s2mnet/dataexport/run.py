"""``s2mnet export-data``: write a data folder in the layout of another tool, completely or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from s2mnet.data import find_cases
from s2mnet.data.pairs import labels_of
from s2mnet.dataexport import coco, nnunet
from s2mnet.errors import S2MNetError
from s2mnet.files import partial_folder, replace_folder
from s2mnet.progress import Progress

Target = Literal["nnunet", "coco"]
_WRITERS = {"nnunet": nnunet.write, "coco": coco.write}


@dataclass(frozen=True)
class Exported:
    """What :func:`export_data` wrote.

    Attributes:
        folder: the new folder.
        counts: images of each split.
        notes: sentences on what the layout cannot hold.
    """

    folder: Path
    counts: dict[str, int]
    notes: list[str]


def export_data(data: str | Path, output: str | Path, target: Target, progress: Progress | None = None) -> Exported:
    """Write the images, masks and splits of a data folder in the layout of another tool.

    Images are written in 8 bits, as training sees them. A failure leaves nothing behind.

    Args:
        data: the data folder.
        output: a folder that is empty or does not exist.
        target: "nnunet" for a raw data set of nnU-Net 2 with ``splits_final.json``; "coco" for COCO json.
        progress: called with the images done and their total after each.

    Raises:
        S2MNetError: the data folder is wrong, the layout cannot hold it, or the output is not empty or cannot be
            written.
    """
    if target not in _WRITERS:
        raise S2MNetError(f"--as {target}", "is not a layout to write", f"Choose one of {' and '.join(_WRITERS)}.")
    output = Path(output).absolute()
    if (output.is_dir() and any(output.iterdir())) or output.is_file():
        raise S2MNetError(output, "already exists", "Choose a new or an empty folder.")
    folder = find_cases(Path(data))
    labels = labels_of(folder)
    with partial_folder(output) as scratch:
        notes = _WRITERS[target](folder, labels, scratch / "folder", progress or (lambda done, total: None))
        replace_folder(scratch / "folder", output)
    return Exported(output, {split: len(cases) for split, cases in folder.splits.items() if cases}, notes)
