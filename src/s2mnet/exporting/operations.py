"""What happens around the network in an exported graph, as ONNX functions: the same sums as ``s2mnet.inference``.

The names begin with a capital, as those of ONNX operators do. In functions that loops call, numbers are constants with
a type of their own: ONNX Runtime warns about literals there.
"""

# mypy: disable-error-code="no-untyped-def, call-overload, operator, index, arg-type"
from __future__ import annotations

import math

import onnx
from onnx import TensorProto
from onnxscript import OnnxFunction, script, values
from onnxscript import opset18 as op

from s2mnet.inference import SIGMA

OPSET = 18
DOMAIN = values.Opset("s2mnet", 1)
PI = onnx.helper.make_tensor("pi", TensorProto.DOUBLE, [], [math.pi])  # a literal would be float32
LOG_2 = onnx.helper.make_tensor("log_2", TensorProto.DOUBLE, [], [math.log(2)])


@script(DOMAIN, default_opset=op)
def LanczosWeights(n, m, room, before, after):
    """The matrix that resizes n pixels to m, with weights in fixed point as Pillow's and PyTorch's.

    ``before`` and ``after`` are the axes of the pixels before and after: [1] and [0] give (m, n), [0] and [1] (n, m).
    ONNX Runtime would fuse a transposition into the product, and its build for browsers has no such operator.
    The scale of the fixed point is 2^bits, with the most bits, up to 22, that keep the largest weight below ``room``.
    """
    step = op.Cast(n, to=TensorProto.DOUBLE) / op.Cast(m, to=TensorProto.DOUBLE)
    centres = (op.Cast(op.Range(0, m, 1), to=TensorProto.DOUBLE) + 0.5) * step
    places = op.Cast(op.Range(0, n, 1), to=TensorProto.DOUBLE) + 0.5
    x = (op.Unsqueeze(places, after) - op.Unsqueeze(centres, before)) / op.Max(step, 1.0)
    angle = x * op.Constant(value=PI)
    lobe = angle / 3.0
    at_centre = op.Abs(x) < 1e-9
    square = op.Where(at_centre, op.CastLike(1.0, x), angle * lobe)
    sinc = op.Where(at_centre, op.CastLike(1.0, x), op.Sin(angle) * op.Sin(lobe) / square)
    raw = op.Where(op.Abs(x) < 3.0, sinc, op.CastLike(0.0, x))
    weights = raw / op.ReduceSum(raw, before, keepdims=1)
    free = op.Log(op.Cast(room, to=TensorProto.DOUBLE) / op.ReduceMax(weights, keepdims=0)) / op.Constant(value=LOG_2)
    bits = op.Min(op.Ceil(free) - 1.0, 22.0)
    scale = op.Pow(op.CastLike(2.0, x), bits)
    return op.Round(weights * scale) / scale


@script(DOMAIN, default_opset=op)
def Rounded(x):
    """To the levels of uint8, half up."""
    return op.Clip(op.Floor(x + 0.5), 0.0, 255.0)


@script(DOMAIN, default_opset=op)
def Lanczos(planes, height, width, room):
    """Resize (C, H, W), levels 0..255, to (C, height, width): along rows first, and rounded after each axis.

    In float64 the sums are exact; in float32 some halves were rounded the other way.
    """
    n_rows = op.Squeeze(op.Shape(planes, start=1, end=2), [0])
    n_columns = op.Squeeze(op.Shape(planes, start=2, end=3), [0])
    exact = op.Cast(planes, to=TensorProto.DOUBLE)
    across = op.MatMul(exact, LanczosWeights(n_columns, width, room, [0], [1]))
    resized = Rounded(op.MatMul(LanczosWeights(n_rows, height, room, [1], [0]), Rounded(across)))
    return op.Cast(resized, to=TensorProto.FLOAT)


@script(DOMAIN, default_opset=op)
def Luma(planes):
    """Grey (1, H, W) of red, green and blue (3, H, W), as Pillow rounds it (ITU-R 601)."""
    factors = op.Constant(value_floats=[19595.0, 38470.0, 7471.0])  # all sums are whole numbers below 2²⁴
    total = op.ReduceSum(planes * op.Unsqueeze(factors, [1, 2]), [0], keepdims=1)
    return op.Floor((total + 32768.0) / 65536.0)


@script(DOMAIN, default_opset=op)
def MirroredPlaces(side, before, after):
    """Indices that pad an axis by mirroring at its ends, as often as needed."""
    places = op.Mod(op.Range(0 - before, side + after, 1), 2 * side)
    return op.Min(places, 2 * side - 1 - places)


@script(DOMAIN, default_opset=op)
def Mirrored(planes, height, width, margin):
    """Pad (C, H, W) by the margin on all sides, and below and right until a window of height × width fits."""
    n_rows = op.Squeeze(op.Shape(planes, start=1, end=2), [0])
    n_columns = op.Squeeze(op.Shape(planes, start=2, end=3), [0])
    below = margin + op.Max(height - n_rows - 2 * margin, 0)
    right = margin + op.Max(width - n_columns - 2 * margin, 0)
    rows = op.Gather(planes, MirroredPlaces(n_rows, margin, below), axis=1)
    return op.Gather(rows, MirroredPlaces(n_columns, margin, right), axis=2)


@script(DOMAIN, default_opset=op)
def Flipped(maps, flips):
    """Maps (…, H, W) with rows and columns reversed where the two flags are 1."""
    zero = op.Constant(value_int=0)
    one = op.Constant(value_int=1)
    n_rows = op.Squeeze(op.Shape(maps, start=2, end=3), [0])
    n_columns = op.Squeeze(op.Shape(maps, start=3, end=4), [0])
    rows = op.Abs(op.Gather(flips, zero) * (n_rows - one) - op.Range(zero, n_rows, one))
    columns = op.Abs(op.Gather(flips, one) * (n_columns - one) - op.Range(zero, n_columns, one))
    return op.Gather(op.Gather(maps, rows, axis=2), columns, axis=3)


@script(DOMAIN, default_opset=op)
def WindowStarts(side, window, step):
    """Where the windows along an axis begin; the last one ends with the axis."""
    zero = op.Constant(value_int=0)
    one = op.Constant(value_int=1)
    count = (side - window + step - one) / step + one
    return op.Min(op.Range(zero, count, one) * step, side - window)


@script(DOMAIN, default_opset=op)
def Covering(side, window, step, back):
    """For each pixel of an axis, the window that is ``back`` before the last one over it: place in it and weight.

    Returns:
        The indices into all pixels of all windows in order, int64 (side); their Gaussian weights, 0 where there is no
        such window.
    """
    zero = op.Constant(value_int=0)
    one = op.Constant(value_int=1)
    starts = WindowStarts(side, window, step)
    count = op.Squeeze(op.Shape(starts), [0])
    pixels = op.Range(zero, side, one)
    last = op.Where(pixels >= side - window, count - one, pixels / step)
    chosen = last - back
    number = op.Max(chosen, zero)
    offset = pixels - op.Gather(starts, number)
    exists = op.And(chosen >= zero, offset < window)
    place = op.Min(offset, window - one)
    centre = op.Cast(window - one, to=TensorProto.FLOAT) * op.Constant(value_float=0.5)
    sigma = op.Cast(window, to=TensorProto.FLOAT) * op.Constant(value_float=SIGMA)
    distance = (op.Cast(place, to=TensorProto.FLOAT) - centre) / sigma
    gaussian = op.Exp(distance * distance * op.Constant(value_float=-0.5))
    weights = op.Where(exists, gaussian, op.Constant(value_float=0.0))
    return number * window + place, weights


@script(DOMAIN, default_opset=op)
def Blended(tiles, side, window, step):
    """The weighted mean of windows along the first axis: (windows · window, …) → (side, …). At most three overlap."""
    zero = op.Constant(value_int=0)
    one = op.Constant(value_int=1)
    two = op.Constant(value_int=2)
    place_0, weight_0 = Covering(side, window, step, zero)
    place_1, weight_1 = Covering(side, window, step, one)
    place_2, weight_2 = Covering(side, window, step, two)
    total = weight_0 + weight_1 + weight_2
    share_0 = op.Unsqueeze(weight_0 / total, [1, 2])
    share_1 = op.Unsqueeze(weight_1 / total, [1, 2])
    share_2 = op.Unsqueeze(weight_2 / total, [1, 2])
    first = op.Gather(tiles, place_0) * share_0
    return first + op.Gather(tiles, place_1) * share_1 + op.Gather(tiles, place_2) * share_2


@script(DOMAIN, default_opset=op)
def Joined(tiles, n_rows, n_columns, height, width, step_rows, step_columns):
    """Windows (rows · columns, K, height, width), row by row, joined to maps (1, K, n_rows, n_columns)."""
    rest = op.Constant(value_ints=[-1])
    down = op.Shape(WindowStarts(n_rows, height, step_rows))
    outputs = op.Shape(tiles, start=1, end=2)
    rows = op.Unsqueeze(height, [0])
    columns = op.Unsqueeze(width, [0])
    grid = op.Reshape(tiles, op.Concat(down, rest, outputs, rows, columns, axis=0))
    by_rows = op.Transpose(grid, perm=[0, 3, 1, 4, 2])  # window row, row in it, window column, column in it, K
    tall = op.Reshape(by_rows, op.Concat(down * rows, rest, outputs, axis=0))
    joined_rows = Blended(tall, n_rows, height, step_rows)
    wide = op.Transpose(joined_rows, perm=[1, 0, 2])
    joined = Blended(wide, n_columns, width, step_columns)
    return op.Unsqueeze(op.Transpose(joined, perm=[2, 1, 0]), [0])


@script(DOMAIN, default_opset=op)
def RegionScores(probabilities, membership):
    """The log-probability (classes, H, W) of each class from those of the regions (regions, H, W), up to a term."""
    p = op.Clip(probabilities, 1e-6, 1.0 - 1e-6)
    odds = op.Log(p) - op.Log(1.0 - p)
    flat = op.MatMul(membership, op.Reshape(odds, op.Concat(op.Shape(odds, start=0, end=1), [-1], axis=0)))
    return op.Reshape(flat, op.Concat([-1], op.Shape(odds, start=1, end=3), axis=0))


FUNCTIONS: list[OnnxFunction] = [
    LanczosWeights, Rounded, Lanczos, Luma, MirroredPlaces, Mirrored, Flipped, WindowStarts, Covering, Blended, Joined,
    RegionScores,
]  # fmt: skip
