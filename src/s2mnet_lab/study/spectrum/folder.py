"""The spectra of a data folder, and of a network trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from s2mnet.data import Case, ImageFolder, read_image
from s2mnet.errors import S2MNetError
from s2mnet.inference import normalise, prepare_image
from s2mnet.modelfolder import load_model
from s2mnet.network import S2MNet
from s2mnet.plan import Preprocessing
from s2mnet.progress import Progress
from s2mnet_lab.study.spectrum.images import image_spectrum
from s2mnet_lab.study.spectrum.network import feature_spectrum, filter_summary
from s2mnet_lab.study.spectrum.result import SpectrumResult

NETWORK_IMAGES = 32  # validation images sent through the network


def measure_folder(folder: ImageFolder, model: Path | None, progress: Progress) -> SpectrumResult:
    """Measure every image of a folder and, given a model, the inside of it on validation images.

    Raises:
        S2MNetError: a file cannot be read, the model does not exist or is not an S2M-Net.
    """
    cases = folder.cases_of("all")

    def images() -> Iterator[np.ndarray]:
        for done, case in enumerate(cases, 1):
            yield read_image(case.image)
            progress(done, len(cases))

    spectrum = SpectrumResult(name=folder.name, modality=folder.dataset.modality, image=image_spectrum(images()))
    if model is None:
        return spectrum
    network, config = load_model(model)
    if not isinstance(network, S2MNet):
        raise S2MNetError(model, "holds a network other than S2M-Net", "Name a cell with architecture s2mnet.")
    validation = folder.splits["val"][:NETWORK_IMAGES]
    stages = feature_spectrum(network, _inputs(validation, config.preprocessing))
    return spectrum.model_copy(
        update={"stages": stages, "filters": filter_summary(network, config.preprocessing.size), "model": str(model)}
    )


def _inputs(cases: Sequence[Case], preprocessing: Preprocessing) -> Iterator[Tensor]:
    """The network's input for each image: of patches the window in the middle."""
    height, width = preprocessing.size
    for case in cases:
        image = torch.from_numpy(prepare_image(read_image(case.image), preprocessing))
        top, left = max(0, (image.shape[1] - height) // 2), max(0, (image.shape[2] - width) // 2)
        view = image[:, top : top + height, left : left + width]
        yield normalise(view.float() / 255, preprocessing)[None]
