"""One network with a last layer for each data set, and its running average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from s2mnet.network import S2MNet
from s2mnet.network.pretrained import load_imagenet
from s2mnet.pretraining.corpus import COLOURS, Source

ENCODER = "lite0"
DECAY = 0.999  # of the average, once enough steps are behind it
LAST = "head.classify."  # names of the weights that each data set has of its own


class SharedNetwork(nn.Module):
    """S2M-Net over the ImageNet encoder without its last layer, and the last layers of all data sets.

    Args:
        sources: of the corpus; each has its own number of outputs.

    Shape:
        x (B, 3, H, W), the place in ``sources`` of each image, (B,) → for each place of the batch its images as indices
        (b,) and their logits (b, its outputs, H, W).
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__()
        self.shared = S2MNet(COLOURS, encoder=ENCODER)
        load_imagenet(self.shared)
        width = cast(nn.Conv2d, self.shared.head.classify).in_channels
        self.shared.head.classify = nn.Identity()
        self.last = nn.ModuleList(nn.Conv2d(width, source.plan.labels.num_outputs, 1) for source in sources)

    def forward(self, x: Tensor, places: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
        maps = self.shared(x)
        chosen = {place: (places == place).nonzero()[:, 0] for place in places.unique().tolist()}
        return {place: (images, self.last[place](maps[images])) for place, images in chosen.items()}

    def of(self, place: int) -> nn.Module:
        """The network of one data set."""
        return nn.Sequential(self.shared, self.last[place])


def average_of(network: SharedNetwork) -> AveragedModel:
    """A running average of all weights and running statistics, in which the first steps are soon forgotten."""

    def blend(average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        keep = min(DECAY, (1 + int(count)) / (10 + int(count)))
        return average.lerp(current, 1 - keep) if current.is_floating_point() else current

    return AveragedModel(network, avg_fn=blend, use_buffers=True)


def starting_network(average: SharedNetwork) -> S2MNet:
    """What others start from: the averaged weights under a last layer of zeros, which belongs to no classes."""
    network = S2MNet(COLOURS, encoder=ENCODER)
    for weight in cast(nn.Conv2d, network.head.classify).parameters():
        nn.init.zeros_(weight)
    state = average.shared.state_dict()
    missing, unexpected = network.load_state_dict(state, strict=False)
    if unexpected or any(not name.startswith(LAST) for name in missing):
        raise ValueError(f"the average has other weights than S2MNet: {missing} {unexpected}")
    return network
