"""Predict a folder of images into a folder of masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from s2mnet.data import find_images, read_image, write_mask
from s2mnet.data.channels import to_show
from s2mnet.errors import S2MNetError
from s2mnet.files import write_png
from s2mnet.prediction.predictor import Prediction, Predictor
from s2mnet.report.overlay import overlay


def predict_folder(
    predictor: Predictor,
    images: Path,
    out: Path,
    overlays: bool = True,
    probabilities: bool = False,
    tta: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write ``out/masks/NAME.png`` for each image, in its size and in the label values of the training masks.

    Args:
        predictor: the model.
        images: a folder of images, or one image.
        out: folder to write to.
        overlays: also ``out/overlays/NAME.png``: the mask drawn over the image.
        probabilities: also ``out/probabilities/NAME[_CLASS].png``: 16-bit, 65535 is probability 1.
        tta: see :meth:`Predictor.predict`.
        progress: called with images done and images in all.

    Returns:
        The masks, in the order of the images.

    Raises:
        S2MNetError: no image; one that cannot be read or does not fit the memory (after all others are done, naming
            each); two of the same stem; an ``out`` where files of the data would be replaced.
    """
    paths = find_images(images)
    _check_output(paths[0].parent, out)
    written, problems = [], []
    for done, path in enumerate(paths, 1):
        try:
            image = read_image(path)
            prediction = _predict(predictor, image, tta, path)
        except S2MNetError as error:  # one bad file does not lose the work on the others
            problems.append(error)
            continue
        target = out / "masks" / f"{path.stem}.png"
        write_mask(target, prediction.mask)
        written.append(target)
        if overlays:
            thickness = max(1, round(max(image.shape[:2]) / 400))
            shown = to_show(image, predictor.config.preprocessing.stored)
            drawn = overlay(shown, prediction.indices, thickness=thickness)
            write_png(out / "overlays" / f"{path.stem}.png", drawn)
        if probabilities:
            labels = predictor.config.labels
            names = list(labels.regions) or (labels.names if labels.exclusive else [""])
            for name, plane in zip(names, prediction.probabilities, strict=True):
                file = f"{path.stem}_{name}.png" if name else f"{path.stem}.png"
                write_png(out / "probabilities" / file, np.round(plane * 65535).astype(np.uint16))
        if progress:
            progress(done, len(paths))
    if problems:
        rest = f"{len(written)} of {len(paths)} images were predicted into {out}"
        raise S2MNetError(
            images,
            f"{len(problems)} images that cannot be predicted",
            "images",
            "\n  - ".join([f"{rest}. Mend:", *map(str, problems)]),
        )
    return written


def _check_output(images: Path, out: Path) -> None:
    """Predictions must replace neither the masks of experts nor the images themselves."""
    mend = "Name another folder with -o."
    if (out / "images").is_dir() and (out / "masks").is_dir():
        found = "a data folder, whose masks the predictions would replace"
        raise S2MNetError(out, found, "a folder for predictions alone", mend)
    for name in ("masks", "overlays", "probabilities"):
        if (out / name).resolve() == images.resolve():
            found = "the folder of the images themselves, which the predictions would replace"
            raise S2MNetError(out / name, found, "another folder", mend)


def _predict(predictor: Predictor, image: np.ndarray, tta: int | None, path: Path) -> Prediction:
    try:
        return predictor.predict(image, tta)
    except S2MNetError as error:  # it knows the array alone
        raise S2MNetError(path, error.found, error.expected, error.mend) from None
    except (MemoryError, RuntimeError) as error:
        # On a CPU, torch has no class of its own for it.
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
        if not short:
            raise
        found = f"{image.shape[0]} × {image.shape[1]} px (height × width), which do not fit the memory"
        raise S2MNetError(path, found, "an image that does", "Cut it into tiles, or free memory.") from error
