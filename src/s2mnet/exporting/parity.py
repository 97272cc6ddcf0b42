"""Whether an ONNX file predicts what the model itself predicts, on real images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from pydantic import BaseModel

from s2mnet.data import read_image
from s2mnet.data.channels import COLOURS
from s2mnet.errors import S2MNetError
from s2mnet.prediction import Predictor
from s2mnet.progress import Progress

LEAST_DICE, MOST_DIFFERENCE = 0.999, 1e-3


class Parity(BaseModel):
    """How closely ONNX Runtime and :class:`s2mnet.Predictor` agree.

    Attributes:
        images: how many were compared.
        dice: of the two masks, for each structure over the pixels of all images; 1 where neither has any.
        largest_difference: between two probabilities of any pixel.
        onnxruntime: version.
    """

    images: int
    dice: dict[str, float]
    largest_difference: float
    onnxruntime: str = onnxruntime.__version__

    @property
    def holds(self) -> bool:
        """Whether the agreement is close enough for the file to stand for the model."""
        return min(self.dice.values()) >= LEAST_DICE and self.largest_difference <= MOST_DIFFERENCE

    def describe(self) -> str:
        """One line for the screen.

        Example:
            >>> Parity(images=2, dice={"polyp": 0.99998}, largest_difference=2e-5).describe()
            'ONNX Runtime against s2mnet on 2 images: Dice of the masks 0.99998, probabilities within 2.0e-05'
        """
        return (
            f"ONNX Runtime against s2mnet on {self.images} images: Dice of the masks {min(self.dice.values()):.5f}, "
            f"probabilities within {self.largest_difference:.1e}"
        )


def compare(predictor: Predictor, model: bytes, images: Sequence[Path], progress: Progress) -> Parity:
    """Predict images by an ONNX model and by the Predictor.

    Args:
        predictor: of the model, with the engine "torch".
        model: as :func:`s2mnet.exporting.graph.build_graph` makes it, serialised.
        images: files, at least one.
        progress: called after each image.

    Raises:
        S2MNetError: an image cannot be read, or has other channels than the model.
    """
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    labels = predictor.config.labels
    both, either = np.zeros(len(labels.structures)), np.zeros(len(labels.structures))
    largest = 0.0
    for number, path in enumerate(images, start=1):
        image = read_image(path)
        ours = predictor.predict(image)
        pixels = as_input(image, bool(predictor.config.preprocessing.stored))
        probabilities, mask = session.run(["probabilities", "mask"], {"image": pixels})
        largest = max(largest, float(np.abs(probabilities - ours.probabilities).max()))
        for place, members in enumerate(labels.structures.values()):
            values = [labels.values[member] for member in members]
            a, b = np.isin(mask, values), np.isin(ours.mask, values)
            both[place] += np.count_nonzero(a & b)
            either[place] += np.count_nonzero(a) + np.count_nonzero(b)
        progress(number, len(images))
    dice = np.where(either > 0, 2 * both / np.maximum(either, 1), 1.0)
    return Parity(
        images=len(images),
        dice=dict(zip(labels.structures, dice.tolist(), strict=True)),
        largest_difference=largest,
    )


def as_input(image: np.ndarray, stack: bool) -> np.ndarray:
    """An image as :func:`s2mnet.data.read_image` gives it, as the input (H, W, C) of an exported model.

    Example:
        >>> as_input(np.zeros((4, 6), np.uint8), stack=False).shape
        (4, 6, 3)
    """
    image = image.reshape(*image.shape[:2], -1)
    return image if stack or image.shape[2] == len(COLOURS) else image.repeat(len(COLOURS), axis=2)


def check(parity: Parity, where: Path) -> None:
    """Refuse a file that differs from the model.

    Raises:
        S2MNetError: a Dice below 0.999, or two probabilities that differ by more than 0.001.
    """
    if not parity.holds:
        problem = (
            f"would differ from the model: the Dice of the masks is {min(parity.dice.values()):.5f} (at least "
            f"{LEAST_DICE}), probabilities differ by up to {parity.largest_difference:.1e} (at most {MOST_DIFFERENCE})"
        )
        raise S2MNetError(where, problem, "Report this with config.json of the model. Nothing was written.")
