"""The FFT forms of the spectral branch are the branch: each an oracle of the other."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from s2mnet.network import S2MNet, TruncatedSpectralFilter
from s2mnet_lab.bench.record import Case
from s2mnet_lab.bench.spectral import FORMS, complex_form, half_plane_form, spectral_case, stage_sides


@given(k=st.integers(1, 9), height=st.integers(1, 12), width=st.integers(1, 12), hermitian=st.booleans())
def test_all_three_give_the_same_map_and_gradients(k: int, height: int, width: int, hermitian: bool) -> None:
    branch = TruncatedSpectralFilter(3, k, hermitian).double()
    torch.nn.init.normal_(branch.weight)
    image, slope = torch.randn(2, 2, 3, height, width, dtype=torch.float64)
    results = []
    for _, form in FORMS.values():
        x = image.clone().requires_grad_()
        branch.weight.grad = None
        y = form(branch, x)
        y.backward(slope)
        results.append((y.detach(), x.grad, branch.weight.grad.clone()))
    for found in results[1:]:
        for one, other in zip(found, results[0], strict=True):
            assert torch.allclose(one, other, atol=1e-10)


def test_a_filter_of_ones_keeps_the_band_and_takes_the_rest() -> None:
    branch = TruncatedSpectralFilter(1, 5)
    n = torch.arange(16) * (2 * torch.pi / 16)
    low, high = torch.cos(2 * n).expand(1, 1, 16, 16), torch.cos(5 * n).expand(1, 1, 16, 16)
    for form in (complex_form, half_plane_form):
        assert torch.allclose(form(branch, low + high), low, atol=1e-5)


def test_our_operations_are_those_of_four_products_and_their_gradients() -> None:
    """Maps of 32² with 24 channels, 2 images: along H and W with cosines and sines of 0 to 16, and back the same."""
    _, _, flops = spectral_case(Case(section="spectral", size=64, batch=2, stage=1), "cpu")
    rows, side = 2 * 17, 32
    one_way = 2 * (2 * 24) * (rows * side * side + rows * rows * side)
    assert flops == 4 * one_way  # there and back; the gradient of each product for its map


def test_stages_are_those_of_the_network() -> None:
    seen: list[int] = []
    network = S2MNet().eval()
    for stage in network.stages:
        stage.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-1]))
    with torch.inference_mode():
        network(torch.rand(1, 3, 96, 96))
    assert stage_sides(96) == seen
