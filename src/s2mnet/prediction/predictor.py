"""One class for Python users: a trained model in, masks out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s2mnet.data import read_image
from s2mnet.device import Precision
from s2mnet.engines import EngineName, build, choose
from s2mnet.errors import S2MNetError
from s2mnet.inference import Inference, Prediction
from s2mnet.modelfolder import checksum, find_model, load_model


class Predictor(Inference):
    """A trained model, ready for images of any size.

    Args:
        model: folder that ``s2mnet train`` wrote (or any with its ``config.json`` and ``model.safetensors``); as a
            string also a repository on the Hugging Face Hub, such as "user/model", if no folder has that name.
        device: "cpu", "cuda", …; "auto" uses a GPU if there is one.
        engine: "torch"; "openvino", for the CPU, if ``s2mnet[openvino]`` is installed: 1.3 to 1.8 times as fast after
            some seconds of compilation for each new size; or "auto": OpenVINO if it can run, else PyTorch. Their
            probabilities agree within 1e-4.
        precision: "float32", or "bf16" if the processor multiplies it natively: faster, and a few pixels of a mask
            differ.

    Attributes:
        network: the S2MNet, or the peer network, as it was trained, in eval mode.
        config: what the model knows of its images and labels.
        engine: "torch" or "openvino", whichever predicts.
        notice: None, or a line on how to predict faster, for the command line to print.
        precision: as given.
        checksum: of the model's files, see :func:`s2mnet.modelfolder.checksum`.

    Raises:
        S2MNetError: the folder holds no model; an engine or precision that is unknown or cannot run here.

    Example:
        predictor = Predictor("runs/polyps")
        prediction = predictor.predict("new_case.jpg")
        prediction.mask  # (H, W), e.g. 0 and 255
    """

    def __init__(
        self, model: str | Path, device: str = "auto", engine: EngineName = "auto", precision: Precision = "float32"
    ) -> None:
        self.engine, device, self.notice = choose(engine, device)
        folder = find_model(model)
        self.network, config = load_model(folder, device)
        if not config.predicts:
            fix = f"Train from it: s2mnet train DATA -o RUN --start {model}"
            raise S2MNetError(model, "is a network to start from and has no classes to predict", fix)
        super().__init__(build(self.network, self.engine, precision), config)
        self.precision, self.checksum = precision, checksum(folder)

    def predict(self, image: str | Path | np.ndarray, tta: int | None = None, boundary: bool = False) -> Prediction:
        """Segment one image.

        Args:
            image: a file, or uint8 (H, W) grey, (H, W, 3) RGB, or a stack (H, W, n) like the training images.
            tta: 1, 4 or 8 test-time transforms; None takes the model's default.
            boundary: whether to return β too.

        Raises:
            S2MNetError: the file cannot be read, or its channels differ from those of the training images.
            ValueError: an array of another shape or dtype, or another tta.
        """
        where = "The image" if isinstance(image, np.ndarray) else image
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim not in (2, 3):
                raise ValueError(f"image must be a uint8 array (H, W) or (H, W, C); it is {image.dtype} {image.shape}")
        else:
            image = read_image(Path(image))
        maps = self.run(self.prepare(image)[None], tta, boundary)[0]
        return self.finish(maps, (image.shape[0], image.shape[1]), where)
