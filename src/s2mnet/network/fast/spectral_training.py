"""The spectral branch of SPEC 1.1 in training on a CPU: one call of C++ forward, one backward (spectral_training.cpp).

In PyTorch it is sixty operations on small tensors, and four products of a shape that its library multiplies at a third
of the processor's rate. PyTorch's own compiler builds the C++, which is three to six times as fast. Where that fails,
PyTorch computes the branch.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from importlib import resources
from typing import Any

import torch
from torch import Tensor, nn

from s2mnet.network.fast.fused import compiles, warn_without
from s2mnet.network.fast.operations import trains_eagerly

WORTHWHILE = 10_000  # elements of the maps; compiling takes a few seconds, once

Tables = tuple[Tensor, Tensor, Tensor]
Plain = Callable[[Tensor, Tensor], Tensor]


def trains_in_cpp(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`filtered_in_cpp` can compute the branch now: with complex filters of float32.

    Not where PyTorch's operations must be seen (export, torch.func, a counter of FLOPs), nor for other kinds of
    tensors, whose data may not be where they say.
    """
    return (
        trains_eagerly(x)
        and (observed := observation()) is not None
        and not observed()
        and type(x) is Tensor
        and type(weight) in (Tensor, nn.Parameter)
        and x.dtype in (torch.float32, torch.bfloat16)
        and weight.dtype == torch.float32
        and weight.dim() == 4
        and x.numel() >= WORTHWHILE
        and _library() is not None
    )


@functools.cache
def observation() -> Callable[[], bool] | None:
    """A check whether torch.func or a dispatch mode observes each operation; None where this torch offers none.

    The two functions are private, so they are looked up once, and without them nothing runs in C++.
    """
    transforms = getattr(torch._C, "_are_functorch_transforms_active", None)
    modes = getattr(torch._C, "_len_torch_dispatch_stack", None)
    return (lambda: bool(transforms() or modes())) if transforms and modes else None


def filtered_in_cpp(x: Tensor, weight: Tensor, tables: Tables, plain: Plain) -> Tensor:
    """The branch's result, (B, C, H, W), channels last.

    Args:
        x: (B, C, H, W), of float32 or of bf16, which the result then is as well; in between all is float32.
        weight: the half-plane of the filters, (C, K, K//2+1, 2).
        tables: see :func:`s2mnet.network.spectral.tables`; float32.
        plain: the branch as a function of x and weight, in PyTorch, for second derivatives.
    """
    return _InCpp.apply(x, weight, tables, plain)


class _InCpp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, tables: Tables, plain: Plain) -> Tensor:  # type: ignore[override]
        maps = x.permute(0, 2, 3, 1).contiguous()
        side = tables[2].shape[-1]
        coefficients = weight.new_empty(len(x), 2, side, 2, side, maps.shape[-1])
        filters = weight.new_empty(2, side, side, 2, maps.shape[-1])
        result = torch.empty_like(maps)
        _call("forward", weight.shape[1], tables, maps, weight.contiguous(), coefficients, filters, result)
        ctx.save_for_backward(x, weight, coefficients, filters)
        ctx.rest = tables, plain
        return result.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, coefficients, filters = ctx.saved_tensors
        tables, plain = ctx.rest
        if torch.is_grad_enabled():  # a second derivative is wanted
            wanted = [t for t, needed in zip((x, weight), ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(plain(x, weight), wanted, gradient, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None
        maps = gradient.permute(0, 2, 3, 1).contiguous()
        g_maps, g_weight = torch.empty_like(maps), torch.zeros_like(weight, memory_format=torch.contiguous_format)
        _call("backward", weight.shape[1], tables, maps, coefficients, filters, g_maps, g_weight)
        return g_maps.permute(0, 3, 1, 2), g_weight, None, None


def _call(name: str, stored: int, tables: Tables, maps: Tensor, *rest: Tensor) -> None:
    """Call the C++ function, with filters of K = stored; every tensor is contiguous."""
    table_h, table_w, terms = tables
    m = terms.shape[-1] - 1
    sizes = (ctypes.c_int64 * 8)(*maps.shape, m, stored, maps.dtype == torch.bfloat16, torch.get_num_threads())
    tensors = (table_h, table_w, _rows(stored, m), terms, maps, *rest)
    getattr(_library(), name)(sizes, *[t.data_ptr() for t in tensors])


@functools.lru_cache(maxsize=64)
def _rows(stored: int, m: int) -> Tensor:
    """Where the frequencies u = 0 … m and −u are stored among the K rows of a filter, K/2 with −K/2: (2, m+1)."""
    u = torch.arange(m + 1)
    return (stored // 2 + torch.stack([u, -u])) % stored


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The C++, compiled for this processor at the first call; PyTorch keeps it on disk for the next process."""
    if not compiles():
        return None
    try:
        from torch._inductor.codecache import CppCodeCache

        source = resources.files(__package__).joinpath("spectral_training.cpp").read_text(encoding="utf-8")
        # vector instructions of our loops, and products and sums in one instruction, rounded once
        library = CppCodeCache.load(source, extra_flags=("-ftree-loop-vectorize", "-ffp-contract=fast"))
    except Exception as error:  # of any kind: training goes on without it
        warn_without("a compiled spectral branch, slightly slower", error)
        return None
    for function in (library.forward, library.backward):
        function.argtypes, function.restype = 10 * [ctypes.c_void_p], None
    return library
