"""The bounds of S2M-Net: every operation is counted, and the sums are those of a roofline."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from s2mnet.device import multiplies_bf16
from s2mnet.network import S2MNet
from s2mnet_lab.bench import Request, run_bench
from s2mnet_lab.bench.bound import bound, layers_of
from s2mnet_lab.bench.record import Case, Rates
from s2mnet_lab.bench.tables import tables

RATES = Rates(dense=4e11, vector=1e11, memory=2e10)


@pytest.mark.parametrize(
    "options", [{}, {"head": "released", "num_frequencies": 8}, {"block": "conv", "decoder": "conv"}]
)
def test_every_multiply_add_is_counted(options: dict) -> None:
    """As torch's counter does it, which sees functions and not layers."""
    network = S2MNet(**options).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.to("meta")(torch.empty(1, 3, 64, 64, device="meta"))
    layers, _ = layers_of(S2MNet(**options), 64)
    assert sum(flops for _, flops, _ in layers) == counter.get_total_flops()


def test_bytes_and_exponentials_of_the_stem() -> None:
    """Its convolution is the first layer, its ELU one of the activations: 3 and 16 channels at 32²."""
    layers, exponentials = layers_of(S2MNet(), 32)
    kind, flops, elements = layers[0]
    assert kind == "precise" and flops == 2 * 9 * 3 * 16 * 32**2
    assert elements == 3 * 32**2 + 16 * 32**2 + 9 * 3 * 16
    assert exponentials > 16 * 32**2


def test_a_step_takes_three_passes_and_bf16_helps_dense_layers_alone() -> None:
    layers, exponentials = layers_of(S2MNet(), 64)
    found = {
        (section, precision): bound(
            Case(section=section, size=64, batch=1, precision=precision), layers, exponentials, RATES
        )
        for section in ("network", "train")
        for precision in ("float32", "bf16")
    }
    once, step, short = found["network", "float32"], found["train", "float32"], found["network", "bf16"]
    short_step = found["train", "bf16"]
    assert [kind.name for kind in once.kinds] == ["precise", "dense", "depthwise", "spectral", "exponentials"]
    kinds = zip(once.kinds, step.kinds, short.kinds, short_step.kinds, strict=True)
    for kind, of_step, of_bf16, of_bf16_step in kinds:
        times = 1 if kind.name == "exponentials" else 3
        assert of_step.seconds == pytest.approx(times * kind.seconds)
        assert of_bf16.bytes == pytest.approx(kind.bytes * (0.5 if kind.name in ("dense", "spectral") else 1))
        in_training = 1 if kind.name in ("depthwise", "exponentials") else 0.5
        assert of_bf16_step.bytes == pytest.approx(of_step.bytes * in_training)
    assert once.seconds == pytest.approx(sum(kind.seconds for kind in once.kinds))


def test_the_section_is_measured_and_shown() -> None:
    record = run_bench(Request(sizes=[64], only="bound", repeats=1))
    precisions = ("float32", "bf16") if multiplies_bf16("cpu") else ("float32",)
    assert [(one.case.section, one.case.precision) for one in record.bounds] == [
        (section, precision) for precision in precisions for section in ("network", "train")
    ]
    assert all(one.seconds > 0 for one in record.bounds)
    text = tables(record)
    assert "## Bounds" in text and "| depthwise |" in text
    assert all(f"training step, 64², batch 8, {precision}" in text for precision in precisions)
