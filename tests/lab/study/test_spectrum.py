"""The spectral study against NumPy's FFT with explicit masks, signals of known spectrum, and networks by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from s2mnet.errors import S2MNetError
from s2mnet.fingerprint.spectrum import KS as INSPECTED
from s2mnet.fingerprint.spectrum import energy_shares, energy_within
from s2mnet.inference import prepare_image
from s2mnet.network import S2MNet, SpectralSelectiveTokenMixer, TruncatedSpectralFilter
from s2mnet.plan import Preprocessing
from s2mnet_lab.study.spectrum.images import image_spectrum, reconstruction
from s2mnet_lab.study.spectrum.network import feature_spectrum, filter_summary
from s2mnet_lab.study.spectrum.result import SpectrumResult

SIDES = st.integers(1, 40)


def cropped(height: int, width: int, k: int) -> np.ndarray:
    """1 within Crop_K(fftshift) of SPEC 1.1, 0 outside, in the order of the FFT, frequency by frequency."""
    k = min(k, height, width)
    mask = np.zeros((height, width))
    for u in range(-(k // 2), (k - 1) // 2 + 1):
        for v in range(-(k // 2), (k - 1) // 2 + 1):
            mask[u, v] = 1
    return mask


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 30, shape)


def small(**changes: object) -> S2MNet:
    options = {"channels": (8,) * 5, "num_frequencies": (8, 8, 4, 3, 2), "stem_channels": 8} | changes
    return S2MNet(**options).eval()  # type: ignore[arg-type]


def mixers(network: S2MNet) -> list[SpectralSelectiveTokenMixer]:
    return [module for module in network.modules() if isinstance(module, SpectralSelectiveTokenMixer)]


@given(st.integers(1, 3), SIDES, SIDES, st.integers(1, 50))
def test_shares_are_the_energy_within_an_explicit_mask(channels: int, height: int, width: int, k: int) -> None:
    image = noise(channels, height, width)
    power = np.abs(np.fft.fft2(image)) ** 2
    mask = cropped(height, width, k)
    with_dc, without_dc = energy_shares(image, [k])[k]
    assert with_dc == pytest.approx(np.mean([(plane * mask).sum() / plane.sum() for plane in power]), rel=1e-9)
    power[:, 0, 0] = 0
    if height * width == 1:
        assert math.isnan(without_dc)
    else:
        assert without_dc == pytest.approx(np.mean([(plane * mask).sum() / plane.sum() for plane in power]), abs=1e-9)


@pytest.mark.parametrize("frequency", [7, 8, 11, 12, 13, 16, 23, 24, 25])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_cosine_is_inside_or_outside_of_k(frequency: int, axis: int) -> None:
    wave = np.cos(2 * np.pi * frequency * np.arange(90) / 90)
    image = np.tile(wave, (70, 1)) if axis else np.tile(wave, (70, 1)).T
    for k, shares in energy_shares(image, (16, 17, 24, 25, 48, 49)).items():
        # Of a wave at −K/2 and K/2, an even band holds the one and not the other.
        expected = 0.5 if frequency == k / 2 else float(frequency < k / 2)
        np.testing.assert_allclose(shares, expected, atol=1e-12)


def test_white_noise_has_the_share_of_its_frequencies() -> None:
    for k, (with_dc, without_dc) in energy_shares(noise(8, 256, 256) - 100, (16, 32, 64, 128)).items():
        assert with_dc == pytest.approx(without_dc, abs=1e-3) == pytest.approx(k**2 / 256**2, rel=0.1)


def test_white_noise_on_a_bright_ground_is_mostly_its_mean() -> None:
    with_dc, without_dc = energy_shares(noise(256, 256), [16])[16]
    assert with_dc == pytest.approx((100**2 + 900 * (16 / 256) ** 2) / (100**2 + 900), abs=1e-3)
    assert without_dc < 0.01


def test_all_frequencies_hold_all_energy_and_shares_grow_with_k() -> None:
    shares = list(energy_shares(noise(2, 33, 33), range(1, 40)).values())
    assert (np.diff(np.array(shares), axis=0) >= 0).all()
    np.testing.assert_allclose(shares[32:], 1)


def test_a_constant_channel_has_no_energy_but_its_mean() -> None:
    with_dc, without_dc = energy_shares(np.full((40, 30), 0.1), [8])[8]
    assert with_dc == 1 and math.isnan(without_dc)
    assert np.isnan(energy_shares(np.zeros((2, 8, 8)), [4])[4]).all()
    image = noise(1, 40, 30)
    both = np.concatenate([image, np.zeros_like(image)])
    np.testing.assert_allclose(energy_shares(both, [8])[8], energy_shares(image, [8])[8])


def test_it_agrees_with_what_inspection_says_of_a_small_image() -> None:
    image = np.random.default_rng(1).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    shares = energy_shares(image.transpose(2, 0, 1), INSPECTED)
    np.testing.assert_allclose(list(shares.values()), energy_within(image), rtol=1e-9)


@given(st.sampled_from([(7, 9), (2, 12, 8), (3, 5, 5), (1, 1), (16, 31)]), st.integers(1, 20))
def test_a_reconstruction_is_the_spectral_branch_with_the_identity(shape: tuple[int, ...], k: int) -> None:
    image = noise(*shape)
    made = reconstruction(image, k).image
    shifted = np.fft.ifft2(np.fft.fft2(image) * cropped(*shape[-2:], k)).real
    np.testing.assert_allclose(made, shifted, atol=1e-9)
    planes = torch.from_numpy(image).reshape(1, -1, *shape[-2:])
    branch = TruncatedSpectralFilter(planes.shape[1], num_frequencies=k).double()
    np.testing.assert_allclose(made.reshape(planes.shape), branch(planes).detach(), atol=1e-9)


def test_all_frequencies_give_the_image_back() -> None:
    for shape in ((30, 44), (3, 21, 16)):
        image = noise(*shape)
        made, psnr, error = reconstruction(image, None)
        np.testing.assert_allclose(made, image, atol=1e-10)
        assert psnr > 250 and error < 1e-12
    np.testing.assert_allclose(reconstruction(noise(24, 24), 24).image, noise(24, 24), atol=1e-10)


def test_the_error_is_the_energy_that_is_left_out() -> None:
    """Parseval: for an odd K the squared relative error is what the band lacks of the energy without DC."""
    image = noise(40, 56)
    for k in (5, 15, 31):
        made, psnr, error = reconstruction(image, k)
        assert error**2 == pytest.approx(1 - energy_shares(image, [k])[k][1], rel=1e-9)
        assert psnr == pytest.approx(10 * math.log10(255**2 / np.mean((made - image) ** 2)), rel=1e-9)
    errors = [reconstruction(image, k).relative_error for k in range(1, 41)]
    assert (np.diff(errors) <= 0).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 255.0])
def test_a_constant_image_is_met_exactly(value: float) -> None:
    made, psnr, error = reconstruction(np.full((2, 37, 29), value), 4)
    assert (made == value).all() and psnr == math.inf and error == 0


def test_a_constant_channel_beside_another_gives_finite_figures() -> None:
    image = noise(2, 20, 20)
    image[1] = 7
    _, psnr, error = reconstruction(image, 6)
    alone = reconstruction(image[:1], 6)
    assert error == pytest.approx(alone.relative_error)
    assert psnr == pytest.approx(alone.psnr + 10 * math.log10(2))  # half of the pixels are exact


def test_a_data_set_is_the_mean_over_its_images_as_the_network_sees_them() -> None:
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((50, 70, 3), (64, 64, 3), (90, 33, 3))]
    plan = Preprocessing(extent="whole", size=(64, 64), channels=["red", "green", "blue"], normalisation="image")
    spectrum = image_spectrum(iter(images), ks=[9, 24], side=64)
    assert (spectrum.images, spectrum.side) == (3, 64)
    for band in spectrum.bands:
        planes = [prepare_image(image, plan) for image in images]
        expected = np.array([(*energy_shares(p, [band.k])[band.k], *reconstruction(p, band.k)[1:]) for p in planes])
        summaries = [band.with_dc, band.without_dc, band.psnr, band.relative_error]
        np.testing.assert_allclose([s.mean for s in summaries if s], expected.mean(axis=0), rtol=1e-9)
        assert all(s and s.low <= s.mean <= s.high for s in summaries)


def test_grey_images_stacks_and_constant_ones_are_measured() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    band = image_spectrum([grey, np.zeros_like(grey)], ks=[8], side=40).bands[0]
    assert band == image_spectrum([grey], ks=[8], side=40).bands[0].model_copy(
        update={"relative_error": band.relative_error}
    )
    assert band.relative_error and band.relative_error.low == 0
    stack = np.repeat(grey[..., None], 5, axis=2)
    stacked = image_spectrum([stack], ks=[8], side=40).bands[0].with_dc
    assert stacked and stacked.mean == pytest.approx(band.with_dc.mean if band.with_dc else 0)
    nothing = image_spectrum([np.zeros_like(grey)], ks=[8], side=40).bands[0]
    assert (nothing.with_dc, nothing.without_dc, nothing.psnr) == (None, None, None)


@pytest.mark.parametrize("measure", [lambda: image_spectrum([]), lambda: feature_spectrum(small(), [])])
def test_nothing_to_measure_is_said(measure: Callable[[], object]) -> None:
    with pytest.raises(S2MNetError, match="no image"):
        measure()


def test_inside_a_network_it_is_the_map_before_each_sstm() -> None:
    network = small(num_frequencies=(8, 0, 4, 3, 2))
    batches = [torch.randn(2, 3, 64, 96), torch.randn(1, 3, 64, 96)]
    stages = feature_spectrum(network.train(), iter(batches), ks=[4, 8])
    assert network.training
    assert [stage and (stage.stage, stage.height, stage.width) for stage in stages] == [
        (1, 32, 48),
        None,
        (3, 8, 12),
        (4, 4, 6),
        (5, 2, 3),
    ]
    network.eval()
    x = torch.cat(batches)
    with torch.no_grad():
        x = network.stem(x)
        for stage, result in zip(network.stages, stages, strict=True):
            if result is None:
                x = stage(x)
                continue
            *before, mixer = stage
            entering = nn.Sequential(*before)(x)
            x = mixer(entering)
            for share in result.shares:
                expected = [energy_shares(image.double().numpy(), [share.k])[share.k] for image in entering]
                np.testing.assert_allclose([share.with_dc, share.without_dc], np.mean(expected, 0), rtol=1e-4)
            ratio = ((x - entering).square().mean() / entering.square().mean()).sqrt()
            assert result.branch_ratio == pytest.approx(ratio.item(), rel=1e-4)
    assert not any(module._forward_hooks for module in network.modules())


def test_the_branches_are_told_apart_behind_the_fusion() -> None:
    network = small()
    for mixer in mixers(network):
        nn.init.zeros_(mixer.fuse.weight[:, 8:])
        nn.init.zeros_(mixer.fuse.bias)
        with torch.no_grad():
            mixer.fuse.weight[:, :8] = 2 * torch.eye(8)
            mixer.norm.weight.zero_()
    seen: list[torch.Tensor] = []
    mixers(network)[0].spectral.register_forward_hook(lambda *call: seen.append(call[2]))
    first, *rest = feature_spectrum(network, [torch.randn(2, 3, 64, 64)], ks=[4])
    assert first and first.spectral_rms == pytest.approx(2 * seen[0].square().mean().sqrt().item(), rel=1e-5)
    for stage in (first, *rest):  # the gain of the LayerNorm is zero: SSTM is the identity
        assert stage and stage.branch_ratio == 0 and stage.gate_rms == 0 and stage.spectral_part == 1


def test_an_identity_network_shows_the_image_itself() -> None:
    network = small()
    network.stem = nn.Identity()
    mixer = SpectralSelectiveTokenMixer(3, num_frequencies=8)
    network.stages = nn.ModuleList([nn.Sequential(mixer), *(nn.Sequential() for _ in range(4))])
    network.forward = lambda x: network.stages[0](network.stem(x))  # type: ignore[method-assign]
    images = torch.from_numpy(noise(2, 3, 40, 50)).float()
    first, *rest = feature_spectrum(network, [images], ks=[8, 24, 64])
    assert first and rest == [None] * 4
    of_images = [energy_shares(image.double().numpy(), [8, 24, 64]) for image in images]
    for share in first.shares:
        expected = np.mean([shares[share.k] for shares in of_images], axis=0)
        np.testing.assert_allclose([share.with_dc, share.without_dc], expected, rtol=1e-9)


@pytest.mark.parametrize("complex_filter", [True, False])
def test_filters_start_as_the_identity(complex_filter: bool) -> None:
    for number, one in enumerate(filter_summary(small(complex_filter=complex_filter)), 1):
        assert one and (one.stage, one.complex_filter) == (number, complex_filter)
        assert one.magnitude == [1] * (one.k // 2 + 1) and one.phase == [0] * (one.k // 2 + 1)
        assert one.departure == one.imaginary_part == 0


def test_a_real_filter_has_zero_phase() -> None:
    network = small(complex_filter=False)
    for mixer in mixers(network):
        nn.init.uniform_(mixer.spectral.weight, 0.5, 2)
    for mixer, one in zip(mixers(network), filter_summary(network), strict=True):
        weight = mixer.spectral.weight.detach().double().numpy()
        assert one and set(one.phase) == {0} and one.imaginary_part == 0
        assert one.departure == pytest.approx(np.sqrt(((weight - 1) ** 2).mean()))


def test_a_shift_is_a_filter_of_pure_phase() -> None:
    """W = exp(−2πi·u·s) delays by s of the map: |W| = 1, and the phase grows with the frequency."""
    network = small(num_frequencies=(9, 0, 0, 0, 0))
    (mixer,) = mixers(network)
    angle = -2 * np.pi * 0.05 * np.arange(-4, 5)
    with torch.no_grad():
        mixer.spectral.weight[..., 0] = torch.from_numpy(np.cos(angle))[:, None]
        mixer.spectral.weight[..., 1] = torch.from_numpy(np.sin(angle))[:, None]
    one = filter_summary(network)[0]
    assert one
    np.testing.assert_allclose(one.magnitude, 1, atol=1e-6)
    down, across = np.meshgrid(np.arange(-4, 5), np.arange(-4, 5), indexing="ij")
    ring = np.round(np.hypot(down, across))
    expected = [np.abs(2 * np.pi * 0.05 * down[ring == r]).mean() for r in range(5)]
    np.testing.assert_allclose(one.phase, expected, atol=1e-6)
    w = np.exp(1j * angle)
    assert one.departure == pytest.approx(np.sqrt((np.abs(w - 1) ** 2).mean()), rel=1e-6)
    assert one.imaginary_part == pytest.approx((w.imag**2).sum() / (np.abs(w - 1) ** 2).sum(), rel=1e-6)


@pytest.mark.parametrize("size", [(32, 64), (70, 45), (352, 352)])
@pytest.mark.parametrize("complex_filter", [True, False])
def test_only_frequencies_that_the_training_reached_are_summarised(size: tuple[int, int], complex_filter: bool) -> None:
    """One step of gradient moves the whole band of a map, of a complex filter also its mirror at K/2, and no more."""
    network = small(num_frequencies=(8, 7, 6, 5, 5), complex_filter=complex_filter)
    network(torch.randn(1, 3, *size)).square().sum().backward()
    with torch.no_grad():
        for mixer in mixers(network):
            mixer.spectral.weight -= mixer.spectral.weight.grad.sign() / 2
    for mixer, summary, whole in zip(mixers(network), filter_summary(network, size), (8, 7, 6, 5, 5), strict=True):
        assert summary and summary.k == min(whole, math.ceil(min(size) / 2**summary.stage))
        departure = np.abs(mixer.spectral.response().detach().numpy() - 1)
        frequency = np.arange(whole) - whole // 2
        band = (frequency >= -(summary.k // 2)) & (frequency <= (summary.k - 1) // 2)
        beyond = np.abs(frequency) > summary.k / 2
        assert (departure[:, band][:, :, band].max(axis=0) > 0.1).all()
        assert not departure[:, beyond].any() and not departure[:, :, beyond].any()
        assert summary.departure == pytest.approx(np.sqrt((departure[:, band][:, :, band] ** 2).mean()))


def test_results_are_json_and_back() -> None:
    network = small(num_frequencies=(8, 0, 4, 3, 2))
    image = image_spectrum(np.zeros((1, 40, 40), np.uint8), side=40)
    result = SpectrumResult(
        name="x",
        modality="ultrasound",
        image=image,
        stages=feature_spectrum(network, [torch.zeros(1, 3, 64, 64)]),
        filters=filter_summary(network),
    )
    assert SpectrumResult.model_validate_json(result.model_dump_json()) == result
