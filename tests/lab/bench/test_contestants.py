"""The networks that are compared: what they are, and that a step is a step."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from s2mnet import S2MNetError
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet.network.fast.fused import compiles
from s2mnet_lab.bench.contestants import CONTESTANTS, Contestant, chosen, ours, straightforward
from s2mnet_lab.bench.flops import parameters_and_flops
from s2mnet_lab.bench.record import Case
from s2mnet_lab.bench.work import disc, matrix_product, network_job, products
from s2mnet_lab.peers import PEERS

# Millions of parameters, by the papers: S2M-Net 4.7, U-Net 31.0, U-Net++ 9.0, Attention U-Net 34.9 (MONAI's has one
# convolution less a level), nnU-Net in 2-D with six stages 20.6; SegResNet, SwinUNETR, MedNeXt-S and UNETR have 4.7,
# 62, 5.6 and 93 in 3-D, and less where a kernel loses an axis. The last two are MONAI's defaults, which a CPU trains.
MILLIONS = {
    "s2mnet": (4.6, 4.9),
    "s2mnet-light": (4.6, 4.9),
    "s2mnet-released": (4.6, 4.9),
    "s2mnet-straightforward": (4.6, 4.9),
    "s2mnet-straightforward-kept": (4.6, 4.9),
    "s2mnet-torch": (4.6, 4.9),
    "unet": (30.5, 31.5),
    "unet++": (8.9, 9.3),
    "attention-unet": (31, 35),
    "nnunet": (20, 21),
    "segresnet": (4.5, 6.5),
    "swinunetr": (24, 63),
    "mednext-s": (5.2, 5.8),
    "unetr": (86, 106),
    "residual-unet": (1.55, 1.7),
    "basic-unet": (1.9, 2.1),
    "imagenet-unet": (5.1, 5.3),
}
MILLIONS |= {f"{name}-openvino": size for name, size in MILLIONS.items() if f"{name}-openvino" in CONTESTANTS}


@pytest.mark.parametrize("name", [one.name for one in chosen([])])
def test_every_network_maps_an_image_to_one_map_at_the_size_of_its_paper(name: str) -> None:
    if name in ("swinunetr", "unetr"):
        pytest.importorskip("einops", reason="MONAI's transformers need einops")
    network = CONTESTANTS[name].build(64).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 64, 64)).shape == (1, 1, 64, 64)
    low, high = MILLIONS[name]
    assert low <= sum(p.numel() for p in network.parameters()) / 1e6 <= high


@torch.no_grad()
@pytest.mark.parametrize("name", ["s2mnet", "segresnet", "unet++"])
def test_a_network_in_openvino_computes_what_it_computes_in_pytorch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = CONTESTANTS[name].build(64).eval()
    case = Case(section="network", size=64, batch=2, precision="float32")
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(shape).cumsum(-1) / 64)
    contestant = replace(CONTESTANTS[f"{name}-openvino"], build=lambda size: network)
    found = network_job(contestant, case, "contiguous", "cpu")()
    torch.testing.assert_close(found, network(torch.rand(2, 3, 64, 64)), rtol=1e-3, atol=1e-4)


def test_straightforward_is_our_network_in_torchs_own_layers() -> None:
    # In float64: in float32 a ReLU near zero falls to either side, which changes a gradient by one part in a thousand.
    fast, plain = ours(dropout=0.0).double(), straightforward().double()
    plain.load_state_dict(fast.state_dict())
    assert any(type(module).__module__.startswith("s2mnet.network.fast") for module in fast.modules())
    for module in plain.modules():
        assert not type(module).__module__.startswith("s2mnet.network.fast")
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    for network in (fast, plain):
        network(x).square().mean().backward()
    for (name, found), expected in zip(fast.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-6, atol=1e-10, msg=lambda m, n=name: n + m)
    for found, expected in zip(fast.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(found, expected)


def test_an_unknown_contestant_is_refused_with_those_there_are() -> None:
    with pytest.raises(S2MNetError, match=r"'resnet'.*s2mnet, .*mednext-s"):
        chosen(["unet", "resnet"])


def test_compiled_networks_run_on_a_gpu_or_if_they_are_named() -> None:
    everywhere, gpu = ({one.name for one in chosen([], device)} for device in ("cpu", "cuda"))
    assert gpu - everywhere == {f"{name}-compiled" for name in ("s2mnet", *PEERS)}
    assert [one.compiled for one in chosen(["unet-compiled", "unet"])] == [True, False]


@pytest.mark.parametrize("section", ["network", "train"])
def test_a_compiled_network_computes_what_it_computes_as_written(section: str) -> None:
    if not compiles():
        pytest.skip("networks are compiled on Linux, with a C++ compiler")
    networks = [nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ELU(), nn.Conv2d(4, 1, 1)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    found = []
    for network, compiled in zip(networks, (False, True), strict=True):
        torch.manual_seed(0)
        job = network_job(
            Contestant("x", "x", lambda size, network=network: network, compiled=compiled),
            Case(section=section, size=32, batch=2),
            "channels_last",
            "cpu",
        )
        found.append(job() if section == "network" else (job(), network[0].weight.detach())[1])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "layer, flops",
    [
        (nn.Conv2d(3, 8, 3, padding=1), 2 * 8 * 3 * 9 * 32 * 32),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), 2 * 8 * 3 * 9 * 16 * 16),
        (nn.Conv2d(3, 3, 7, padding=3, groups=3, bias=False), 2 * 3 * 49 * 32 * 32),
        (nn.ConvTranspose2d(3, 8, 2, stride=2), 2 * 8 * 3 * 4 * 32 * 32),
        (nn.Linear(32, 5), 2 * 32 * 5 * 3 * 32),
    ],
)
def test_flops_are_two_for_each_multiply_add(layer: nn.Module, flops: int) -> None:
    contestant = Contestant("layer", "layer", lambda size: copy.deepcopy(layer))
    assert parameters_and_flops(contestant, 32) == (sum(p.numel() for p in layer.parameters()), flops)


def test_a_training_step_is_forward_loss_backward_and_adamw() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    expected = copy.deepcopy(network)
    case = Case(section="train", size=32, batch=2)
    torch.manual_seed(1)
    network_job(Contestant("x", "x", lambda size: network), case, "channels_last", "cpu")()
    torch.manual_seed(1)
    images = torch.rand(2, 3, 32, 32)
    optimiser = torch.optim.AdamW(expected.parameters(), lr=1e-4)
    DiceCrossEntropy()(expected(images), disc(2, 32, "cpu")).backward()
    optimiser.step()
    for found, wanted in zip(network.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_inference_is_in_eval_mode_in_the_precision_and_the_form_that_were_asked_for() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    case = Case(section="network", size=32, batch=2, precision="bf16")
    seen = []
    network[0].register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    network_job(Contestant("x", "x", lambda size: network), case, "channels_last", "cpu")()
    [(image, output)] = seen
    assert image.is_contiguous(memory_format=torch.channels_last) and not image.is_contiguous()
    assert output.dtype == torch.bfloat16
    assert not network.training and network[1].num_batches_tracked == 0


@pytest.mark.parametrize("shape", [(5, 7, 3), (64, 32, 48)])
def test_both_libraries_that_give_the_peak_compute_the_product(shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    exact = a.double() @ b.double()
    by_blas, by_convolution = (job() for job in products(a, b))
    assert isinstance(by_blas, torch.Tensor) and isinstance(by_convolution, torch.Tensor)
    torch.testing.assert_close(by_blas.double(), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(by_convolution[0, :, :, 0].t().double(), exact, rtol=1e-4, atol=1e-4)


def test_the_peak_counts_two_for_each_multiply_add_of_what_it_times() -> None:
    product, flops = matrix_product("float32", "cpu")
    with FlopCounterMode(display=False) as counter:
        product()
    assert counter.get_total_flops() == flops
