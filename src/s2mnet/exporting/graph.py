"""One ONNX graph from an image as it is to its mask: the steps of ``s2mnet.inference`` around the network."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
import onnx.checker
import onnx.parser
from onnx import numpy_helper
from onnxscript.optimizer import optimize
from torch import nn

from s2mnet.data.channels import COLOURS, GREY
from s2mnet.data.labels import LabelMap
from s2mnet.data.resize import resizes_in_torch
from s2mnet.errors import S2MNetError
from s2mnet.exporting.network import NAME, Exported, export_network
from s2mnet.exporting.operations import FUNCTIONS, OPSET
from s2mnet.inference import OVERLAP, Inference, margin_of
from s2mnet.modelfolder import ModelConfig
from s2mnet.plan import Preprocessing
from s2mnet.version import __version__

IR_VERSION = 10
# The largest weight of a resize in fixed point: PyTorch keeps 16 bits; Pillow keeps 32, where 22 bits are always free.
TORCH_ROOM, PILLOW_ROOM = 2.0**15 - 0.5, 2.0**32


def build_graph(network: nn.Module, config: ModelConfig) -> onnx.ModelProto:
    """The whole way of a model from an image to its mask as one ONNX model.

    The model has the input ``image``, uint8 (H, W, C) of any size, where C is 3 (red, green, blue; three equal channels
    for a grey image) or the number of stored channels. Its outputs, as in :class:`s2mnet.inference.Prediction`, are
    ``probabilities``, float32 (outputs, H, W), and ``mask`` (H, W) in the label values, uint8 or uint16. The mean over
    the model's default test-time transforms is part of it, and so are the windows of a model of patches, as a loop.

    Args:
        network, config: as :func:`s2mnet.modelfolder.load_model` gives them, on the CPU.

    Raises:
        S2MNetError: the model uses CLAHE, or its network cannot be written as ONNX.
    """
    preprocessing = config.preprocessing
    if preprocessing.clahe:
        problem = "equalises the contrast of images with CLAHE, which ONNX has no operators for"
        raise S2MNetError("The model", problem, "Train it again with clahe: false in plan.yaml, or use --to hub.")
    exported = export_network(network, config)
    names = [f"w{number}_{re.sub('[^0-9A-Za-z]', '_', weight.name)}" for number, weight in enumerate(exported.weights)]
    call = f"s2mnet.{NAME} (INPUT, {', '.join(names)})"
    channels = len(preprocessing.stored) or len(COLOURS)
    kind = config.labels.decode(np.zeros((1, 1), np.uint8)).dtype
    views = Inference(network, config).transforms(None)
    text = f"""
    <ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}, "s2mnet" : 1],
     producer_name: "s2mnet", producer_version: "{__version__}">
    s2mnet (uint8[H, W, {channels}] image) =>
           (float[{config.labels.num_outputs}, H, W] probabilities, {kind}[H, W] mask) {{
        {_prepared(preprocessing)}
        {_averaged(call, preprocessing, len(views))}
        {_own_size(preprocessing)}
        {_mask(config.labels)}
    }}
    """
    model = onnx.parser.parse_model(text)
    model.functions.extend([exported.function, *(function.to_function_proto() for function in FUNCTIONS)])
    model.graph.initializer.extend(_constants(config, len(views)))
    model.graph.initializer.extend(_renamed(exported, names))
    model = optimize(model)
    onnx.helper.set_model_props(model, _properties(config))
    onnx.checker.check_model(model)
    return model


def _prepared(preprocessing: Preprocessing) -> str:
    """``image`` → ``inputs`` (1, channels, h, w) in 0..1, see :func:`s2mnet.inference.prepare_image`."""
    lines = ["pixels = Cast <to = 1> (image)", "planes = Transpose <perm = [2, 0, 1]> (pixels)"]
    if GREY in preprocessing.channels and not preprocessing.stored:
        lines += ["luma = s2mnet.Luma (planes)", "known = Concat <axis = 0> (planes, luma)"]
    else:
        lines.append("known = Identity (planes)")
    lines.append("selected = Gather (known, channels)")
    fitted = "Lanczos (selected, height, width, room)"
    if preprocessing.extent == "patches":
        fitted = "Mirrored (selected, height, width, margin)"
    lines += [f"levels = s2mnet.{fitted}", "batch = Unsqueeze (levels, axis_0)", "inputs = Div (batch, white)"]
    return "\n".join(lines)


def _averaged(call: str, preprocessing: Preprocessing, views: int) -> str:
    """``inputs`` → ``maps``, the mean of the probabilities over the test-time transforms."""
    if views == 1:
        return _predicted(call, preprocessing, "inputs", "maps")
    transposed = "view_transposed = Gather (transposes, number)"
    turn = (
        "{after} = If ({flag}) <then_branch = turned () => ({after}_t) {{ {after}_t = "
        "Transpose <perm = [0, 1, 3, 2]> ({before}) }}, else_branch = kept () => ({after}_k) {{ {after}_k = "
        "Identity ({before}) }}>"
    )
    turns = views > 4
    before = (
        turn.format(after="upright", before="inputs", flag="view_transposed")
        if turns
        else "upright = Identity (inputs)"
    )
    after = (
        turn.format(after="map", before="unflipped", flag="view_transposed") if turns else "map = Identity (unflipped)"
    )
    return f"""
    size = Shape <start = 2> (inputs)
    map_shape = Concat <axis = 0> (map_head, size)
    nothing = Expand (zero, map_shape)
    total = Loop (views, yes, nothing) <body = view (int64 number, bool going, float[1, K, h, w] sum) =>
            (bool go_on, float[1, K, h, w] new_sum) {{
        {transposed if turns else ""}
        flip = Gather (flips, number)
        {before}
        flipped = s2mnet.Flipped (upright, flip)
        {_predicted(call, preprocessing, "flipped", "predicted")}
        unflipped = s2mnet.Flipped (predicted, flip)
        {after}
        new_sum = Add (sum, map)
        go_on = Identity (going)
    }}>
    maps = Div (total, view_count)
    """


def _predicted(call: str, preprocessing: Preprocessing, inputs: str, maps: str) -> str:
    """The probabilities of one view: of the whole image, or of its windows in turn."""
    if preprocessing.extent == "whole":
        return f"{maps} = {call.replace('INPUT', inputs)}"
    return f"""
    rows_1 = Shape <start = 2, end = 3> ({inputs})
    columns_1 = Shape <start = 3, end = 4> ({inputs})
    n_rows = Squeeze (rows_1, axis_0)
    n_columns = Squeeze (columns_1, axis_0)
    tops = s2mnet.WindowStarts (n_rows, height, step_rows)
    lefts = s2mnet.WindowStarts (n_columns, width, step_columns)
    across_1 = Shape (lefts)
    across = Squeeze (across_1, axis_0)
    down = Size (tops)
    windows = Mul (down, across)
    tiles = Loop (windows, yes) <body = window (int64 place, bool more) => (bool go_further, float[K, p, q] tile) {{
        row = Div (place, across)
        column = Mod (place, across)
        top = Gather (tops, row)
        left = Gather (lefts, column)
        top_1 = Unsqueeze (top, axis_0)
        left_1 = Unsqueeze (left, axis_0)
        first = Concat <axis = 0> (top_1, left_1)
        end = Add (first, window_size)
        cut = Slice ({inputs}, first, end, axes_2_3)
        window_input = Reshape (cut, window_shape)
        window_map = {call.replace("INPUT", "window_input")}
        tile = Squeeze (window_map, axis_0)
        go_further = Identity (more)
    }}>
    {maps} = s2mnet.Joined (tiles, n_rows, n_columns, height, width, step_rows, step_columns)
    """


def _own_size(preprocessing: Preprocessing) -> str:
    """``maps`` → ``probabilities``, see :meth:`s2mnet.inference.Inference.at_own_size`."""
    lines = ["own_size = Shape <start = 0, end = 2> (image)"]
    if preprocessing.extent == "patches":
        lines += [
            "crop_start = Concat <axis = 0> (margin_1, margin_1)",
            "crop_end = Add (crop_start, own_size)",
            "own = Slice (maps, crop_start, crop_end, axes_2_3)",
        ]
    else:
        lines += [
            "own_shape = Concat <axis = 0> (map_head, own_size)",
            'own = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">',
            "(maps, none, none, own_shape)",
        ]
    return "\n".join([*lines, "probabilities = Squeeze (own, axis_0)"])


def _mask(labels: LabelMap) -> str:
    """``probabilities`` → ``mask``, see :func:`s2mnet.inference.to_labels`."""
    if labels.regions:
        lines = [
            "scores = s2mnet.RegionScores (probabilities, membership)",
            "indices = ArgMax <axis = 0, keepdims = 0> (scores)",
        ]
    elif labels.exclusive:
        lines = ["indices = ArgMax <axis = 0, keepdims = 0> (probabilities)"]
    else:
        lines = [
            "foreground = Squeeze (probabilities, axis_0)",
            "above = Greater (foreground, threshold)",
            "indices = Cast <to = 7> (above)",
        ]
    return "\n".join([*lines, "mask = Gather (label_values, indices)"])


def _constants(config: ModelConfig, views: int) -> list[onnx.TensorProto]:
    """All numbers that the text above names."""
    preprocessing, labels = config.preprocessing, config.labels
    height, width = preprocessing.size
    known = preprocessing.stored or [*COLOURS, GREY]
    steps = [max(1, int(side * (1 - OVERLAP))) for side in preprocessing.size]
    in_torch = resizes_in_torch() and not preprocessing.stored and GREY not in preprocessing.channels
    flips = [(rows, columns) for rows in (0, 1) for columns in (0, 1)] * 2
    integers: dict[str, int | Sequence[int] | Sequence[tuple[int, int]]] = {
        "height": height,
        "width": width,
        "channels": [known.index(name) for name in preprocessing.channels],
        "margin": margin_of(preprocessing),
        "margin_1": [margin_of(preprocessing)],
        "step_rows": steps[0],
        "step_columns": steps[1],
        "window_size": [height, width],
        "window_shape": [1, len(preprocessing.channels), height, width],
        "axis_0": [0],
        "axes_2_3": [2, 3],
        "map_head": [1, labels.num_outputs],
        "views": views,
        "flips": flips[:views],
    }
    reals = {"room": TORCH_ROOM if in_torch else PILLOW_ROOM, "white": 255, "zero": 0, "view_count": views, "none": []}
    arrays: dict[str, np.ndarray] = {
        **{name: np.array(value, np.int64) for name, value in integers.items()},
        **{name: np.array(value, np.float32) for name, value in reals.items()},
        "threshold": np.array(config.threshold, np.float32),
        "yes": np.array(True),
        "transposes": np.arange(views) >= 4,
        "membership": labels.membership.T.astype(np.float32),
        "label_values": labels.decode(np.arange(labels.num_classes, dtype=np.uint8)),
    }
    return [numpy_helper.from_array(array, name) for name, array in arrays.items()]


def _renamed(exported: Exported, names: Sequence[str]) -> list[onnx.TensorProto]:
    for weight, name in zip(exported.weights, names, strict=True):
        weight.name = name
    return exported.weights


def _properties(config: ModelConfig) -> dict[str, str]:
    """What a program needs to show a mask, as strings of JSON."""
    labels = config.labels
    return {
        "s2mnet.version": json.dumps(__version__),
        "s2mnet.labels": json.dumps(dict(zip(map(str, labels.values), labels.names, strict=True)), ensure_ascii=False),
        "s2mnet.outputs": json.dumps(labels.outputs, ensure_ascii=False),
        "s2mnet.channels": json.dumps(config.preprocessing.stored or list(COLOURS), ensure_ascii=False),
    }
