"""What the study of spectra measures on a data set and in a network: the form of its result files."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from s2mnet.evaluation.records import Finite, Summary

KS = (1, 4, 8, 16, 24, 32, 48, 64, 96, 128)  # K = 1 is the DC term alone


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Band(_Record):
    """The central K×K frequencies over the images of a data set; None if no image has the quantity.

    Attributes:
        with_dc, without_dc: share of the energy in 0..1, see :func:`energy_shares`.
        psnr: in dB, of the image made of these frequencies alone, over the images that it does not equal.
        relative_error: of that image, see :func:`reconstruction`.
    """

    k: int
    with_dc: Summary | None
    without_dc: Summary | None
    psnr: Summary | None
    relative_error: Summary | None


class ImageSpectrum(_Record):
    """A data set: the number of images, the side in pixels to which each was resized, and every K."""

    images: int
    side: int
    bands: list[Band]


class EnergyShare(_Record):
    """Share of the energy within K, in 0..1, mean over channels and images; None if all of them are constant."""

    k: int
    with_dc: Finite | None
    without_dc: Finite | None


class StageSpectrum(_Record):
    """The map x that enters the SSTM of one stage, and what the SSTM adds to it, over all images.

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
        k: K×K frequencies: those of the filter that fit the maps in training.
        complex_filter: see :class:`~s2mnet.network.TruncatedSpectralFilter`.
        magnitude: mean |W| over channels at radius 0, 1, … K // 2 cycles per map.
        phase: mean |angle of W| in radians at the same radii, weighted by |W|: 0 is a zero-phase filter, π a sign.
        departure: rms of W − 1, the distance from the start.
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
        stages, filters: of the network trained on it, stage 1 first; empty without a network, None for a stage without
            SSTM.
        model: the folder of that network; empty if there is none.
        environment: of :func:`s2mnet.provenance.environment`.
    """

    name: str
    modality: str
    image: ImageSpectrum
    stages: list[StageSpectrum | None] = []
    filters: list[FilterSummary | None] = []
    model: str = ""
    environment: dict[str, Any] = {}
