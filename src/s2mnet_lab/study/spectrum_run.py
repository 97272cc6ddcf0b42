"""The spectra of a data folder, and of a network that was trained on it."""

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
from s2mnet_lab.study.spectrum import SpectrumResult, feature_spectrum, filter_summary, image_spectrum

INSIDE = 32  # validation images that a network is looked into with


def measure_folder(folder: ImageFolder, model: Path | None, progress: Progress) -> SpectrumResult:
    """Every image of a folder; and with validation images the inside of a model, if one is given.

    Raises:
        S2MNetError: a file that cannot be read, no such model, one that is no S2M-Net.
    """
    cases = folder.cases_of("all")

    def images() -> Iterator[np.ndarray]:
        for done, case in enumerate(cases, 1):
            yield read_image(case.image)
            progress(done, len(cases))

    found = SpectrumResult(name=folder.name, modality=folder.dataset.modality, image=image_spectrum(images()))
    if model is None:
        return found
    network, config = load_model(model)
    if not isinstance(network, S2MNet):
        raise S2MNetError(model, "another network", "an S2M-Net", "Name a cell with architecture s2mnet.")
    seen = folder.splits["val"][:INSIDE]
    stages = feature_spectrum(network, _inputs(seen, config.preprocessing))
    return found.model_copy(
        update={"stages": stages, "filters": filter_summary(network, config.preprocessing.size), "model": str(model)}
    )


def _inputs(cases: Sequence[Case], preprocessing: Preprocessing) -> Iterator[Tensor]:
    """What the network would see of each image; of patches the window in the middle."""
    height, width = preprocessing.size
    for case in cases:
        image = torch.from_numpy(prepare_image(read_image(case.image), preprocessing))
        top, left = max(0, (image.shape[1] - height) // 2), max(0, (image.shape[2] - width) // 2)
        view = image[:, top : top + height, left : left + width]
        yield normalise(view.float() / 255, preprocessing)[None]
