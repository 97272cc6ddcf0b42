"""Forms for prediction alone: the same function in fewer passes over memory."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from s2mnet.network.fast.pooling import spatial_mean
from s2mnet.network.mrf import MultiReceptiveFieldSE


def fuse_batch_norms(network: nn.Module) -> int:
    """Fuse every batch norm, in place, into the convolution before it; return how many there were.

    A batch norm at inference is a gain and an offset for each channel, which the convolution can apply itself.

    Args:
        network: frozen, in eval mode.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ELU()).eval()
        >>> fuse_batch_norms(network), network
        (1, Sequential(
          (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
          (1): ELU(alpha=1.0)
        ))
    """
    fused = 0
    for parts in [part for part in network.modules() if isinstance(part, nn.Sequential)]:
        for index in reversed(range(len(parts) - 1)):
            conv, norm = parts[index], parts[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                parts[index] = fuse_conv_bn_eval(conv, norm)
                del parts[index + 1]
                fused += 1
    return fused


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
