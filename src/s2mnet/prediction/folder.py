"""Predict a folder of images into a folder of masks."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from torch import Tensor

from s2mnet.data import find_images, read_image, write_mask
from s2mnet.data.channels import to_show
from s2mnet.data.splits import digest
from s2mnet.errors import S2MNetError
from s2mnet.files import prefetch, write_picture, write_png
from s2mnet.names import safe_stems
from s2mnet.overlay import overlay
from s2mnet.prediction.predictor import Predictor
from s2mnet.prediction.sharing import shared_by_one_model
from s2mnet.version import __version__

_ENDS = b"IEND\xaeB`\x82", b"\xff\xd9"  # of a whole PNG or JPEG
AHEAD = 2  # images prepared in advance, and results being written, while the network works on another image


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

    Threads decode and resize images, and resize, draw and write results, while the network works on another image.

    Args:
        predictor: the model.
        images: a folder of images, or one image.
        out: folder to write to.
        overlays: also write ``out/overlays/NAME.jpg``, the mask drawn over the image.
        probabilities: also write ``out/probabilities/NAME[_CLASS].png``, 16-bit; 65535 is probability 1.
        tta: see :meth:`s2mnet.inference.Inference.run`.
        progress: called with the number of images done and the number of all images.
        shard: (i, n), 1 ≤ i ≤ n: predict only the i-th of n parts of the folder, split by a hash of the file names, and
            skip images whose files say that the same model made them of the same image with the same options. So n
            jobs can share a folder, and a job that was stopped can continue.

    Returns:
        The masks, in the order of the images; for a shard including those that an earlier call wrote.

    Raises:
        S2MNetError: no image; images that cannot be read or do not fit in memory (raised after all others are done,
            naming each); two images with the same stem; an ``out`` whose data would be overwritten, or into which
            another model is predicting; no such shard.
    """
    paths = find_images(images)
    _check_output(paths[0].parent, out)
    predictor.transforms(tta)  # refuses one that this model cannot have
    if shard:
        paths = _part(paths, *shard)
    writer = _Writer(predictor, out, overlays, probabilities, tta)
    with shared_by_one_model(out, writer.made_by):
        return _predict(writer, images, paths, tta, shard is not None, progress)


def _predict(
    writer: _Writer,
    images: Path,
    paths: list[Path],
    tta: int | None,
    resume: bool,
    progress: Callable[[int, int], None] | None,
) -> list[Path]:
    read = partial(_read, writer, resume)
    problems: list[S2MNetError] = []
    done = 0
    with _threads() as reading, _threads() as writing:
        images_read = (image for _, image in prefetch(reading, read, paths, AHEAD))
        predicted = (_run(writer.predictor, image, tta) for image in images_read)
        for _, problem in prefetch(writing, writer.write, predicted, AHEAD):
            if problem:  # one bad file does not lose the work on the others
                problems.append(problem)
                continue
            done += 1
            if progress:
                progress(done, len(paths))
    if len(paths) == 1 and problems:
        raise problems[0]
    if problems:
        listed = "\n  - ".join(map(str, problems))
        fix = f"{done} of {len(paths)} images were predicted into {writer.out}. Fix the others:\n  - {listed}"
        raise S2MNetError(images, f"contains {len(problems)} files that cannot be predicted", fix)
    return [writer.mask_of(path) for path in paths]


class _Image:
    """An image on its way from file to mask, and the problem that stopped it, if there was one.

    Attributes:
        source: see `_Writer.source_of`.
        done: whether its files were written earlier.
    """

    pixels: np.ndarray  # (H, W) or (H, W, C), as read
    planes: np.ndarray  # (channels, h, w), prepared for the network
    maps: Tensor  # (outputs, h, w), from the network

    def __init__(self, path: Path, source: str) -> None:
        self.path, self.source = path, source
        self.done = False
        self.problem: S2MNetError | None = None

    @contextlib.contextmanager
    def stage(self) -> Iterator[None]:
        """Keep an error of this image instead of raising it."""
        try:
            yield
        except S2MNetError as error:  # raised for an array, without the name of its file
            self.problem = S2MNetError(self.path, error.problem, error.fix)
        except (MemoryError, RuntimeError) as error:
            # On the CPU, torch raises a plain RuntimeError when memory runs out.
            known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
            if not known and "can't allocate memory" not in str(error):
                raise
            size = f"{self.pixels.shape[0]} × {self.pixels.shape[1]} px (height × width)"
            fix = "Cut the image into tiles, or free memory."
            self.problem = S2MNetError(self.path, f"has {size}, too many for the free memory", fix)


def _read(writer: _Writer, resume: bool, path: Path) -> _Image:
    image = _Image(path, writer.source_of(path))
    image.done = resume and writer.is_done(image)
    if image.done:
        return image
    with image.stage():
        image.pixels = read_image(path)
        image.planes = writer.predictor.prepare(image.pixels)
    return image


def _run(predictor: Predictor, image: _Image, tta: int | None) -> _Image:
    if not (image.problem or image.done):
        with image.stage():
            image.maps = predictor.run(image.planes[None], tta)[0]
            del image.planes  # up to three results wait to be written
    return image


class _Writer:
    """Brings results to the size of their images and writes them, in a thread."""

    def __init__(self, predictor: Predictor, out: Path, overlays: bool, probabilities: bool, tta: int | None) -> None:
        self.predictor, self.out, self.overlays, self.probabilities = predictor, out, overlays, probabilities
        tta = predictor.config.tta if tta is None else tta
        self.made_by = f"s2mnet {__version__}, model {predictor.checksum}, tta {tta}, {predictor.precision}"
        labels = predictor.config.labels
        self.maps = labels.outputs if labels.regions or labels.exclusive else []

    def mask_of(self, image: Path) -> Path:
        return self.out / "masks" / f"{image.stem}.png"

    def maps_of(self, image: Path) -> list[Path]:
        stems = [f"{image.stem}_{name}" for name in self.maps] or [image.stem]
        return [self.out / "probabilities" / f"{stem}.png" for stem in safe_stems(stems, ".png")]

    def source_of(self, image: Path) -> str:
        """Everything that decides what is written for an image. The files keep it."""
        with contextlib.suppress(OSError):  # read_image will say what is wrong with the file
            return f"{self.made_by}, image {hashlib.sha256(image.read_bytes()).hexdigest()}"
        return self.made_by

    def is_done(self, image: _Image) -> bool:
        """Whether all files of the image are there, whole, and made of it by this model with these options."""
        drawn = [self.out / "overlays" / f"{image.path.stem}{suffix}" for suffix in (".jpg", ".png")]
        required = [self.mask_of(image.path), *(self.maps_of(image.path) if self.probabilities else [])]
        return all(_is_from(image.source, file) for file in required) and (
            not self.overlays or any(_is_from(image.source, file) for file in drawn)
        )

    def write(self, image: _Image) -> S2MNetError | None:
        """Write one result and return the problem of its image, if any; a file that cannot be written raises."""
        if image.done:
            return None
        if not image.problem:
            with image.stage():
                height, width = image.pixels.shape[:2]
                prediction = self.predictor.finish(image.maps, (height, width))
        if image.problem:
            return image.problem
        if self.overlays:
            shown = to_show(image.pixels, self.predictor.config.preprocessing.stored)
            drawn = overlay(shown, prediction.indices, thickness=max(1, round(max(height, width) / 400)))
            write_picture(self.out / "overlays" / image.path.stem, drawn, image.source)
        if self.probabilities:
            for file, plane in zip(self.maps_of(image.path), prediction.probabilities, strict=True):
                write_png(file, np.round(plane * 65535).astype(np.uint16), source=image.source)
        write_mask(self.mask_of(image.path), prediction.mask, image.source)
        return None


def _is_from(source: str, file: Path) -> bool:
    try:
        content = file.read_bytes()
    except OSError:
        return False
    return source.encode() in content and content.endswith(_ENDS)


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AHEAD, initializer=_compute_alone, initargs=(torch.get_num_threads(),))


def _compute_alone(threads: int) -> None:
    """Let torch use one thread for the work of this thread, and ``threads`` for that of all others.

    Otherwise there are more threads than cores. OpenMP's threads then sleep between two steps of the network instead of
    spinning: predicting a folder took a third longer than its network.
    """
    torch.get_num_threads()  # the first call in a thread initialises its own count
    torch.set_num_threads(1)  # also sets the default for new threads, which another thread restores
    other = Thread(target=torch.set_num_threads, args=(threads,))
    other.start()
    other.join()


def _part(paths: list[Path], number: int, count: int) -> list[Path]:
    if not 1 <= number <= count:
        problem = f"must be i/n with 1 ≤ i ≤ n; it is {number}/{count}"
        raise S2MNetError("--shard", problem, "For four parts, use 1/4 to 4/4.")
    # By a hash of the name: adding or removing a file moves no other file into another part.
    return [path for path in paths if int(digest(path.stem), 16) % count == number - 1]


def _check_output(images: Path, out: Path) -> None:
    """Predictions must replace neither the masks of experts nor the images themselves."""
    fix = "Choose another folder with -o."
    if (out / "images").is_dir() and (out / "masks").is_dir():
        raise S2MNetError(out, "is a data folder, whose masks the predictions would replace", fix)
    for name in ("masks", "overlays", "probabilities"):
        if (out / name).resolve() == images.resolve():
            raise S2MNetError(out / name, "holds the input images, which the predictions would replace", fix)
