"""Predict a folder of images into a folder of masks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from s2mnet.data import find_images, read_image, write_mask
from s2mnet.data.channels import to_show
from s2mnet.data.splits import digest
from s2mnet.errors import S2MNetError
from s2mnet.files import ahead, write_picture, write_png
from s2mnet.overlay import overlay
from s2mnet.prediction.predictor import Predictor

AHEAD = 2  # images made ready, and results written, while the network is busy with another

Result = TypeVar("Result")


class Ready(NamedTuple):
    """An image, and the planes of it that the network works on."""

    image: np.ndarray
    planes: np.ndarray


def predict_folder(
    predictor: Predictor,
    images: Path,
    out: Path,
    overlays: bool = True,
    probabilities: bool = False,
    tta: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    shard: tuple[int, int] | None = None,
) -> list[Path]:
    """Write ``out/masks/NAME.png`` for each image, in its size and in the label values of the training masks.

    Images are decoded and resized, and results brought to the image's size, drawn and written, in threads while the
    network works on another image.

    Args:
        predictor: the model.
        images: a folder of images, or one image.
        out: folder to write to.
        overlays: also ``out/overlays/NAME.jpg``: the mask drawn over the image.
        probabilities: also ``out/probabilities/NAME[_CLASS].png``: 16-bit, 65535 is probability 1.
        tta: see :meth:`Predictor.predict`.
        progress: called with images done and images in all.
        shard: (i, n), 1 ≤ i ≤ n: only the i-th of n parts of the folder, split by a hash of the names, and of these
            only images whose mask is missing, or older than the image or the model. So n jobs share a folder, and one
            that was stopped goes on where it was.

    Returns:
        The masks of this call or, for a shard, of an earlier one, in the order of the images.

    Raises:
        S2MNetError: no image; one that cannot be read or does not fit the memory (after all others are done, naming
            each); two of the same stem; an ``out`` where files of the data would be replaced; no such shard.
    """
    paths = find_images(images)
    _check_output(paths[0].parent, out)
    if shard:
        paths = _part(paths, *shard)
    masks = {path: out / "masks" / f"{path.stem}.png" for path in paths}
    missing = [path for path in paths if not (shard and _is_done(masks[path], path, predictor.made))]
    problems: dict[Path, S2MNetError] = {}

    def ready(path: Path) -> Ready | S2MNetError:
        try:
            image = read_image(path)
            return Ready(image, _of_file(path, image, predictor.prepare, image))
        except S2MNetError as error:
            return error

    def write(path: Path, image: np.ndarray, maps: Tensor) -> None:
        try:
            prediction = _of_file(path, image, predictor.finish, maps, (image.shape[0], image.shape[1]))
        except S2MNetError as error:
            problems[path] = error
            return
        if overlays:
            thickness = max(1, round(max(image.shape[:2]) / 400))
            shown = to_show(image, predictor.config.preprocessing.stored)
            drawn = overlay(shown, prediction.indices, thickness=thickness)
            write_picture(out / "overlays" / path.stem, drawn)
        if probabilities:
            labels = predictor.config.labels
            names = list(labels.regions) or (labels.names if labels.exclusive else [""])
            for name, plane in zip(names, prediction.probabilities, strict=True):
                file = f"{path.stem}_{name}.png" if name else f"{path.stem}.png"
                write_png(out / "probabilities" / file, np.round(plane * 65535).astype(np.uint16))
        write_mask(masks[path], prediction.mask)  # last: a mask says that its image is done

    done = len(paths) - len(missing)
    beside: dict[str, Any] = {"initializer": _single, "initargs": (torch.get_num_threads(),)}
    with ThreadPoolExecutor(AHEAD, **beside) as readers, ThreadPoolExecutor(AHEAD, **beside) as writers:
        writing: deque[Future[None]] = deque()
        for path, found in ahead(readers, ready, missing, AHEAD):
            try:
                if isinstance(found, S2MNetError):
                    raise found
                maps = _of_file(path, found.image, predictor.run, found.planes, tta)
            except S2MNetError as error:  # one bad file does not lose the work on the others
                problems[path] = error
                continue
            writing.append(writers.submit(write, path, found.image, maps))
            while len(writing) > AHEAD:
                writing.popleft().result()
            done += 1
            if progress:
                progress(done, len(paths))
        for pending in writing:
            pending.result()
    if problems:
        rest = f"{len(paths) - len(problems)} of {len(paths)} images were predicted into {out}"
        raise S2MNetError(
            images,
            f"{len(problems)} images that cannot be predicted",
            "images",
            "\n  - ".join([f"{rest}. Mend:", *(str(problems[path]) for path in sorted(problems))]),
        )
    return list(masks.values())


def _single(threads: int) -> None:
    """Let this thread, which works beside the network, compute without others; ``threads`` are those of the rest.

    With threads of its own there would be more of them than cores. OpenMP's then sleep between any two steps of the
    network instead of waiting awake: a folder took a third longer than its network.
    """
    torch.get_num_threads()  # the first question of a thread gives it what all have
    torch.set_num_threads(1)  # of this thread and, which another one undoes, of those to come
    other = Thread(target=torch.set_num_threads, args=(threads,))
    other.start()
    other.join()


def _part(paths: list[Path], number: int, count: int) -> list[Path]:
    if not 1 <= number <= count:
        found = f"{number}/{count}"
        raise S2MNetError("--shard", found, "i/n with 1 ≤ i ≤ n", "Number the parts from 1, as 1/4 to 4/4.")
    # By a hash of the name, so that a file more or less moves no other into another part.
    return [path for path in paths if int(digest(path.stem), 16) % count == number - 1]


def _is_done(mask: Path, image: Path, made: float) -> bool:
    return mask.is_file() and mask.stat().st_mtime >= max(made, image.stat().st_mtime)


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


def _of_file(path: Path, image: np.ndarray, stage: Callable[..., Result], *arguments: object) -> Result:
    """A stage of the prediction of an image; what goes wrong in it is said of the file."""
    try:
        return stage(*arguments)
    except S2MNetError as error:  # it knows the array alone
        raise S2MNetError(path, error.found, error.expected, error.mend) from None
    except (MemoryError, RuntimeError) as error:
        # On a CPU, torch has no class of its own for it.
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
        if not short:
            raise
        found = f"{image.shape[0]} × {image.shape[1]} px (height × width), which do not fit the memory"
        raise S2MNetError(path, found, "an image that does", "Cut it into tiles, or free memory.") from error
