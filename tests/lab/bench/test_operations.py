"""Where the time goes: every operation is seen, and its multiply-adds and bytes are those of a closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from s2mnet.device import multiplies_bf16
from s2mnet.network import S2MNet
from s2mnet_lab.bench import Request, run_bench
from s2mnet_lab.bench.bound import layers_of
from s2mnet_lab.bench.operations import Watch, largest, summary
from s2mnet_lab.bench.record import Case, Operation, Rates
from s2mnet_lab.bench.tables import tables

RATES = Rates(dense=4e11, vector=1e11, memory=2e10)


def test_convolutions_by_the_side_of_their_kernel() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False)
    )
    x = torch.rand(2, 3, 32, 40, requires_grad=True)
    with Watch("cpu", RATES) as watch:
        network(x).sum().backward()
    pixels = 2 * 32 * 40
    dense, depthwise = 2 * pixels * 8 * 3 * 9, 2 * pixels * 8 * 25
    flops = {name: one.flops for name, one in watch.operations.items() if "convolution" in name}
    assert flops == {
        "convolution 3×3": dense,
        "depthwise convolution 5×5": depthwise,
        "convolution 3×3, gradients": 2 * dense,
        "depthwise convolution 5×5, gradients": 2 * depthwise,
    }
    first = watch.operations["convolution 3×3"]
    assert first.calls == 1 and first.seconds > 0
    assert first.bytes == 4 * (pixels * 3 + pixels * 8 + 8 * 3 * 9)
    assert first.multiplying == pytest.approx(dense / 1e11) and first.moving == pytest.approx(first.bytes / 2e10)


@pytest.mark.skipif(not multiplies_bf16("cpu"), reason="bf16 is emulated on this processor")
def test_dense_products_alone_have_the_rate_of_bf16() -> None:
    x = torch.rand(1, 8, 32, 32, dtype=torch.bfloat16)
    dense, depthwise = torch.rand(8, 8, 3, 3, dtype=torch.bfloat16), torch.rand(8, 1, 3, 3, dtype=torch.bfloat16)
    with torch.no_grad(), Watch("cpu", RATES) as watch:
        torch.conv2d(x, dense)
        torch.conv2d(x, depthwise, groups=8)
    found = watch.operations
    assert found["convolution 3×3"].multiplying == pytest.approx(found["convolution 3×3"].flops / 4e11)
    assert found["depthwise convolution 3×3"].multiplying == pytest.approx(
        found["depthwise convolution 3×3"].flops / 1e11
    )


def test_all_that_the_network_multiplies_is_seen() -> None:
    network, x = S2MNet().eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), Watch("cpu", RATES) as watch:
            network(x)
        assert sum(one.flops for one in watch.operations.values()) == counter.get_total_flops()
    with Watch("cpu", RATES) as watch:  # in eval mode, as training on a CPU has sums of its own for weight gradients
        network(x).square().mean().backward()
    # Forward and two gradients each, but for those with respect to the image and to the cosines and sines.
    image = 2 * 64 * 64 * network.stem[0].weight.numel()
    waves = sum(flops for kind, flops, _ in layers_of(S2MNet(), 64)[0] if kind == "spectral")
    assert sum(one.flops for one in watch.operations.values()) == 3 * counter.get_total_flops() - image - waves


def test_the_round_that_took_least_counts() -> None:
    slow, fast = (
        {
            name: Operation(name=name, calls=1, seconds=times * s)
            for name, s in zip("abcd", (1.0, 4.0, 2.0, 3.0), strict=True)
        }
        for times in (2, 1)
    )
    assert [(one.name, one.seconds, one.share) for one in summary([slow, fast])] == [
        ("b", 4.0, 0.4),
        ("d", 3.0, 0.3),
        ("c", 2.0, 0.2),
    ]


def test_the_section_is_measured_and_shown() -> None:
    record = run_bench(Request(sizes=[64], precisions=["float32"], only="operations"))
    [found] = record.largest
    assert found.case == Case(section="network", size=64, batch=1) and len(found.operations) == 3
    assert 0.3 < sum(one.share for one in found.operations) <= 1
    text = tables(record)
    assert "## Largest operations" in text and "inference, 64², batch 1, float32; " in text
    assert all(f"| {one.name} | {one.calls} |" in text for one in found.operations)


def test_of_a_training_step_too() -> None:
    found = largest(Case(section="train", size=32, batch=2), "cpu", RATES)
    seconds = [one.seconds for one in found]
    assert seconds == sorted(seconds, reverse=True) and seconds[-1] > 0
