"""MRF-SE (SPEC 1.2) as it trains on a CPU, and as it predicts."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.network.fast.mrf_training import projected_in_chunks, trains_in_chunks
from s2mnet.network.fast.operations import spatial_mean
from s2mnet.network.mrf import MultiReceptiveFieldSE


class ChunkedMRF(MultiReceptiveFieldSE):
    """An MRF-SE that trains on large maps chunk by chunk, in half of the memory (:mod:`.mrf_training`)."""

    def forward(self, x: Tensor) -> Tensor:
        layers = [cast(nn.Sequential, layer) for layer in (self.expand, *self.fields, self.fuse)]
        if not trains_in_chunks(x, layers):
            return super().forward(x)
        conv, norm = self.project
        return x + self.dropout(norm(projected_in_chunks(x, layers, self.excite, cast(nn.Conv2d, conv))))

    def attention(self, fused: Tensor) -> Tensor:
        return self.excite(spatial_mean(fused))


class SplitMRF(nn.Module):
    """An MRF-SE with fused batch norms and no concatenation: its 1×1 fuse works on each of the three fields in turn.

    As convolutions, within which a compiler adds. PyTorch's matrix products could add as well; but on an AMD processor
    their library is so much slower than the one behind convolutions that the network takes 3 to 8 % longer.
    """

    def __init__(self, block: MultiReceptiveFieldSE) -> None:
        super().__init__()
        self.expand, self.fields, self.excite, self.project = block.expand, block.fields, block.excite, block.project
        fuse = cast(nn.Conv2d, block.fuse[0])
        parts = fuse.weight.chunk(len(self.fields), 1)  # (6C, 6C, 1, 1) each
        self.weights = nn.ParameterList(nn.Parameter(part.contiguous(), requires_grad=False) for part in parts)
        self.bias = cast(Tensor, fuse.bias)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.expand(x)
        branches = zip(self.fields, self.weights, strict=True)
        field, weight = next(branches)
        fused = F.conv2d(field(inner), weight, self.bias)
        for field, weight in branches:
            fused.add_(F.conv2d(field(inner), weight))
        fused = F.elu(fused, inplace=True)
        return x + self.project(fused * self.excite(spatial_mean(fused)))
