"""``--to onnx``: the file, the proof that it equals the model, and a program that uses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from s2mnet.data import find_images
from s2mnet.errors import S2MNetError
from s2mnet.exporting.graph import build_graph
from s2mnet.exporting.parity import check, compare
from s2mnet.exporting.tested import tested
from s2mnet.files import write_atomically
from s2mnet.prediction import Predictor
from s2mnet.progress import progress_bar

MODEL, PARITY = "model.onnx", "parity.json"
MOST_IMAGES = 20  # for the comparison


def write_onnx(run: Path, folder: Path, output: Path, images: Path | None) -> list[str]:
    """Write ``model.onnx`` and ``parity.json`` into a folder.

    Args:
        run: folder of a model.
        folder: where to write.
        output: the final place, for messages.
        images: image or folder of images to compare on; None: those that the run was tested on.

    Returns:
        Lines for the screen.

    Raises:
        S2MNetError: the model cannot be exported, there are no images, or the file would differ from the model.
    """
    predictor = Predictor(run, "cpu", "torch")
    files = _chosen(run, images)
    content = build_graph(predictor.network, predictor.config).SerializeToString()
    with progress_bar("comparing") as progress:
        parity = compare(predictor, content, files, progress)
    check(parity, output / MODEL)
    write_atomically(folder / MODEL, content)
    write_atomically(folder / PARITY, f"{parity.model_dump_json(indent=2)}\n".encode())
    return [parity.describe()]


def _chosen(run: Path, images: Path | None) -> Sequence[Path]:
    """Up to 20 images, evenly spread."""
    test = tested(run)
    files = find_images(images) if images else [case.image for case in test.cases()] if test else []
    if not files:
        gone = f": {test.data} cannot be read any more" if test else ""
        problem = f"has no test images to compare the exported model on{gone}"
        raise S2MNetError(run, problem, "Use --images with a folder of images like those it was trained on.")
    places = np.linspace(0, len(files) - 1, min(len(files), MOST_IMAGES)).round().astype(int)
    return [files[place] for place in places]
