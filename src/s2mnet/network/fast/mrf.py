"""MRF-SE as it trains on a CPU (SPEC 1.2)."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from s2mnet.network.fast.mrf_training import projected_in_chunks, trains_in_chunks
from s2mnet.network.fast.pooling import spatial_mean
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
