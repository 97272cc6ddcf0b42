"""The study `spectral`: energy within the central K×K frequencies (SPEC 3.3), of images and inside a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.data.channels import COLOURS, GREY
from s2mnet.errors import S2MNetError
from s2mnet.evaluation.records import Finite, Summary, summarise_values
from s2mnet.fingerprint.spectrum import central, energy_shares
from s2mnet.inference import prepare_image
from s2mnet.network import S2MNet, SpectralSelectiveTokenMixer
from s2mnet.plan import Preprocessing
from s2mnet.report.figures import radial_profile

KS = (1, 4, 8, 16, 24, 32, 48, 64, 96, 128)  # K = 1 is the DC term alone
SIDE = 352
PEAK = 255


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Band(_Record):
    """The central K×K frequencies over the images of a data set; None where no image has the quantity.

    Attributes:
        with_dc, without_dc: share of the energy in 0..1, see :func:`energy_shares`.
        psnr: in dB, of the image made of these frequencies alone; images that it equals are left out.
        relative_error: of that image, see :func:`reconstruction`.
    """

    k: int
    with_dc: Summary | None
    without_dc: Summary | None
    psnr: Summary | None
    relative_error: Summary | None


class ImageSpectrum(_Record):
    """A data set: how many images, the side in pixels to which each was resized, and every K."""

    images: int
    side: int
    bands: list[Band]


class EnergyShare(_Record):
    """Share of the energy within K, in 0..1, mean over channels and images; None if all of them are constant."""

    k: int
    with_dc: Finite | None
    without_dc: Finite | None


class StageSpectrum(_Record):
    """The map x that enters the SSTM of one stage, and what the SSTM makes of it, over all images.

    Attributes:
        stage: 1 to 5.
        channels, height, width: of the map, of the first batch.
        shares: of x, K clamped to the map.
        branch_ratio: rms of what is added to x over rms of x.
        spectral_rms, gate_rms: of the two terms of the 1×1 fusion, W_fuse x_spec and W_fuse x_gate, before LayerNorm.
    """

    stage: int
    channels: int
    height: int
    width: int
    shares: list[EnergyShare]
    branch_ratio: Finite
    spectral_rms: Finite
    gate_rms: Finite

    @property
    def spectral_part(self) -> float:
        """Energy of the spectral term over that of both, in 0..1; 0 if both are zero."""
        both = self.spectral_rms**2 + self.gate_rms**2
        return self.spectral_rms**2 / both if both else 0.0


class FilterSummary(_Record):
    """The learned filter W of one SSTM.

    Attributes:
        stage: 1 to 5.
        k: it is K×K; of a larger filter the central frequencies that the maps in training hold.
        complex_filter: see :class:`~s2mnet.network.TruncatedSpectralFilter`.
        magnitude: mean |W| over channels at radius 0, 1, … K // 2 cycles per map.
        phase: mean |angle of W| in radians at the same radii, weighted by |W|: 0 is a zero-phase filter, π a sign.
        departure: rms of W − 1, that is from the start.
        imaginary_part: share of the mean square of W − 1 that is due to the imaginary part, in 0..1.
    """

    stage: int
    k: int
    complex_filter: bool
    magnitude: list[Finite]
    phase: list[Finite]
    departure: Finite
    imaginary_part: Finite


class SpectrumResult(_Record):
    """Everything measured on one data set.

    Attributes:
        name, modality: of the data set, such as "DRIVE" and "fundus photography".
        image: the images themselves.
        stages, filters: of the network trained on it, stage 1 first; empty if there is none, and None for a stage
            without SSTM.
        model: where that network lay, empty if there is none.
        environment: of :func:`s2mnet.provenance.environment`.
    """

    name: str
    modality: str
    image: ImageSpectrum
    stages: list[StageSpectrum | None] = []
    filters: list[FilterSummary | None] = []
    model: str = ""
    environment: dict[str, Any] = {}


class Reconstruction(NamedTuple):
    """An image made of some of its frequencies.

    Attributes:
        image: float64, as large as the original.
        psnr: in dB with a peak of 255; infinite if it equals the original, near 300 if rounding alone parts them.
        relative_error: rms error over the rms deviation of the original from the mean of each channel; 0 if constant.
    """

    image: NDArray[np.float64]
    psnr: float
    relative_error: float


def reconstruction(image: NDArray[Any], k: int | None) -> Reconstruction:
    """The image from its central K×K frequencies alone: Re(IFFT2D(Pad(Crop_K(FFT2D)))), as in SPEC 1.1 with W = 1.

    For an even K, taking the real part halves the coefficients at −K/2, whose mirror is outside the band.

    Args:
        image: (H, W) or (C, H, W), in 0..255.
        k: at least 1, clamped to min(H, W); None for all frequencies.

    Example:
        >>> image = np.random.default_rng(0).integers(0, 256, (3, 40, 60))
        >>> np.allclose(reconstruction(image, None).image, image)
        True
        >>> reconstruction(np.full((8, 8), 7), 4)[1:]
        (inf, 0.0)
    """
    original = np.asarray(image, np.float64)
    height, width = original.shape[-2:]
    size = None if k is None else min(k, height, width)
    rows, columns = (np.full(n, True) if size is None else central(n, size) for n in (height, width))
    made = np.fft.ifft2(np.fft.fft2(original) * np.outer(rows, columns)).real
    deviation = original - original.mean(axis=(-2, -1), keepdims=True)
    varies = np.ptp(original, axis=(-2, -1), keepdims=True) > 0
    made = np.where(varies, made, original)
    error, spread = (float(np.sqrt(np.mean(values**2))) for values in (made - original, deviation * varies))
    psnr = 20 * float(np.log10(PEAK / error)) if error else float("inf")
    return Reconstruction(made, psnr, error / spread if spread else 0.0)


def image_spectrum(images: Iterable[NDArray[np.uint8]], ks: Sequence[int] = KS, side: int = SIDE) -> ImageSpectrum:
    """:func:`energy_shares` and :func:`reconstruction` over images at side×side pixels, 352 as in SPEC 3.3.

    Images are resized as :func:`s2mnet.inference.prepare_image` does it (Lanczos). Intervals are the 95 % bootstrap
    over images of :func:`s2mnet.evaluation.records.summarise_values`.

    Args:
        images: uint8 (H, W), (H, W, 3) or (H, W, n), as :func:`s2mnet.data.read_image` gives them; read once, in turn.
        side: at least 32.

    Raises:
        S2MNetError: no image.

    Example:
        >>> noise = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
        >>> found = image_spectrum(noise, ks=[16], side=64)
        >>> found.images, round(found.bands[0].without_dc.mean, 2)
        (2, 0.06)
    """
    rows = []
    for image in images:
        planes = _prepared(image, side)
        shares = energy_shares(planes, ks)
        rows.append([(*shares[k], *reconstruction(planes, k)[1:]) for k in ks])
    if not rows:
        raise S2MNetError("spectrum of a data set", "no image", "at least one image", "Check the folder or the split.")
    values = np.array(rows).transpose(1, 2, 0)  # (K, quantity, image)
    bands = []
    for k, (with_dc, without_dc, psnr, error) in zip(ks, values, strict=True):
        summaries = {
            "with_dc": _summary(with_dc),
            "without_dc": _summary(without_dc),
            "psnr": _summary(psnr),
            "relative_error": _summary(error),
        }
        bands.append(Band(k=k, **summaries))
    return ImageSpectrum(images=len(rows), side=side, bands=bands)


def feature_spectrum(network: S2MNet, batches: Iterable[Tensor], ks: Sequence[int] = KS) -> list[StageSpectrum | None]:
    """What enters the SSTM of each of the five stages, and how much the SSTM adds to it.

    The network runs in eval mode, so that dropout is off, and is left in the mode that it was in.

    Args:
        batches: (B, in_channels, H, W) normalised as in training, at the extent of training: a frequency is in cycles
            per map (SPEC 1.1).
        ks: each at least 1, clamped to the map of a stage.

    Returns:
        Stage 1 first; None for a stage without SSTM.

    Raises:
        S2MNetError: no image.

    Example:
        >>> network = S2MNet(channels=(8,) * 5, num_frequencies=(4, 4, 0, 0, 0), stem_channels=8)
        >>> found = feature_spectrum(network, [torch.randn(2, 3, 32, 48)], ks=[4])
        >>> [stage and (stage.height, stage.width) for stage in found]
        [(16, 24), (8, 12), None, None, None]
    """
    mixers = _mixers(network)
    probes = [None if mixer is None else _Probe(ks) for mixer in mixers]
    parameter = next(network.parameters())
    training = network.training
    with contextlib.ExitStack() as hooks, torch.no_grad():
        for mixer, probe in zip(mixers, probes, strict=True):
            if mixer and probe:
                hooks.callback(mixer.register_forward_hook(probe.see_mixer).remove)
                hooks.callback(mixer.fuse.register_forward_hook(probe.see_fusion).remove)
        hooks.callback(network.train, training)
        network.eval()
        seen = 0
        for batch in batches:
            network(batch.to(parameter.device, parameter.dtype))
            seen += len(batch)
    if not seen:
        raise S2MNetError("spectrum inside a network", "no image", "at least one image", "Check the folder or split.")
    return [probe.result(stage) if probe else None for stage, probe in enumerate(probes, 1)]


def filter_summary(network: S2MNet, size: tuple[int, int] | None = None) -> list[FilterSummary | None]:
    """The learned filter of the spectral branch at each stage, stage 1 first; None for a stage without SSTM.

    Args:
        size: height and width of the network's input in training, each at least 32: frequencies that no map of that
            size holds were never trained and are left out. None for the whole filters.

    Example:
        >>> start = filter_summary(S2MNet(num_frequencies=(4, 4, 4, 4, 0)))  # the identity on the band
        >>> start[0].magnitude, start[0].departure, start[4]
        ([1.0, 1.0, 1.0], 0.0, None)
    """
    found: list[FilterSummary | None] = []
    for number, mixer in enumerate(_mixers(network), 1):
        side = min(size) if size else None
        found.append(_filter(number, mixer, side) if mixer else None)
    return found


class _Probe:
    """Watches one SSTM: shares of every image, and sums of squares."""

    def __init__(self, ks: Sequence[int]) -> None:
        self.ks = ks
        self.shape: tuple[int, ...] = ()
        self.shares: list[list[tuple[float, float]]] = []
        self.squares = dict.fromkeys(("x", "branch", "spectral", "gate"), 0.0)
        self.values = 0

    def see_mixer(self, mixer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].double()
        self.shape = self.shape or tuple(x.shape[1:])
        for image in x.cpu().numpy():
            shares = energy_shares(image, self.ks)
            self.shares.append([shares[k] for k in self.ks])
        self.values += x.numel()
        self._add("x", x)
        self._add("branch", output.double() - x)

    def see_fusion(self, fuse: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
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


def _mixers(network: S2MNet) -> list[SpectralSelectiveTokenMixer | None]:
    return [
        next((module for module in stage.modules() if isinstance(module, SpectralSelectiveTokenMixer)), None)
        for stage in network.stages
    ]


def _filter(number: int, mixer: SpectralSelectiveTokenMixer, side: int | None) -> FilterSummary:
    response = mixer.spectral.response().detach().cpu().numpy().astype(np.complex128)
    held = mixer.spectral.num_frequencies
    k = min(held, -(-side // 2**number)) if side else held  # every stage halves, rounded up
    first = held // 2 - k // 2
    response = response[:, first : first + k, first : first + k]
    magnitude = radial_profile(np.abs(response)).mean(axis=0)
    turned = radial_profile(np.abs(response) * np.abs(np.angle(response))).mean(axis=0)
    squared = np.abs(response - 1) ** 2
    return FilterSummary(
        stage=number,
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


def _summary(values: NDArray[np.float64]) -> Summary | None:
    known = values[np.isfinite(values)]
    return summarise_values(known[None])[0] if known.size else None


def _prepared(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """uint8 (C, side, side)."""
    held = 1 if image.ndim == 2 else image.shape[2]
    stored = [] if held in (1, 3) else [f"channel {number}" for number in range(held)]
    names = stored or ([GREY] if held == 1 else list(COLOURS))
    return prepare_image(
        image,
        Preprocessing(extent="whole", size=(side, side), channels=names, stored=stored, normalisation="image"),
    )
