"""What multiplies at inference: PyTorch, or OpenVINO if asked for. Each is called like the network itself."""

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
from s2mnet.plan.machine import multiplies_bf16

EngineName = Literal["auto", "torch", "openvino"]
Precision = Literal["32", "bf16"]
INSTALL = 'pip install "s2mnet[openvino]"'


class Choice(NamedTuple):
    """An engine, and where it runs."""

    engine: Literal["torch", "openvino"]
    device: str


def choose(engine: EngineName = "auto", device: str = "auto") -> Choice:
    """The engine and the device that ``"auto"`` stands for: PyTorch, on a GPU where there is one.

    OpenVINO, about twice as fast on a CPU, is taken only where it is asked for: three runs of our whole test suite in
    one process with it crashed later, outside of it, while waiting for another process; without it and the benchmark
    none did. The cause is not known yet.

    Raises:
        S2MNetError: an unknown engine; OpenVINO where it is not installed or for another device than the CPU.

    Example:
        >>> choose("torch", "cpu")
        Choice(engine='torch', device='cpu')
    """
    if engine not in get_args(EngineName):
        raise S2MNetError("engine", repr(engine), ", ".join(get_args(EngineName)), "Choose one of these.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() and engine != "openvino" else "cpu"
    if engine != "openvino":
        return Choice("torch", device)
    if torch.device(device).type != "cpu":
        raise S2MNetError("engine", f"openvino for {device}", "openvino on the CPU, or torch", "Choose either.")
    try:
        _openvino()
    except ImportError as error:
        found = f"openvino, which cannot be imported ({error})"
        raise S2MNetError("engine", found, "an installed package", f"{INSTALL}, or choose torch.") from None
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
    if precision == "bf16" and not multiplies_bf16(device.type):
        found = f"bf16 on a {device.type} that does not multiply it"
        raise S2MNetError("precision", found, "32", "Leave it out.")
    return (OpenVINONetwork if engine == "openvino" else TorchNetwork)(network, precision)


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
        # Weights are copied: shared, the graph would read them where the traced network lay, which nobody keeps alive.
        decoder = TorchScriptPythonDecoder(traced, example_input=image, shared_memory=False)
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
