"""The spectral branch of SPEC 1.1 in training on a CPU: one call of C++ forward, one backward (spectral_training.cpp).

In PyTorch it is sixty operations on small tensors, and four products of a shape that its library multiplies at a third
of the processor's rate. PyTorch's own compiler, which is given a few Python lines elsewhere (fused.py), is given the
C++ as it stands: three to six times as fast. Where it can't be compiled, the branch is computed as it is written.
"""

from __future__ import annotations

import ctypes
import functools
import warnings
from collections.abc import Callable
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from s2mnet.network.fused import compiles

WORTHWHILE = 10_000  # elements of the maps; compiling takes a few seconds, once

Plain = Callable[[Tensor, Tensor], Tensor]


def trains_in_cpp(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`filtered_in_cpp` can stand for the branch now: with complex filters of float32, outside export."""
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and weight.dtype == torch.float32
        and weight.dim() == 4
        and x.numel() >= WORTHWHILE
        and _library() is not None
    )


def filtered_in_cpp(x: Tensor, weight: Tensor, tables: tuple[Tensor, Tensor], terms: Tensor, plain: Plain) -> Tensor:
    """The branch's result, (B, C, H, W), channels last.

    Args:
        x: (B, C, H, W), of float32 or of bf16, which the result then is as well; in between all is float32.
        weight: the half-plane of the filters, (C, K, K//2+1, 2).
        tables: of the transform along height and width, (2(m+1), H) and (2(m+1), W), float32.
        terms: by what a stored value is multiplied where it is folded onto the frequencies (±u, v): (2, m+1, m+1).
        plain: the branch as a function of x and weight, in PyTorch, for second derivatives.
    """
    return _InCpp.apply(x, weight, tables, terms, plain)[0]


class _InCpp(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, tables: tuple[Tensor, Tensor], terms: Tensor, plain: Plain
    ) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        maps = x.permute(0, 2, 3, 1).contiguous()
        side = terms.shape[-1]
        coefficients = weight.new_empty(len(x), 2, side, 2, side, maps.shape[-1])
        filters = weight.new_empty(2, side, side, 2, maps.shape[-1])
        result = torch.empty_like(maps)
        _call("forward", maps, weight, tables, terms, maps, weight.contiguous(), coefficients, filters, result)
        return result.permute(0, 3, 1, 2), coefficients, filters

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, *ctx.rest = inputs
        ctx.save_for_backward(x, weight, *output[1:])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, coefficients, filters = ctx.saved_tensors
        tables, terms, plain = ctx.rest
        if torch.is_grad_enabled():  # a second derivative is wanted
            wanted = [t for t, needed in zip((x, weight), ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(plain(x, weight), wanted, gradient, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None, None
        maps = gradient.permute(0, 2, 3, 1).contiguous()
        g_maps, g_weight = torch.empty_like(maps), torch.zeros_like(weight, memory_format=torch.contiguous_format)
        _call("backward", maps, weight, tables, terms, maps, coefficients, filters, g_maps, g_weight)
        return g_maps.permute(0, 3, 1, 2), g_weight, None, None, None


def _call(name: str, maps: Tensor, weight: Tensor, tables: tuple[Tensor, Tensor], terms: Tensor, *rest: Tensor) -> None:
    """Of C++; every tensor is contiguous."""
    stored, m = weight.shape[1], terms.shape[-1] - 1
    brief = maps.dtype == torch.bfloat16
    sizes = (ctypes.c_int64 * 8)(*maps.shape, m, stored, brief, torch.get_num_threads())
    tensors = (*tables, _rows(stored, m), terms, *rest)
    getattr(_library(), name)(sizes, *(ctypes.c_void_p(t.data_ptr()) for t in tensors))


@functools.lru_cache(maxsize=64)
def _rows(stored: int, m: int) -> Tensor:
    """Where the frequencies u = 0 … m and −u are stored among the K rows of a filter, K/2 with −K/2: (2, m+1)."""
    u = torch.arange(m + 1)
    return (stored // 2 + torch.stack([u, -u])) % stored


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The C++, compiled for this processor at the first call and kept on disk by PyTorch for the next process."""
    if not compiles():
        return None
    try:
        from torch._inductor.codecache import CppCodeCache

        source = resources.files(__package__).joinpath("spectral_training.cpp").read_text(encoding="utf-8")
        # vector instructions of our loops, and products and sums in one instruction, rounded once
        return CppCodeCache.load(source, extra_flags=("-ftree-loop-vectorize", "-ffp-contract=fast"))
    except Exception as error:  # of whatever kind: training goes on without it
        reason = str(error).strip().partition("\n")[0]
        warnings.warn(f"training goes on without a compiled spectral branch, slightly slower: {reason}", stacklevel=2)
        return None
