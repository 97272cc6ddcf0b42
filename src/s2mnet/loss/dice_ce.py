"""Dice + cross-entropy, the baseline for MASL (SPEC 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from s2mnet.loss.maps import binary_maps, binary_truth


class DiceCrossEntropy(nn.Module):
    """Dice loss (mean over samples and foreground classes) plus cross-entropy (mean over pixels), both with weight 1.

    Args:
        num_classes: channels of the logits. 1: sigmoid. More: softmax, channel 0 is the background.
        multilabel: one sigmoid per channel, each a foreground class, for overlapping classes.
        ignore_index: pixels with this label are left out of both terms.
        cross_entropy: False: the Dice loss alone.

    Example:
        >>> import torch
        >>> target = torch.tensor([[[0, 1], [1, 255]]])
        >>> perfect = torch.tensor([[[[-50.0, 50.0], [50.0, 50.0]]]])
        >>> round(DiceCrossEntropy()(perfect, target).item(), 4)
        0.0
    """

    def __init__(
        self, num_classes: int = 1, multilabel: bool = False, ignore_index: int = 255, cross_entropy: bool = True
    ) -> None:
        super().__init__()
        self.cross_entropy = cross_entropy
        self.num_classes, self.multilabel, self.ignore_index = num_classes, multilabel, ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        truth, valid = binary_truth(target, self.num_classes, self.multilabel, self.ignore_index)
        maps = binary_maps(logits, truth, valid, self.num_classes, self.multilabel)
        overlap = (maps.probs * maps.truth).sum((2, 3))
        dice = (2 * overlap + 1e-5) / ((maps.probs + maps.truth).sum((2, 3)) + 1e-5)
        if not self.cross_entropy:
            return (1 - dice).mean()
        if self.multilabel or self.num_classes == 1:
            pixels = F.binary_cross_entropy_with_logits(maps.logits, maps.truth, reduction="none")
            entropy = (pixels * valid).sum() / valid.sum().clamp_min(1)
        else:
            labels = target.view(target.shape[0], *target.shape[-2:]).long()
            entropy = F.cross_entropy(logits.float(), labels, ignore_index=self.ignore_index, reduction="sum")
            entropy = entropy / (labels != self.ignore_index).sum().clamp_min(1)
        return (1 - dice).mean() + entropy
