"""A trained network as an ONNX function with its weights beside it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import onnx.inliner
import torch
from torch import Tensor, nn

from s2mnet.errors import S2MNetError
from s2mnet.exporting.operations import DOMAIN, OPSET
from s2mnet.inference import Inference
from s2mnet.modelfolder import ModelConfig
from s2mnet.network.fast import accelerate

NAME = "Network"


class Exported(NamedTuple):
    """A network as ONNX.

    Attributes:
        function: its nodes; the inputs are the image and the weights, in order.
        weights: the values of the other inputs.
    """

    function: onnx.FunctionProto
    weights: list[onnx.TensorProto]


class _Probabilities(nn.Module):
    """Normalisation, network, and sigmoid or softmax: inputs (1, channels, h, w) in 0..1 → probabilities."""

    def __init__(self, network: nn.Module, config: ModelConfig) -> None:
        super().__init__()
        self.network = network
        self.inference = Inference(network, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.inference.probabilities(x)


def export_network(network: nn.Module, config: ModelConfig) -> Exported:
    """The network of a model in its fast form for prediction, for inputs of the model's size.

    Args:
        network: as :func:`s2mnet.modelfolder.load_model` gives it, on the CPU.
        config: of the model.

    Raises:
        S2MNetError: PyTorch cannot write this network as ONNX.
    """
    example = torch.rand(1, len(config.preprocessing.channels), *config.preprocessing.size)
    module = _Probabilities(accelerate(network, "predict").network, config).eval()
    try:
        with torch.no_grad(), _quiet():
            program: Any = torch.onnx.export(module, (example,), dynamo=True, verbose=False, opset_version=OPSET)
        model: onnx.ModelProto = onnx.inliner.inline_local_functions(program.model_proto)
    except Exception as error:  # the exporter raises nearly anything
        problem = f"cannot be written as ONNX ({type(error).__name__}: {str(error)[:200]})"
        raise S2MNetError("The network", problem, "Train the default architecture, or use --to hub.") from error
    graph, weights = model.graph, list(model.graph.initializer)
    names = [graph.input[0].name, *(weight.name for weight in weights)]
    outputs = [output.name for output in graph.output]
    function = onnx.helper.make_function(
        DOMAIN.domain, NAME, names, outputs, graph.node, [onnx.helper.make_opsetid("", OPSET)]
    )
    return Exported(function, weights)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
