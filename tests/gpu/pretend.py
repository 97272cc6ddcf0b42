"""A GPU to test on where there is none: tensors that say they are on it, computed on the CPU.

Operations check, as those of a GPU do, that their tensors are on one device, so that a tensor made without a device is
an error here too. Values are real: results can be compared with those on the CPU, and what is read back is counted.
Only works in a process with ``pretend.cpp`` preloaded; see ``test_gpu.py``.
"""

from __future__ import annotations

import contextlib
import copy
import os
import platform
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

aten = torch.ops.aten
BETWEEN_DEVICES = {aten.copy_.default, aten._to_copy.default}
# These take indices from the CPU for a tensor on a GPU.
BY_INDEX = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}

read_back: list[str] = []  # what made the CPU wait for the device, in order


class OnDevice(Tensor):
    """A tensor that says it is on ``device``; its values are ``inner``, on the CPU."""

    @staticmethod
    def __new__(cls, inner: Tensor, device: torch.device) -> OnDevice:
        return Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=device,
        )  # fmt: skip

    def __init__(self, inner: Tensor, device: torch.device) -> None:
        self.inner = inner

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnDevice({self.inner}, {self.device})"

    def tolist(self) -> Any:
        read_back.append("tolist")
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    placed = {t.device.type for t in tensors if t.dim() or isinstance(t, OnDevice)}
    if len(placed) > 1 and func not in BETWEEN_DEVICES | BY_INDEX:
        raise RuntimeError(f"Expected all tensors to be on the same device, found {sorted(placed)} in {func}")
    asked = kwargs.get("device")
    if asked is not None:
        device = torch.device(asked)
    elif func is aten.copy_.default:
        device = args[0].device
    else:
        device = next((t.device for t in tensors if isinstance(t, OnDevice)), torch.device("cpu"))
    if func is aten._local_scalar_dense.default and placed:
        read_back.append("item")
    if func in BETWEEN_DEVICES and device.type == "cpu" and placed - {"cpu"}:
        read_back.append("copy")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    kwargs.pop("pin_memory", None)
    results = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
    if device.type == "cpu":
        return results
    device = torch.device(device.type, 0)
    wrapped = {id(t.inner): t for t in tensors if isinstance(t, OnDevice)}  # of operations in place

    def wrap(result: Any) -> Any:
        if type(result) is not Tensor:
            return result
        return wrapped[id(result)] if id(result) in wrapped else OnDevice(result, device)

    return tree_map(wrap, results)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, OnDevice) else value


def _apply(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """``nn.Module._apply`` with new parameters: the data of a plain tensor cannot become that of another class."""
    for child in module.children():
        child._apply(function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                moved = function(parameter)
            if moved is not parameter:
                module._parameters[name] = nn.Parameter(moved, parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = function(buffer)
    return module


_save_model = safetensors.torch.save_model


def _save(module: nn.Module, file: str) -> None:
    """What writes weights reads the memory of a GPU by its address; there is none here."""
    _save_model(copy.deepcopy(module).to("cpu"), file)


@contextlib.contextmanager
def pretend_gpu(bf16: bool = True, kind: str = "cuda") -> Iterator[None]:
    """PyTorch as it is on a machine with one GPU with 16 GB, 12 of them free; ``kind``: "cuda" or "mps"."""
    cuda: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: kind == "cuda",
        "is_bf16_supported": lambda including_emulation=True: bf16,
        "device_count": lambda: int(kind == "cuda"),
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "get_device_name": lambda device=None: "a GPU that is not there",
        "get_device_capability": lambda device=None: (9, 0),
        "mem_get_info": lambda device=None: (12 * 2**30, 16 * 2**30),
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
        "manual_seed": lambda seed: None,
        "manual_seed_all": lambda seed: None,
        "get_rng_state": lambda device=0: torch.zeros(1, dtype=torch.uint8),
        "get_rng_state_all": lambda: [],
        "set_rng_state": lambda state, device=0: None,
        "set_rng_state_all": lambda states: None,
    }
    read_back.clear()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, PRETENDED_GPU=kind))  # for pretend.cpp
        for name, value in cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch.backends.mps, "is_available", lambda: kind == "mps"))
        if kind == "mps":
            stack.enter_context(mock.patch.object(platform, "processor", lambda: "arm"))  # Lightning asks
        stack.enter_context(mock.patch.object(Tensor, "pin_memory", lambda tensor, device=None: tensor))
        stack.enter_context(mock.patch.object(nn.Module, "_apply", _apply))
        stack.enter_context(mock.patch.object(safetensors.torch, "save_model", _save))
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device="cuda") is made on the CPU, then moved
        stack.callback(torch._C._set_only_lift_cpu_tensors, before)
        stack.enter_context(_Factories())
        yield
