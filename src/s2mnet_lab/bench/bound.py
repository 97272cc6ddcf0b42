"""The least time of S2M-Net on a machine: operations and bytes of every layer, divided by the machine's rates.

Each layer has a roofline: its multiply-adds at the rate of a matrix product, or its maps, read and written once, at the
rate of a copy, whichever takes longer. Exponentials of activations count as the multiply-adds of a polynomial. Batch
norms, sums and all other elementwise operations are free, as if fused into the layers before them. A layer whose maps
stay in a cache can beat its bytes, so small inputs that fit into the caches are not bounded by this. "Precise" are the
dense layers that bf16 inference keeps in float32, see :mod:`s2mnet.engines`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from s2mnet.device import Precision
from s2mnet.engines import Part, parts_of, run_parts
from s2mnet.network import S2MNet, TruncatedSpectralFilter
from s2mnet_lab.bench.flops import STEP
from s2mnet_lab.bench.record import Bound, Case, Kind, Rates
from s2mnet_lab.bench.work import matrix_product, timed

COPIED = 64 * 2**20  # elements, far beyond any cache
# FLOPs of an exponential: two multiply-adds bring its argument near 0, five are the polynomial that float32 needs, one
# scales. torch.exp takes nine times as long as these at the full rate, OpenVINO's exponential three times.
EXPONENTIAL = 16
REPEATS = 15
TRAINED = 8  # images of a training step
BYTES = {"float32": 4, "bf16": 2}

Layer = tuple[str, float, float]  # kind, FLOPs, elements of its maps and weights


def bounds(size: int, device: str, precisions: Sequence[Precision]) -> list[Bound]:
    """The least times of the inference of one image and of a training step of eight, in each precision."""
    layers, exponentials = layers_of(S2MNet(), size)
    results = []
    for precision in precisions:
        rates = measured_rates(precision, device)
        for case in (
            Case(section="network", size=size, batch=1, precision=precision),
            Case(section="train", size=size, batch=TRAINED, precision=precision),
        ):
            results.append(bound(case, layers, exponentials, rates))
    return results


def layers_of(network: S2MNet, size: int) -> tuple[list[Layer], int]:
    """Every layer that multiplies, for one image (3, size, size), and the number of exponentials in all activations.

    Example:
        >>> layers, exponentials = layers_of(S2MNet(), 64)
        >>> sorted({kind for kind, _, _ in layers}), exponentials > 1e6
        (['dense', 'depthwise', 'precise', 'spectral'], True)
    """
    layers: list[Layer] = []
    exponentials = 0
    precise = False

    def run(part: Part, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        nonlocal precise
        precise = part.precision == "float32"
        return part.module(*inputs)

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal exponentials
        elements = inputs[0].numel() + output.numel() + sum(weight.numel() for weight in module.parameters())
        if isinstance(module, nn.Conv2d):
            flops = 2 * output.numel() * module.weight[0].numel()
            kind = "precise" if precise else "dense"
            layers.append(("depthwise" if module.groups > 1 else kind, flops, elements))
        elif isinstance(module, nn.Linear):
            layers.append(("dense", 2 * output.numel() * module.in_features, elements))
        elif isinstance(module, TruncatedSpectralFilter):
            with FlopCounterMode(display=False) as counter:
                module.forward(inputs[0])
            layers.append(("spectral", counter.get_total_flops(), elements))
        elif isinstance(module, nn.ELU | nn.Sigmoid):
            exponentials += output.numel()

    network = network.eval().to("meta")
    kinds = (nn.Conv2d, nn.Linear, TruncatedSpectralFilter, nn.ELU, nn.Sigmoid)
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(record)
    with torch.no_grad():
        run_parts(parts_of(network, "bf16"), run, torch.empty(1, 3, size, size, device="meta"))
    return layers, exponentials


def bound(case: Case, layers: list[Layer], exponentials: int, rates: Rates) -> Bound:
    """The least time of a case. A training step multiplies three times: forward, and once for each gradient.

    Example:
        >>> rates = Rates(dense=2e9, vector=1e9, memory=8e9)
        >>> case = Case(section="network", size=32, batch=1)
        >>> least = bound(case, [("dense", 4e9, 1e6), ("depthwise", 1e6, 1e9)], 10**9 // 16, rates)
        >>> [(kind.name, kind.seconds) for kind in least.kinds], least.seconds
        ([('dense', 2.0), ('depthwise', 0.5), ('exponentials', 1.0)], 3.5)
    """
    times = case.batch * (STEP if case.section == "train" else 1)
    kinds: dict[str, Kind] = {}
    for name, flops, elements in layers:
        # Only dense products use the units that multiply bf16.
        wide = name == "depthwise" or (name == "precise" and (case.section, case.precision) == ("network", "bf16"))
        size = elements * BYTES["float32" if wide else case.precision]
        seconds = max(flops / (rates.vector if wide else rates.dense), size / rates.memory)
        kind = kinds.setdefault(name, Kind(name=name))
        kind.flops += times * flops
        kind.bytes += times * size
        kind.seconds += times * seconds
    flops = EXPONENTIAL * case.batch * exponentials
    kinds["exponentials"] = Kind(name="exponentials", flops=flops, seconds=flops / rates.vector)
    return Bound(case=case, rates=rates, kinds=list(kinds.values()))


def measured_rates(precision: Precision, device: str) -> Rates:
    """The rates that the machine reaches with all threads: the best of a few repeats."""
    source = torch.rand(COPIED, device=device)
    target = torch.empty_like(source)

    def rate(job: Callable[[], Any], work: float) -> float:
        job()
        return work / min(timed(job, device) for _ in range(REPEATS))

    dense = rate(*matrix_product(precision, device))
    return Rates(
        dense=dense,
        vector=dense if precision == "float32" else rate(*matrix_product("float32", device)),
        memory=rate(lambda: target.copy_(source), 2 * 4 * COPIED),
    )
