"""S2M-Net for 2-D medical image segmentation: the network, its loss, and the way from a folder to masks and metrics.

Names are imported on first use, so ``import s2mnet`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from s2mnet.version import __version__

_HOME = {
    "BoundaryFocusedDecoderStage": "s2mnet.network",
    "MASL": "s2mnet.loss",
    "MultiReceptiveFieldSE": "s2mnet.network",
    "Prediction": "s2mnet.prediction",
    "Predictor": "s2mnet.prediction",
    "S2MNet": "s2mnet.network",
    "S2MNetError": "s2mnet.errors",
    "SpectralSelectiveTokenMixer": "s2mnet.network",
    "TruncatedSpectralFilter": "s2mnet.network",
}

__all__ = [
    "MASL",
    "BoundaryFocusedDecoderStage",
    "MultiReceptiveFieldSE",
    "Prediction",
    "Predictor",
    "S2MNet",
    "S2MNetError",
    "SpectralSelectiveTokenMixer",
    "TruncatedSpectralFilter",
    "__version__",
]

if TYPE_CHECKING:
    from s2mnet.errors import S2MNetError
    from s2mnet.loss import MASL
    from s2mnet.network import (
        BoundaryFocusedDecoderStage,
        MultiReceptiveFieldSE,
        S2MNet,
        SpectralSelectiveTokenMixer,
        TruncatedSpectralFilter,
    )
    from s2mnet.prediction import Prediction, Predictor


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 's2mnet' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
