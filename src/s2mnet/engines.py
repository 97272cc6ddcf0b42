"""The engines that run a network for prediction: PyTorch, or OpenVINO where it is installed."""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn

from s2mnet.device import Precision, choose_device, multiplies_bf16
from s2mnet.errors import S2MNetError
from s2mnet.network import S2MNet
from s2mnet.network.fast import accelerate
from s2mnet.network.s2mnet import decode

EngineName = Literal["auto", "torch", "openvino"]
INSTALL = 'pip install "s2mnet[openvino]"'
# Layers of the first stage that stay in float32: the convolution; 2 would include the block, see `parts_of`.
PRECISE_LAYERS = 1


class Choice(NamedTuple):
    """An engine, the device it runs on, and a notice for the user, if any."""

    engine: Literal["torch", "openvino"]
    device: str
    notice: str | None = None


def choose(engine: EngineName = "auto", device: str = "auto") -> Choice:
    """Resolve ``"auto"``: PyTorch on a GPU if there is one, else OpenVINO, else PyTorch on the CPU.

    Raises:
        S2MNetError: the engine is unknown, or OpenVINO is not installed or not on the CPU.

    Example:
        >>> choose("torch", "cpu")
        Choice(engine='torch', device='cpu', notice=None)
    """
    if engine not in get_args(EngineName):
        raise S2MNetError(f"engine {engine!r}", "is unknown", f"Choose one of {', '.join(get_args(EngineName))}.")
    device = str(choose_device("cpu" if engine == "openvino" and device == "auto" else device))
    on_cpu = device == "cpu"
    if engine == "torch" or (engine == "auto" and not on_cpu):
        return Choice("torch", device)
    if not on_cpu:
        raise S2MNetError("openvino", f"does not run on {device}", "Choose the CPU for it, or --engine torch.")
    try:
        _openvino()
    except ImportError as error:
        if engine == "auto":
            return Choice("torch", device, f"OpenVINO predicts 1.3 to 1.8 times as fast on a CPU: {INSTALL}")
        raise S2MNetError(
            "openvino", f"cannot be imported ({error})", f"Install it with {INSTALL}, or choose --engine torch."
        ) from None
    return Choice("openvino", device)


def build(network: nn.Module, engine: Literal["torch", "openvino"], precision: Precision = "float32") -> nn.Module:
    """A frozen copy of the network that is called the same way, with float32 inputs and outputs.

    Args:
        network: an S2MNet or a network called like one, on the device where it is to run.
        precision: "float32", equal to the network within rounding; or "bf16", faster and slightly different: the layers
            that place boundaries (stem, first convolution, the end of the last decoder stage, head) stay in float32.

    Raises:
        S2MNetError: the precision is unknown, or bf16 on a processor without bf16 arithmetic.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise S2MNetError(f"precision {precision!r}", "is unknown", f"Choose one of {known}.")
    device = next(network.parameters()).device
    if precision == "bf16" and not multiplies_bf16(device.type):
        raise S2MNetError("precision bf16", f"needs a {device.type} with bf16 arithmetic", "Leave it out for float32.")
    return (OpenVINONetwork if engine == "openvino" else TorchNetwork)(network, precision)


def _openvino() -> Any:
    """OpenVINO, imported without the package that reports every import to its makers over the network."""
    with contextlib.ExitStack() as stack:
        if "openvino_telemetry" not in sys.modules:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
            stack.callback(sys.modules.pop, "openvino_telemetry")
        import openvino
    return openvino


@functools.cache
def _core() -> Any:
    """OpenVINO's one runtime of this process, kept until it ends.

    On Linux each runtime installs a stack for signal handlers and restores the previous one when it is destroyed. Two
    that are not destroyed in reverse order leave an unmapped stack: the next signal that Python handles, such as Ctrl-C
    or the end of a child process, then kills the process.
    """
    return _openvino().Core()


class _Engine(nn.Module):
    """The network in its fast forms for prediction, see :func:`s2mnet.network.fast.accelerate`, in parts.

    Attributes:
        installed: names of the fast forms.
    """

    def __init__(self, network: nn.Module, precision: Precision = "float32") -> None:
        super().__init__()
        accelerated = accelerate(network, "predict")
        self.network, self.installed = accelerated.network, accelerated.installed
        self.parts = parts_of(self.network, precision)


class TorchNetwork(_Engine):
    """The network as PyTorch runs it.

    All that it knows of the network is in its state dict, so it can be copied, pickled, moved and given new weights,
    those of another engine.
    """

    def __init__(self, network: nn.Module, precision: Precision = "float32") -> None:
        super().__init__(network, precision)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, return_boundaries: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        def run(part: Part, inputs: Sequence[Tensor]) -> list[Tensor]:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=part.precision == "bf16"):
                return [output.float() for output in part.module(*inputs)]

        logits, *maps = run_parts(self.parts, run, x)
        return (logits, maps) if return_boundaries else logits


class OpenVINONetwork(_Engine):
    """The network as OpenVINO graphs for the CPU, compiled for each input size at its first use.

    A batch runs one image at a time: larger ones are no faster on a CPU, and would need a graph, with memory of its
    own, for each number of images. It uses ``torch.get_num_threads`` threads, as set when a size is first used.

    bf16 needs three graphs, since a graph of OpenVINO has one precision; the marks for single layers differ between its
    versions.

    OpenVINO's reader of traced networks builds the graphs: ``openvino.convert_model`` takes three times as long.
    """

    def __init__(self, network: nn.Module, precision: Precision = "float32") -> None:
        super().__init__(network, precision)
        self._graphs: dict[tuple[int, ...], dict[Part, Any]] = {}

    def forward(self, x: Tensor, return_boundaries: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        shape = tuple(x.shape[1:])
        if shape not in self._graphs:
            self._graphs[shape] = self._compile(x[:1])
        graphs = self._graphs[shape]

        def run(part: Part, inputs: Sequence[Tensor]) -> list[Tensor]:
            arrays = [value.contiguous().numpy() for value in inputs]
            outputs = graphs[part](arrays, share_inputs=True, share_outputs=True)
            return [torch.from_numpy(output) for output in outputs.to_tuple()]

        # A graph's output lies in its own memory, which its next call overwrites.
        results = [[output.clone() for output in run_parts(self.parts, run, image[None])] for image in x]
        logits, *maps = (torch.cat(outputs) for outputs in zip(*results, strict=True))
        return (logits, maps) if return_boundaries else logits

    @torch.no_grad()
    def _compile(self, image: Tensor) -> dict[Part, Any]:
        graphs: dict[Part, Any] = {}

        def run(part: Part, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
            inputs = [value.contiguous() for value in inputs]
            graphs[part] = _graph(part, inputs)
            return part.module(*inputs)

        run_parts(self.parts, run, image)
        return graphs


def _graph(part: Part, inputs: Sequence[Tensor]) -> Any:
    """A part compiled by OpenVINO for inputs of these shapes."""
    core = _core()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about checks of the size, which are constant in a graph for one size
        traced = torch.jit.trace(part.module, tuple(inputs), check_trace=False)
    reader = FrontEndManager().load_by_framework("pytorch")
    # Weights are copied: a graph that shared them would read the memory of the traced network, which is freed.
    decoder = TorchScriptPythonDecoder(traced, example_input=tuple(inputs), shared_memory=False)
    model = reader.convert(reader.load(decoder))
    model.reshape({index: list(value.shape) for index, value in enumerate(inputs)})
    settings = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bf16": "bf16"}[part.precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    return core.compile_model(model, "CPU", settings)


class Part(NamedTuple):
    """A part of the network that runs in one precision."""

    module: nn.Module
    precision: Precision


Run = Callable[[Part, Sequence[Tensor]], Sequence[Tensor]]
Forward = Callable[..., tuple[Tensor, ...]]


def parts_of(network: nn.Module, precision: Precision) -> list[Part]:
    """The whole network as one part; for bf16 as three, the first and the last of them in float32.

    The layers at full and half resolution decide where a boundary runs. In bf16 they move it by a pixel here and there,
    which is too much for vessels two pixels wide. Dice of the masks against those of float32, over 4 flips, on DRIVE's
    validation images with OpenVINO: 0.9945 in bf16 throughout, where two thirds of the squared error of the logits came
    from the stem; 0.9991 with these parts, and also with the whole last decoder stage in float32, which takes an eighth
    more time; 0.9989 with none of that stage in float32; 0.9995 with the first MRF-SE block in float32 too, for a
    quarter more time. On Kvasir-SEG's validation images it is 0.999 or more with each.

    Other architectures are bf16 throughout.
    """
    if precision == "float32" or not isinstance(network, S2MNet):
        return [Part(_Step(network, _whole), precision)]
    steps: list[tuple[Forward, Precision]] = [(_first, "float32"), (_middle, "bf16"), (_last, "float32")]
    return [Part(_Step(network, forward), precision) for forward, precision in steps]


def run_parts(parts: Sequence[Part], run: Run, x: Tensor) -> list[Tensor]:
    """Logits and boundary maps, deepest first."""
    if len(parts) == 1:
        return list(run(parts[0], [x]))
    first, middle, last = parts
    stem, features = run(first, [x])
    started, *maps = run(middle, [features])
    logits, *finest = run(last, [stem, started])
    return [logits, *maps, *finest]


class _Step(nn.Module):
    """A part of the network: what it computes with the network's modules, as one flat tuple, all a graph can return.

    Feature maps pass between the parts channels last (B, H, W, C), as the layers keep them, so nothing is reordered.
    """

    def __init__(self, network: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.network, self.part = network, forward

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.part(self.network, *inputs)


def _whole(network: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Image → logits and boundary maps."""
    logits, maps = network(x, return_boundaries=True)
    return logits, *maps


def _first(network: S2MNet, x: Tensor) -> tuple[Tensor, ...]:
    """Image → the map after the stem, and the map after the first layers of the first stage."""
    stem = network.stem(x)
    started = cast(Any, network.stages[0])[:PRECISE_LAYERS](network.encoder_input(x, stem))
    return stem.permute(0, 2, 3, 1), started.permute(0, 2, 3, 1)


def _middle(network: S2MNet, x: Tensor) -> tuple[Tensor, ...]:
    """The latter → the start of the last decoder stage, at half resolution, and the boundary maps so far."""
    first = cast(Any, network.stages[0])[PRECISE_LAYERS:](x.permute(0, 3, 1, 2))
    maps = [network.skips[0](first), *network.encode(first, 1)]
    features, boundaries = decode(maps, network.decoder[:-1])
    return cast(Any, network.decoder[-1]).start(features, maps[0]).permute(0, 2, 3, 1), *boundaries


def _last(network: S2MNet, stem: Tensor, started: Tensor) -> tuple[Tensor, ...]:
    """The stem's map and the start of the last decoder stage → logits and the finest boundary map."""
    features, boundary = cast(Any, network.decoder[-1]).finish(started.permute(0, 3, 1, 2))
    logits = network.head(features, stem.permute(0, 3, 1, 2))
    return (logits,) if boundary is None else (logits, boundary)
