"""Elementwise steps of training on a CPU, each in one pass over memory where the machine has a C++ compiler.

PyTorch takes a pass for each operation: an ELU behind a batch norm reads and writes its map five times, and together
they are a seventh of a training step of S2M-Net. torch.compile makes one pass of each function here. It compiles these
few lines and a sum in depthwise.py, not the network: the rest is matrix products and convolutions, which it does not
make faster. For the products of the spectral branch its compiler builds C++ (spectral_training.py).
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from s2mnet.network.fast.owned import use_own_folder

WORTHWHILE = 500_000  # elements of the first argument; compiling takes a few seconds for each function, once


def in_one_pass(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function, compiled where that pays: for a large first argument, on Linux with a C++ compiler.

    Elsewhere, and where compiling fails, it runs as written. PyTorch keeps compiled code on disk for the next process.

    Example:
        >>> @in_one_pass
        ... def twice(x):
        ...     return x + x
        >>> twice(torch.ones(2))
        tensor([2., 2.])
    """

    @functools.wraps(function)
    def either(x: Tensor, *rest: Any) -> Tensor:
        return compiled(function)(x, *rest) if worthwhile(x) else function(x, *rest)

    return either


def worthwhile(x: Tensor) -> bool:
    """Whether to compile a function of x: the map is large, and the compiler works."""
    return x.numel() >= WORTHWHILE and compiles()


def compiler_found() -> bool:
    """Whether there is a C++ compiler to use: on Linux only, where it has been tested.

    ``TORCH_COMPILE_DISABLE=1``, PyTorch's own switch, turns it off.
    """
    off = os.environ.get("TORCH_COMPILE_DISABLE") == "1"
    return not off and sys.platform.startswith("linux") and shutil.which(os.environ.get("CXX", "g++")) is not None


@functools.cache
def compiles() -> bool:
    """Whether functions can be compiled: there is a compiler, and it works. It is tried at the first call.

    Nor is anything compiled where other users could change the code (`owned.py`).
    """
    if not compiler_found():
        return False
    try:
        use_own_folder()
        compiled(_tried)(torch.ones(2))
    except Exception as error:  # of any kind: a compiler can fail in many ways, and training goes on without it
        warn_without("compiled steps, up to a third slower", error)
        return False
    return True


def warn_without(what: str, error: Exception) -> None:
    """Warn that training continues without something, with the first line of the reason."""
    reason = str(error).strip().partition("\n")[0]
    warnings.warn(f"training goes on without {what}: {reason}", stacklevel=3)


def _tried(x: Tensor) -> Tensor:
    return x + 1


@functools.cache
def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function in machine code for tensors of any size, compiled at its first call."""
    options: dict[str, Any] = {
        "compile_threads": 1,  # the processes that PyTorch starts to compile in parallel would stay until the end
        "cpp.min_chunk_size": 1,  # use all threads whatever size comes first, since the code is kept on disk
        "cpp.enable_floating_point_contract_flag": "fast",  # products and sums in one instruction, rounded once
    }
    code = torch.compile(function, dynamic=True, options=options)
    # Detached, a slice forgets its base: PyTorch would compile once more for each kind of base.
    return lambda *args: code(*(arg.detach() if isinstance(arg, Tensor) else arg for arg in args))


@in_one_pass
def elu(y: Tensor) -> Tensor:
    """ELU(y), computed in float32 at least; y is overwritten if it is of such a type."""
    return _elu_(y.to(torch.promote_types(y.dtype, torch.float32))).to(y.dtype)


@in_one_pass
def norm_elu(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """ELU(x·scale + shift), computed in the type of scale, given in that of x."""
    return _elu_(torch.addcmul(shift, x.to(scale.dtype), scale)).to(x.dtype)


@in_one_pass
def elu_gradient(gradient: Tensor, result: Tensor) -> Tensor:
    """Gradient before an ELU, from its result, which is of the same type; ``gradient`` is overwritten."""
    return torch.ops.aten.elu_backward.grad_input(gradient, 1.0, 1.0, 1.0, True, result, grad_input=gradient)


@in_one_pass
def norm_gradient(gradient: Tensor, x: Tensor, scale: Tensor, slope: Tensor, offset: Tensor) -> Tensor:
    """Back through a batch norm: gradient·scale + x·slope + offset, computed and given as by :func:`norm_elu`.

    ``gradient`` is overwritten.
    """
    return gradient.copy_(torch.addcmul(offset, x.to(scale.dtype), slope).addcmul_(gradient, scale))


def _elu_(y: Tensor) -> Tensor:
    """In place, as max(y, min(eʸ, 1) − 1): half the time of PyTorch's, which is a little more exact near zero."""
    return torch.maximum(y, y.exp().clamp_max_(1).sub_(1), out=y)
