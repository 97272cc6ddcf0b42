"""The copies for inference: the same answers from every variant of the network, and the network left as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from s2mnet.network import S2MNet
from s2mnet.network.fast import accelerate
from s2mnet.network.fast.install import fuse_batch_norms

# The paper's start of SSTM, so that the branch is no small part of what is compared.
SMALL = {"channels": (4, 4, 6, 6, 8), "stem_channels": 4, "num_frequencies": 4, "branch_scale": 1.0}


def fused(network: nn.Module) -> nn.Module:
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    assert fuse_batch_norms(frozen) > 0
    return frozen


def accelerated(network: nn.Module) -> nn.Module:
    return accelerate(network, "predict").network


COPIES = [fused, accelerated]
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "classes": {"num_classes": 3, "in_channels": 1},
    "light head": {"head": "light"},
    "released head": {"head": "released"},
    "hard routing": {"routing": "hard"},
    "learned routing": {"routing": "learned"},
    "no routing": {"routing": "none"},
    "real filters": {"complex_filter": False},
    "odd bands": {"num_frequencies": (7, 5, 3, 0, 1)},
    "no MRF-SE": {"block": "conv"},
    "no BFD": {"decoder": "conv"},
    "plain U-Net": {"num_frequencies": 0, "block": "conv", "decoder": "conv"},
}


@torch.no_grad()
@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_answers_as_before(
    variant: str, copied: Callable[[nn.Module], nn.Module], randomise: Callable[[S2MNet], S2MNet]
) -> None:
    network = randomise(S2MNet(**(SMALL | VARIANTS[variant]))).double().eval()
    x = torch.randn(2, network.in_channels, 47, 34, dtype=torch.float64)
    logits, maps = network(x, return_boundaries=True)
    found, found_maps = copied(network)(x, return_boundaries=True)
    assert logits.std() > 1e-3  # else anything would pass
    torch.testing.assert_close(found, logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found_maps, maps, rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_full_network_in_single_precision(
    layout: torch.memory_format, randomise: Callable[[S2MNet], S2MNet]
) -> None:
    network = S2MNet().eval()
    x = torch.rand(1, 3, 96, 131).contiguous(memory_format=layout)
    torch.testing.assert_close(accelerated(network).to(memory_format=layout)(x), network(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("copied", COPIES)
def test_the_network_itself_goes_on_training(copied: Callable[[nn.Module], nn.Module]) -> None:
    network = S2MNet(**SMALL)
    before = copy.deepcopy(network.state_dict())
    result = copied(network)
    assert not result.training and not any(p.requires_grad for p in result.parameters())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in result.modules())
    assert network.training and all(part.training and p.requires_grad for part in network.modules()
                                    for p in part.parameters())  # fmt: skip
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.load_state_dict(before)
    x, network = torch.rand(1, 3, 32, 32), network.eval()
    with torch.no_grad():
        torch.testing.assert_close(result(x), network(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("complex_filter", [True, False])
def test_filters_that_are_prepared_once_serve_every_size_and_mode(
    complex_filter: bool, randomise: Callable[[S2MNet], S2MNet]
) -> None:
    network = randomise(S2MNet(**(SMALL | {"complex_filter": complex_filter}))).double().eval().requires_grad_(False)
    result = accelerated(network)
    for size in ((160, 150), (32, 90), (160, 150)):  # the smallest map of the second is smaller than the band
        x = torch.randn(1, 3, *size, dtype=torch.float64)
        with torch.inference_mode():
            torch.testing.assert_close(result(x), network(x), rtol=1e-9, atol=1e-9)
    x.requires_grad_()
    for found, expected in zip(*(torch.autograd.grad(n(x).square().sum(), x) for n in (result, network)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
