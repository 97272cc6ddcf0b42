"""What multiplies at inference: PyTorch, or OpenVINO where it is installed. Each is called like the network itself."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor, nn

from s2mnet.errors import S2MNetError
from s2mnet.network import S2MNet
from s2mnet.network.fold import fold, streamline

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["32", "bf16"]
INSTALL = 'pip install "s2mnet[openvino]"'


class Choice(NamedTuple):
    """An engine, where it runs, and what to tell a user about it, if anything."""

    engine: Literal["torch", "openvino"]
    device: str
    notice: str | None = None


def choose(engine: EngineName = "auto", device: str = "auto") -> Choice:
    """The engine and the device that ``"auto"`` stands for: a GPU with PyTorch, else OpenVINO, else PyTorch.

    Raises:
        S2MNetError: an unknown engine; OpenVINO where it is not installed or for another device than the CPU.

    Example:
        >>> choose("torch", "cpu")
        Choice(engine='torch', device='cpu', notice=None)
    """
    if engine not in get_args(EngineName):
        raise S2MNetError("engine", repr(engine), ", ".join(get_args(EngineName)), "Choose one of these.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() and engine != "openvino" else "cpu"
    on_cpu = torch.device(device).type == "cpu"
    if engine == "torch" or (engine == "auto" and not on_cpu):
        return Choice("torch", device)
    if not on_cpu:
        raise S2MNetError("engine", f"openvino for {device}", "openvino on the CPU, or torch", "Choose either.")
    try:
        _openvino()
    except ImportError as error:
        if engine == "openvino":
            found = f"openvino, which cannot be imported ({error})"
            raise S2MNetError("engine", found, "an installed package", f"{INSTALL}, or choose torch.") from None
        return Choice("torch", device, f"PyTorch predicts; OpenVINO is about twice as fast on a CPU: {INSTALL}")
    return Choice("openvino", device)


def build(network: S2MNet, engine: Literal["torch", "openvino"], precision: Precision = "32") -> nn.Module:
    """A frozen copy of the network that computes the same, called the same way, with float32 inputs and outputs.

    Args:
        network: on the device where it shall run.
        precision: "32", equal to the network within rounding; "bf16", faster and a little different.

    Raises:
        S2MNetError: an unknown precision, or bf16 where the processor does not multiply it.
    """
    if precision not in get_args(Precision):
        raise S2MNetError("precision", repr(precision), ", ".join(get_args(Precision)), "Choose one of these.")
    device = next(network.parameters()).device
    if precision == "bf16" and not multiplies_bf16(device):
        found = f"bf16 on a {device.type} that does not multiply it"
        raise S2MNetError("precision", found, "32", "Leave it out.")
    return (OpenVINONetwork if engine == "openvino" else TorchNetwork)(network, precision)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether it does so natively: emulated it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported()


def _openvino() -> Any:
    """OpenVINO, imported without the package by which every import of it is reported to its makers over the network."""
    with contextlib.ExitStack() as stack:
        if "openvino_telemetry" not in sys.modules:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
            stack.callback(sys.modules.pop, "openvino_telemetry")
        import openvino
    return openvino


class TorchNetwork(nn.Module):
    """A copy of the network with fewer passes over memory, see :func:`s2mnet.network.fold.streamline`."""

    def __init__(self, network: S2MNet, precision: Precision = "32") -> None:
        super().__init__()
        self.network = streamline(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.short = precision == "bf16"

    def forward(self, x: Tensor, return_boundaries: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        with torch.autocast(x.device.type, torch.bfloat16) if self.short else contextlib.nullcontext():
            logits, maps = self.network(x, return_boundaries=True)
        return (logits.float(), [m.float() for m in maps]) if return_boundaries else logits.float()


class OpenVINONetwork(nn.Module):
    """The network as graphs that OpenVINO compiled for the CPU, one for each size of input, when it first comes.

    A batch goes through one image at a time: larger ones are no faster on a CPU, and would take a graph, with memory of
    its own, for each number of images. ``torch.get_num_threads`` threads work, as set when the size first comes.

    The graph is made by OpenVINO's reader of traced networks: ``openvino.convert_model`` takes three times as long.
    """

    def __init__(self, network: S2MNet, precision: Precision = "32") -> None:
        super().__init__()
        self.network = fold(network)
        self.precision = {"32": "f32", "bf16": "bf16"}[precision]
        self._compiled: dict[tuple[int, ...], Any] = {}

    def forward(self, x: Tensor, return_boundaries: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        shape = tuple(x.shape[1:])
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(x[:1])
        graph = self._compiled[shape]
        results = [graph(image[None].contiguous().numpy()).to_tuple() for image in x]
        logits, *maps = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*results, strict=True))
        return (logits, maps) if return_boundaries else logits

    @torch.no_grad()
    def _compile(self, image: Tensor) -> Any:
        openvino = _openvino()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of checks of the size, which are constant in a graph for one size
            traced = torch.jit.trace(_Flat(self.network), image.contiguous(), check_trace=False)
        reader = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=image)  # the reader does not keep it alive
        model = reader.convert(reader.load(decoder))
        model.reshape(list(image.shape))
        settings = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        return openvino.Core().compile_model(model, "CPU", settings)


class _Flat(nn.Module):
    """Logits and boundary maps as one flat tuple, which is what a graph can give."""

    def __init__(self, network: S2MNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        logits, maps = self.network(x, return_boundaries=True)
        return logits, *maps
