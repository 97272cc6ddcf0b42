"""What enters the spectral branches of a trained network, and what their filters have learned."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.errors import S2MNetError
from s2mnet.fingerprint.spectrum import energy_shares
from s2mnet.network import S2MNet, SpectralSelectiveTokenMixer
from s2mnet.report.figures import radial_profile
from s2mnet_lab.study.spectrum.result import KS, EnergyShare, FilterSummary, StageSpectrum


def feature_spectrum(network: S2MNet, batches: Iterable[Tensor], ks: Sequence[int] = KS) -> list[StageSpectrum | None]:
    """What enters the SSTM of each of the five stages, and how much the SSTM adds to it.

    The network runs in eval mode, without dropout, and returns to its former mode.

    Args:
        batches: (B, in_channels, H, W), normalised and sized as in training: frequencies are in cycles per map
            (SPEC 1.1).
        ks: each at least 1, clamped to the map of a stage.

    Returns:
        Stage 1 first; None for a stage without SSTM.

    Raises:
        S2MNetError: there is no image.

    Example:
        >>> network = S2MNet(channels=(8,) * 5, num_frequencies=(4, 4, 0, 0, 0), stem_channels=8)
        >>> stages = feature_spectrum(network, [torch.randn(2, 3, 32, 48)], ks=[4])
        >>> [stage and (stage.height, stage.width) for stage in stages]
        [(16, 24), (8, 12), None, None, None]
    """
    mixers = network.mixers
    probes = [None if mixer is None else _Probe(ks) for mixer in mixers]
    parameter = next(network.parameters())
    training = network.training
    with contextlib.ExitStack() as hooks, torch.no_grad():
        for mixer, probe in zip(mixers, probes, strict=True):
            if mixer and probe:
                hooks.callback(mixer.register_forward_hook(probe.record_mixer).remove)
                hooks.callback(mixer.fuse.register_forward_hook(probe.record_fusion).remove)
        hooks.callback(network.train, training)
        network.eval()
        images = 0
        for batch in batches:
            network(batch.to(parameter.device, parameter.dtype))
            images += len(batch)
    if not images:
        raise S2MNetError("the split", "has no image to send through the network", "Check the folder or the split.")
    return [probe.result(stage) if probe else None for stage, probe in enumerate(probes, 1)]


def filter_summary(network: S2MNet, size: tuple[int, int] | None = None) -> list[FilterSummary | None]:
    """The learned filter of the spectral branch at each stage, stage 1 first; None for a stage without SSTM.

    Args:
        size: height and width of the network's input in training, each at least 32; frequencies beyond the maps of that
            size were never trained and are left out. None for the whole filters.

    Example:
        >>> start = filter_summary(S2MNet(num_frequencies=(4, 4, 4, 4, 0)))  # the identity on the band
        >>> start[0].magnitude, start[0].departure, start[4]
        ([1.0, 1.0, 1.0], 0.0, None)
    """
    side = min(size) if size else None
    return [_filter(stage, mixer, side) if mixer else None for stage, mixer in enumerate(network.mixers, 1)]


class _Probe:
    """Records one SSTM: energy shares of every image, and sums of squares."""

    def __init__(self, ks: Sequence[int]) -> None:
        self.ks = ks
        self.shape: tuple[int, ...] = ()
        self.shares: list[list[tuple[float, float]]] = []
        self.squares = dict.fromkeys(("x", "branch", "spectral", "gate"), 0.0)
        self.values = 0

    def record_mixer(self, mixer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].double()
        self.shape = self.shape or tuple(x.shape[1:])
        for image in x.cpu().numpy():
            shares = energy_shares(image, self.ks)
            self.shares.append([shares[k] for k in self.ks])
        self.values += x.numel()
        self._add("x", x)
        self._add("branch", output.double() - x)

    def record_fusion(self, fuse: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        for name, part, weight in zip(
            ("spectral", "gate"), inputs[0].chunk(2, -1), fuse.weight.chunk(2, 1), strict=True
        ):
            self._add(name, F.linear(part, weight).double())

    def _add(self, name: str, values: Tensor) -> None:
        self.squares[name] += values.square().sum().item()

    def result(self, stage: int) -> StageSpectrum:
        channels, height, width = self.shape
        shares = [
            EnergyShare(k=k, with_dc=_known_mean(of_k[:, 0]), without_dc=_known_mean(of_k[:, 1]))
            for k, of_k in zip(self.ks, np.array(self.shares).transpose(1, 0, 2), strict=True)
        ]
        rms = {name: (total / self.values) ** 0.5 for name, total in self.squares.items()}
        return StageSpectrum(
            stage=stage,
            channels=channels,
            height=height,
            width=width,
            shares=shares,
            branch_ratio=rms["branch"] / rms["x"] if rms["x"] else 0.0,
            spectral_rms=rms["spectral"],
            gate_rms=rms["gate"],
        )


def _filter(stage: int, mixer: SpectralSelectiveTokenMixer, side: int | None) -> FilterSummary:
    response = mixer.spectral.response().detach().cpu().numpy().astype(np.complex128)
    whole = mixer.spectral.num_frequencies
    k = min(whole, -(-side // 2**stage)) if side else whole  # every stage halves the map, rounded up
    first = whole // 2 - k // 2
    response = response[:, first : first + k, first : first + k]
    magnitude = radial_profile(np.abs(response)).mean(axis=0)
    turned = radial_profile(np.abs(response) * np.abs(np.angle(response))).mean(axis=0)
    squared = np.abs(response - 1) ** 2
    return FilterSummary(
        stage=stage,
        k=k,
        complex_filter=mixer.spectral.complex_filter,
        magnitude=magnitude.tolist(),
        phase=(turned / np.where(magnitude > 0, magnitude, 1)).tolist(),
        departure=float(np.sqrt(squared.mean())),
        imaginary_part=float((response.imag**2).sum() / squared.sum()) if squared.any() else 0.0,
    )


def _known_mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
