"""MRF-SE in training on a CPU: the same sums, a few images at a time; inner maps are recomputed instead of kept.

Written plainly, a block reads and writes some twenty maps of 6C channels for the whole batch and keeps most of them for
the backward pass. Only the statistics of the batch norms tie the images together: between two of them a chunk of the
batch goes through all layers while it is in the processor's cache. Only input, fused map and statistics are kept. Small
maps are all kept, since computing them once is a seventh faster.

Names: x input, h = ELU(BN(expand x)), d = a depthwise map of h, a = ELU(BN(d)), f fused, u = ELU(BN(f)), p projected.
Maps are matrices of pixels × channels. ``g_`` is the gradient of the loss; ``_y`` is behind a batch norm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from s2mnet.network.fast.depthwise import input_gradient, weight_gradients
from s2mnet.network.fast.fused import elu, elu_gradient, norm_elu, norm_gradient
from s2mnet.network.fast.operations import autocast, spatial_mean, trains_eagerly

# Elements of a map of 6C channels:
CHUNK = 4_500_000  # of a chunk: one image of 176² at 144 channels, 18 MB in float32
KEPT = 5_000_000  # of a whole batch, up to which inner maps are kept: eight images of 64² at 144 channels
SMALL = 1_000_000  # of a whole batch, below which the plain layers are faster: many operations, little arithmetic


def trains_in_chunks(x: Tensor, layers: Sequence[nn.Sequential]) -> bool:
    """Whether :func:`projected_in_chunks` can replace the layers now: convolutions, each with batch norm and ELU.

    Not where maps are small, compiled or on a GPU, nor where batch norms are synchronised between processes.
    """
    pixels = x.numel() // x.shape[1]
    return (
        trains_eagerly(x)
        and pixels > 1  # for a single one, batch norm itself raises the error
        and all(type(norm) is nn.BatchNorm2d and norm.training and norm.momentum is not None for norm in _norms(layers))
        and pixels * cast(nn.Conv2d, layers[0][0]).out_channels >= SMALL
    )


def projected_in_chunks(
    x: Tensor, layers: Sequence[nn.Sequential], excite: nn.Sequential, project: nn.Conv2d
) -> Tensor:
    """An MRF-SE up to its 1×1 projection, without the batch norm after it.

    Args:
        x: (B, C, H, W).
        layers: expand, the three fields, fuse.

    Returns:
        (B, C, H, W). The running statistics of the batch norms are updated.
    """
    (x,) = autocast(x)
    norms = _norms(layers)
    weights = [
        *(cast(nn.Conv2d, layer[0]).weight for layer in layers),
        project.weight,
        *excite.parameters(),
        *(norm.weight for norm in norms),
        *(norm.bias for norm in norms),
    ]
    p, means, variances = _Chunked.apply(x, [norm.eps for norm in norms], *weights)
    count = x.numel() // x.shape[1]
    with torch.no_grad():
        for norm, mean, variance in zip(norms, means, variances * (count / (count - 1)), strict=True):
            for running, value in ((norm.running_mean, mean), (norm.running_var, variance)):
                cast(Tensor, running).lerp_(value.to(cast(Tensor, running).dtype), cast(float, norm.momentum))
            cast(Tensor, norm.num_batches_tracked).add_(1)
    return p


def _norms(layers: Sequence[nn.Sequential]) -> list[nn.BatchNorm2d]:
    return [cast(nn.BatchNorm2d, layer[1]) for layer in layers]


class _Norm:
    """A batch norm with the statistics of this batch: y = x·scale + shift; and its gradients."""

    def __init__(self, mean: Tensor, variance: Tensor, eps: float, weight: Tensor, bias: Tensor) -> None:
        self.mean, self.variance, self.deviation = mean, variance, (variance + eps).sqrt()
        self.scale = weight / self.deviation
        self.shift = bias - mean * self.scale
        self.g_weight, self.g_bias = torch.zeros_like(mean), torch.zeros_like(mean)

    def elu(self, x: Tensor) -> Tensor:
        """ELU(y), computed in the type of the statistics, given in that of x."""
        return norm_elu(x, self.scale, self.shift)

    def add(self, g_y: Tensor, x: Tensor) -> None:
        """Add a chunk to the gradients of weight and bias, Σ g_y·x̂ and Σ g_y."""
        _, g_weight, g_bias = torch.ops.aten.native_batch_norm_backward(
            g_y, x, self.scale, None, None, self.mean, 1 / self.deviation, True, 0.0, [False, True, True]
        )
        self.g_weight += g_weight
        self.g_bias += g_bias

    def slope(self, count: int) -> Tensor:
        """The factor of x − mean that the gradient with respect to x subtracts."""
        return self.scale * self.g_weight / (self.deviation * count)

    def offset(self, count: int) -> Tensor:
        """g_x = scale·(g_y − (Σ g_y + x̂·Σ g_y·x̂)/count) = scale·g_y − slope·x + offset, once all chunks are added."""
        return self.mean * self.slope(count) - self.scale * self.g_bias / count


class _Sums:
    """Mean and variance of the columns of a matrix given in chunks of rows."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, Tensor, Tensor]] = []

    def add(self, rows: Tensor) -> None:
        start = rows.new_zeros(rows.shape[1], dtype=torch.promote_types(rows.dtype, torch.float32))
        self.parts.append((len(rows), *torch.ops.aten.batch_norm_update_stats(rows, start, start.clone(), 0.0)))

    def result(self) -> tuple[Tensor, Tensor]:
        counts = [part[0] for part in self.parts]
        means, variances = (torch.stack([cast(Tensor, part[i]) for part in self.parts]) for i in (1, 2))
        shares = torch.tensor(counts, dtype=means.dtype)[:, None] / sum(counts)
        mean = (shares * means).sum(0)
        return mean, (shares * (variances + (means - mean) ** 2)).sum(0)


class _Layers:
    """The convolutions of a block and the places of its chunks.

    Maps and products have the type of x, which autocast may have made bf16; all else is float32 at least.
    Rows of x end in a 1, so that an offset is one more row of a weight instead of a pass over the product.
    """

    def __init__(self, x: Tensor, weights: Sequence[Tensor]) -> None:
        self.height, self.width = x.shape[2:]
        self.pixels = self.height * self.width
        self.x = _with_ones(_rows(x))
        self.short = x.dtype
        self.wide = torch.promote_types(x.dtype, torch.float32)
        expand, *fields, fuse, project = (weight.to(self.wide) for weight in weights[:6])
        self.expand, self.project = expand.flatten(1), project.flatten(1)
        self.fields = [weight.to(self.short) for weight in fields]
        self.fuse = fuse.flatten(1).to(self.short).chunk(len(fields), 1)
        self.gate = [weight.to(self.wide) for weight in weights[6:10]]
        self.gains = [weight.to(self.wide) for weight in weights[10:]]
        self.inner = len(self.expand)
        self.keeps = self.inner * len(self.x) <= KEPT

    def chunks(self) -> Iterator[slice]:
        """Rows of the pixels of a few images, in about equal numbers; of all images where maps are kept."""
        images = len(self.x) // self.pixels
        count = 1 if self.keeps else -(-images // max(1, CHUNK // (self.inner * self.pixels)))
        ends = [self.pixels * (images * number // count) for number in range(count + 1)]
        yield from map(slice, ends, ends[1:])

    def norm(self, index: int, mean: Tensor, variance: Tensor, eps: float) -> _Norm:
        return _Norm(mean, variance, eps, self.gains[index], self.gains[5 + index])

    def images(self, rows: Tensor) -> Tensor:
        """(images, pixels, channels)."""
        return rows.view(-1, self.pixels, rows.shape[1])

    def maps(self, rows: Tensor) -> Tensor:
        """(images, channels, height, width)."""
        return rows.view(-1, self.height, self.width, rows.shape[1]).permute(0, 3, 1, 2)

    def pooled(self, rows: Tensor) -> Tensor:
        """(images, channels), the input of the gate."""
        return spatial_mean(self.maps(rows)).flatten(1).to(self.wide)

    def mixed(self, rows: Tensor, weight: Tensor) -> Tensor:
        """rows · weightᵀ, as the 1×1 convolution that it is: its library is up to twice as fast as mm's on AMD."""
        return _rows(F.conv2d(self.maps(rows), weight[..., None, None]))

    def mixed_gradient(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """gradientᵀ · rows, of the weight in :meth:`mixed` and by the same library."""
        size = gradient.shape[1], rows.shape[1], 1, 1
        return conv2d_weight(self.maps(rows), size, self.maps(gradient)).flatten(1)

    def hidden(self, rows: slice, norm: _Norm) -> Tensor:
        """h, with the batch norm in the weights of the expansion."""
        weight = torch.cat([self.expand * norm.scale[:, None], norm.shift[:, None]], 1)
        return self.maps(elu(self.mixed(self.x[rows], weight.to(self.short))))

    def depthwise(self, h: Tensor, index: int) -> Tensor:
        """d."""
        weight = self.fields[index]
        return _rows(F.conv2d(h, weight, padding=weight.shape[-1] // 2, groups=self.inner))

    def gated_projection(self, gate: Tensor) -> Tensor:
        """The projection of each image, times its gate: (images, C, 6C)."""
        return (self.project * gate[:, None]).to(self.short)


class _Chunked(torch.autograd.Function):
    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def forward(ctx: Any, x: Tensor, eps: Sequence[float], *weights: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        layers = _Layers(x, weights)

        # The expansion is linear: its statistics follow from the input's mean and covariance, without computing it.
        mean, covariance = _covariance(_rows(x).to(layers.wide))
        expand = layers.expand
        norms = [layers.norm(0, expand @ mean, ((expand @ covariance) * expand).sum(1).clamp_min(0), eps[0])]

        fields, sums = [], [_Sums() for _ in layers.fields]
        kept: dict[str, Tensor] = {}
        for rows in layers.chunks():
            h = layers.hidden(rows, norms[0])
            fields.append([layers.depthwise(h, index) for index in range(len(sums))])
            for one, d in zip(sums, fields[-1], strict=True):
                one.add(d)
        if layers.keeps:
            kept = {"h": h} | {f"d{index}": d for index, d in enumerate(fields[0])}
        norms += [layers.norm(index, *one.result(), eps[index]) for index, one in enumerate(sums, 1)]

        f, fused = x.new_empty(len(layers.x), layers.inner), _Sums()
        for rows in layers.chunks():
            for index, d in enumerate(fields.pop(0)):
                a = norms[1 + index].elu(d)
                part = layers.mixed(a, layers.fuse[index])
                f[rows].copy_(part) if index == 0 else f[rows].add_(part)
                if layers.keeps:
                    kept[f"a{index}"] = a
            fused.add(f[rows])
        norms.append(layers.norm(4, *fused.result(), eps[4]))

        p = torch.empty_like(_rows(x))
        for rows in layers.chunks():
            u = norms[4].elu(f[rows])
            if layers.keeps:
                kept["u"] = u
            u_images = layers.images(u)
            weight = layers.gated_projection(_gate(layers.pooled(u), layers.gate))
            torch.bmm(u_images, weight.transpose(1, 2), out=layers.images(p[rows]))
        means, variances = (torch.stack([getattr(norm, name) for norm in norms]) for name in ("mean", "variance"))
        ctx.save_for_backward(x, f, mean, covariance, means, variances, *kept.values(), *weights)
        ctx.eps, ctx.kept = eps, tuple(kept)
        ctx.mark_non_differentiable(means, variances)
        return layers.maps(p), means, variances

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    def backward(ctx: Any, g_p: Tensor, *_: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        if torch.is_grad_enabled():
            raise RuntimeError("MRF-SE in chunks has no second derivatives: use the plain network, with S2MNET_PLAIN=1")
        x, f, mean, covariance, means, variances, *rest = ctx.saved_tensors
        kept, weights = dict(zip(ctx.kept, rest, strict=False)), rest[len(ctx.kept) :]
        layers = _Layers(x, weights)
        short, wide, count = layers.short, layers.wide, len(layers.x)
        norms = [layers.norm(index, *of) for index, of in enumerate(zip(means, variances, ctx.eps, strict=True))]
        g_weights = [torch.zeros_like(weight, dtype=wide) for weight in weights[:10]]
        g_p = _with_ones(_rows(g_p.to(short)))

        # from p through the gate to the batch norm of f
        g_rows_f = []
        for rows in layers.chunks():
            u = kept["u"] if kept else norms[4].elu(f[rows])
            u_images, g_images = layers.images(u), layers.images(g_p[rows])
            with torch.enable_grad():
                inputs = layers.pooled(u), *layers.gate
                pooled, *gate_weights = (t.detach().requires_grad_() for t in inputs)
                gate = _gate(pooled, gate_weights)
            weight = layers.gated_projection(gate.detach())
            g_weight = torch.bmm(g_images[..., :-1].transpose(1, 2), u_images).to(wide)
            g_pooled, *g_gate = torch.autograd.grad(gate, [pooled, *gate_weights], (g_weight * layers.project).sum(1))
            for total, part in zip(g_weights[6:], g_gate, strict=True):
                total += part
            g_weights[5] += (g_weight * gate.detach()[:, None]).sum(0).view_as(g_weights[5])
            g_u = g_images @ torch.cat([weight, (g_pooled / layers.pixels)[:, None].to(short)], 1)
            g_y = elu_gradient(g_u.view(u.shape), u)
            norms[4].add(g_y, f[rows])
            g_rows_f.append(g_y)

        # from f to the batch norms of the fields
        g_fields: list[list[tuple[Tensor, Tensor]]] = []  # with d, which is cheaper to keep than to recompute
        slope, offset = -norms[4].slope(count), norms[4].offset(count)
        for rows in layers.chunks():
            g_rows = norm_gradient(g_rows_f.pop(0), f[rows], norms[4].scale, slope, offset)
            h, g_fuse = kept["h"] if kept else layers.hidden(rows, norms[0]), []
            g_fields.append([])
            for index, weight in enumerate(layers.fuse):
                d = kept[f"d{index}"] if kept else layers.depthwise(h, index)
                a = kept[f"a{index}"] if kept else norms[1 + index].elu(d)
                g_fuse.append(layers.mixed_gradient(a, g_rows))
                g_y = elu_gradient(layers.mixed(g_rows, weight.t()), a)
                norms[1 + index].add(g_y, d)
                g_fields[-1].append((g_y, d))
            g_weights[4] += torch.cat(g_fuse, 1).view_as(g_weights[4])

        # from the fields through the expansion, whose batch norm needs no second pass: it is linear in x
        g_x = torch.empty_like(_rows(x))
        weight, norm = layers.expand, norms[0]
        product = weight.new_zeros(layers.inner, layers.x.shape[1])
        scaled = (weight * norm.scale[:, None]).t().to(short)
        for rows in layers.chunks():
            h, parts = kept["h"] if kept else layers.hidden(rows, norms[0]), []
            weight_gradient = weight_gradients(h, max(kernel.shape[-1] for kernel in layers.fields))
            for index, (kernel, (g_y, d)) in enumerate(zip(layers.fields, g_fields.pop(0), strict=True)):
                one = norms[1 + index]
                g_d = layers.maps(norm_gradient(g_y, d, one.scale, -one.slope(count), one.offset(count)))
                g_weights[1 + index] += weight_gradient(g_d, kernel.shape[-1])
                parts.append(_rows(input_gradient(g_d, kernel)))
            g_h = parts[0].add_(parts[1]).add_(parts[2])
            g_y = elu_gradient(g_h, _rows(h))
            product += layers.mixed_gradient(layers.x[rows], g_y)
            g_x[rows] = layers.mixed(g_y, scaled)
        norm.g_bias, product = product[:, -1].clone(), product[:, :-1]
        product -= norm.g_bias[:, None] * mean
        norm.g_weight += (weight * product).sum(1) / norm.deviation
        g_expand = product - (norm.g_weight / norm.deviation)[:, None] * (weight @ covariance)
        g_weights[0] += (norm.scale[:, None] * g_expand).view_as(g_weights[0])
        mix = weight.t() @ (weight * norm.slope(count)[:, None])
        offset = mean @ mix - (norm.scale * norm.g_bias / count) @ weight
        g_x.addmm_(layers.x, torch.cat([-mix, offset[None]]).to(short))

        g_all = [*g_weights, *(one.g_weight for one in norms), *(one.g_bias for one in norms)]
        g_all = [gradient.to(weight.dtype) for gradient, weight in zip(g_all, weights, strict=True)]
        return layers.maps(g_x), None, *g_all


def _gate(pooled: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Squeeze-excitation: means of u over each image → factors of the channels, (images, 6C) → the same."""
    squeeze, squeeze_bias, excite, excite_bias = weights
    squeezed = F.elu(F.linear(pooled, squeeze.flatten(1), squeeze_bias))
    return torch.sigmoid(F.linear(squeezed, excite.flatten(1), excite_bias))


def _covariance(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the columns."""
    mean = rows.mean(0)
    centred = rows - mean
    return mean, centred.t() @ centred / len(rows)


def _with_ones(rows: Tensor) -> Tensor:
    """Append a column of ones."""
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)


def _rows(maps: Tensor) -> Tensor:
    """(images, channels, height, width) → pixels × channels."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
