"""``s2mnet export``: a trained model for other programs, in a new folder that is whole or absent."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Literal

from s2mnet.errors import S2MNetError
from s2mnet.exporting import hub
from s2mnet.files import partial_folder, replace_folder

Target = Literal["onnx", "hub", "bundle"]
_NEEDED: dict[Target, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


def export_run(
    run: Path,
    target: Target,
    output: Path,
    images: Path | None = None,
    pictures: bool = True,
    repository: str | None = None,
) -> list[str]:
    """Write a model in the form of other programs.

    Args:
        run: folder that ``s2mnet train`` wrote, or any with its ``config.json`` and ``model.safetensors``.
        target: "onnx": one file from an image to its mask, see :func:`s2mnet.exporting.graph.build_graph`, compared
            with the model on real images. "hub": a folder for the Hugging Face Hub, with a model card.
            "bundle": a MONAI bundle.
        output: folder to write; it must not exist, or be empty.
        images: for "onnx", images to compare on; None: those that the run was tested on.
        pictures: for "hub", whether the card shows test images.
        repository: for "hub", where to upload the folder, such as "user/model"; None: nowhere.

    Returns:
        Lines for the screen.

    Raises:
        S2MNetError: the output exists, a package is missing, or the model cannot be exported. Nothing is written.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise S2MNetError(output, "already exists", "Choose another folder with -o.")
    if repository and target != "hub":
        raise S2MNetError("--push", f"cannot be combined with --to {target}", "Use --to hub.")
    if repository:
        hub.check_token(repository)
    _check_packages(target)
    with partial_folder(output) as folder:
        if target == "onnx":
            from s2mnet.exporting.onnx_file import write_onnx

            lines = write_onnx(run, folder, output, images)
        elif target == "bundle":
            from s2mnet.exporting.bundle import write_bundle

            lines = write_bundle(run, folder)
        else:
            lines = hub.write_hub(run, folder, pictures)
        replace_folder(folder, output)
    return [*lines, hub.push(output, repository)] if repository else lines


def _check_packages(target: Target) -> None:
    for package in _NEEDED.get(target, ()):
        try:
            importlib.import_module(package)
        except ImportError as error:
            problem = f"needs a package that cannot be imported ({error})"
            raise S2MNetError(f"--to {target}", problem, 'Install it: pip install "s2mnet[onnx]"') from None
