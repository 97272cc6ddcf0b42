"""One class for Python users: a trained model in, masks out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from s2mnet.data import read_image
from s2mnet.device import Precision
from s2mnet.engines import EngineName, build, choose
from s2mnet.inference import at_own_size, predict_maps, prepare_image, to_labels
from s2mnet.modelfolder import WEIGHTS, load_model


class Prediction(NamedTuple):
    """What a model says about one image, at the image's own size.

    Attributes:
        mask: (H, W) in the label values of the masks it was trained on.
        indices: uint8 (H, W), class indices 0 … classes−1.
        probabilities: float32 (outputs, H, W) in 0..1: of the foreground; of every class, background first; or of
            every region.
        boundary: β float32 (H, W) in 0..1, where the model sees boundaries (SPEC 1.3), if asked for.
    """

    mask: np.ndarray
    indices: np.ndarray
    probabilities: np.ndarray
    boundary: np.ndarray | None


class Predictor:
    """A trained model, ready for images of any size.

    Args:
        model: folder that ``s2mnet train`` wrote (or any with its ``config.json`` and ``model.safetensors``).
        device: "cpu", "cuda", …; "auto" takes a GPU where there is one.
        engine: "torch"; "openvino", on the CPU and where ``s2mnet[openvino]`` is installed, 1.3 to 1.8 times as
            fast after some seconds for each new size; or "auto": OpenVINO where it can run, else PyTorch. Their
            probabilities are equal within 1e-4.
        precision: "float32", or "bf16" where the processor multiplies it: faster, a few pixels of a mask differ.

    Attributes:
        network: the S2MNet (or the network it is compared with) as it was trained, in eval mode.
        config: what the model knows of its images and labels.
        engine: "torch" or "openvino", which predicts.
        notice: None, or a line on how to predict faster, for the command line; nothing is printed here.

    Raises:
        S2MNetError: the folder holds no such model; an engine or precision that is unknown or cannot run here.

    Example:
        predictor = Predictor("runs/polyps")
        prediction = predictor.predict("new_case.jpg")
        prediction.mask  # (H, W), e.g. 0 and 255
    """

    def __init__(
        self, model: str | Path, device: str = "auto", engine: EngineName = "auto", precision: Precision = "float32"
    ) -> None:
        self.engine, device, self.notice = choose(engine, device)
        self.network, self.config = load_model(Path(model), device)
        self._engine = build(self.network, self.engine, precision)
        self.made = (Path(model) / WEIGHTS).stat().st_mtime

    def predict(self, image: str | Path | np.ndarray, tta: int | None = None, boundary: bool = False) -> Prediction:
        """Segment one image.

        Args:
            image: a file, or uint8 (H, W) grey, (H, W, 3) RGB, or a stack (H, W, n) like those it was trained on.
            tta: 1, 4 or 8 test-time transforms; None takes the model's own.
            boundary: whether to give β too.

        Raises:
            S2MNetError: the file cannot be read, or has other channels than the model was trained on.
            ValueError: an array of another shape or dtype, or another tta.
        """
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim not in (2, 3):
                raise ValueError(f"expected a uint8 array (H, W) or (H, W, C), found {image.dtype} {image.shape}")
        else:
            image = read_image(Path(image))
        return self.finish(self.run(self.prepare(image), tta, boundary), (image.shape[0], image.shape[1]))

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The first of the three stages of :meth:`predict`, which others may run in different threads.

        Args:
            image: uint8 (H, W), (H, W, 3) or a stack (H, W, n).

        Returns:
            uint8 (channels, h, w), see :func:`s2mnet.inference.prepare_image`.

        Raises:
            S2MNetError: other channels than the model was trained on.
        """
        return prepare_image(image, self.config.preprocessing)

    def run(self, prepared: np.ndarray, tta: int | None = None, boundary: bool = False) -> Tensor:
        """The second stage, the network: float32 (outputs, h, w), see :func:`s2mnet.inference.predict_maps`.

        Raises:
            ValueError: a tta that is not 1, 4, 8 or None.
        """
        tta = self.config.tta if tta is None else tta
        if tta not in (1, 4, 8):
            raise ValueError(f"tta must be 1, 4 or 8, found {tta}")
        config = self.config
        return predict_maps(self._engine, [prepared], config.preprocessing, config.labels, tta, boundaries=boundary)[0]

    def finish(self, maps: Tensor, size: tuple[int, int]) -> Prediction:
        """The third stage: what :meth:`run` gave, as a prediction for an image of the size (H, W)."""
        config = self.config
        probabilities, beta = at_own_size(maps, size, config.preprocessing, config.labels)
        indices = to_labels(probabilities, config.labels, config.threshold)
        return Prediction(config.labels.decode(indices), indices, probabilities, beta)
