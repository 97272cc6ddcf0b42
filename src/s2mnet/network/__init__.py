"""The network of SPEC 1 in plain PyTorch, one block per file. Its faster forms are in :mod:`s2mnet.network.fast`."""

from s2mnet.network.decoder import BoundaryFocusedDecoderStage
from s2mnet.network.mixer import SpectralSelectiveTokenMixer
from s2mnet.network.mrf import MultiReceptiveFieldSE
from s2mnet.network.s2mnet import S2MNet
from s2mnet.network.spectral import TruncatedSpectralFilter

__all__ = [
    "BoundaryFocusedDecoderStage",
    "MultiReceptiveFieldSE",
    "S2MNet",
    "SpectralSelectiveTokenMixer",
    "TruncatedSpectralFilter",
]
