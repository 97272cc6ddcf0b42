"""Parameters and floating-point operations of a network, counted without computing."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from s2mnet_lab.bench.contestants import Contestant
from s2mnet_lab.bench.record import Section

# The backward pass multiplies the gradient of each layer once by its weights and once by its input: a step is three
# forward passes. torch's counter treats the weight gradient of a grouped convolution as that of a full one and would
# count 18 forward passes for a step of S2M-Net.
STEP = 3


def parameters_and_flops(contestant: Contestant, size: int) -> tuple[int, int]:
    """Trainable parameters, and FLOPs of one forward pass of one image (3, size, size).

    Two FLOPs for each multiply-add of convolutions and matrix products, as `torch.utils.flop_counter` counts them.
    Elementwise operations and FFTs are not counted.
    """
    network = contestant.build(size).eval().to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, size, size, device="meta"))
    return sum(p.numel() for p in network.parameters() if p.requires_grad), counter.get_total_flops()


def flops_of(section: Section, forward: int, batch: int) -> int:
    """FLOPs of one call: an inference, or a training step."""
    return forward * batch * (1 if section == "network" else STEP)
