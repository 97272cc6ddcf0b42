"""The largest operations of S2M-Net's inference and, on a GPU, of its training step, and what bounds each.

Every operation of PyTorch is timed separately while the network runs; on a GPU the clock waits for each to finish.
Convolutions are grouped by the side of their kernel, all other operations by name. An operation is bounded by its
multiply-adds at the rate of a matrix product or, if that takes longer, by its tensors, read and written once, at the
rate of a copy. Training on a CPU is left out: part of it is compiled or in C++, which is not used while operations are
timed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from s2mnet.device import Precision
from s2mnet_lab.bench.bound import TRAINED, measured_rates
from s2mnet_lab.bench.contestants import CONTESTANTS
from s2mnet_lab.bench.record import Case, Largest, Operation, Rates
from s2mnet_lab.bench.work import network_job, timed

REPEATS = 5
SHOWN = 3
_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.conv2d.default, _aten.convolution.default, _aten.convolution_backward.default)
_WHOLE = (_aten.matmul.default, _aten.linear.default)  # in inference mode; otherwise the counter sees their parts


def operations(size: int, device: str, precisions: Sequence[Precision]) -> list[Largest]:
    """The largest operations in each precision: inference of one image on a CPU; of eight, and a step, on a GPU."""
    results = []
    for precision in precisions:
        rates = measured_rates(precision, device)
        cases = [Case(section="network", size=size, batch=1, precision=precision)]
        if device != "cpu":
            cases = [Case(section=s, size=size, batch=TRAINED, precision=precision) for s in ("network", "train")]
        results += [Largest(case=case, rates=rates, operations=largest(case, device, rates)) for case in cases]
    return results


def largest(case: Case, device: str, rates: Rates) -> list[Operation]:
    """The three groups of operations that take the most time in one inference or training step."""
    ours = CONTESTANTS["s2mnet"]
    job = network_job(ours, case, ours.forms[0], device)
    job()
    watches = []
    for _ in range(REPEATS):
        with Watch(device, rates) as watch:
            job()
        watches.append(watch.operations)
    return summary(watches)


def summary(rounds: Iterable[Mapping[str, Operation]]) -> list[Operation]:
    """The largest operations of the fastest round, largest first, with their share of its time.

    Example:
        >>> one = {name: Operation(name=name, calls=1, seconds=s) for name, s in {"a": 1.0, "b": 3.0}.items()}
        >>> [(operation.name, operation.share) for operation in summary([one])]
        [('b', 0.75), ('a', 0.25)]
    """
    best = min(rounds, key=lambda groups: sum(operation.seconds for operation in groups.values()))
    total = sum(operation.seconds for operation in best.values())
    ordered = sorted(best.values(), key=lambda operation: -operation.seconds)[:SHOWN]
    return [operation.model_copy(update={"share": operation.seconds / total}) for operation in ordered]


class Watch(TorchDispatchMode):
    """Times every operation and adds up the costs in ``operations``, by group."""

    def __init__(self, device: str, rates: Rates) -> None:
        super().__init__()
        self.device, self.rates = device, rates
        self.operations: dict[str, Operation] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        results: list[Any] = []
        kwargs = kwargs or {}

        def job() -> None:
            results.append(function(*args, **kwargs))

        seconds = timed(job, self.device)
        result = results[0]
        if function.is_view:
            return result
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, Tensor)]
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        name, flops, grouped = _cost(function, args, kwargs, result)
        # Only dense products use the units that multiply bf16.
        dense = bool(tensors) and tensors[0].dtype == torch.bfloat16 and not grouped
        one = self.operations.setdefault(name, Operation(name=name))
        one.calls += 1
        one.seconds += seconds
        one.flops += flops
        one.bytes += size
        one.multiplying += flops / (self.rates.dense if dense else self.rates.vector)
        one.moving += size / self.rates.memory
        return result


def _cost(function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> tuple[str, int, bool]:
    """The group of an operation, its FLOPs, and whether it is a depthwise convolution."""
    name = str(function.overloadpacket).removeprefix("aten.")
    if function in _WHOLE:
        return name, 2 * result.numel() * args[0].shape[-1], False
    if function not in _CONVOLUTIONS:
        count = flop_registry.get(function.overloadpacket)
        return name, count(*args, **kwargs, out_val=result) if count else 0, False
    # torch's counter treats the weight gradient of a grouped convolution as that of a full one.
    backward = function is _aten.convolution_backward.default
    source, kernel = args[1:3] if backward else args[:2]
    output = args[0] if backward else result
    gradients = sum(args[10][:2]) if backward else 1
    grouped = kernel.shape[1] == 1 and source.shape[1] > 1
    what = f"{'depthwise ' if grouped else ''}convolution {'×'.join(map(str, kernel.shape[2:]))}"
    flops = gradients * 2 * output.numel() * kernel[0].numel()
    return f"{what}, gradients" if backward else what, flops, grouped
