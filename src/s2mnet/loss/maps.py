"""Turn logits and labels of any task into independent binary maps (SPEC 2.5), and check them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class BinaryMaps(NamedTuple):
    """Prediction and truth of each foreground class as a binary problem; 0 where ignored.

    Example:
        >>> maps = BinaryMaps(*torch.zeros(4, 1, 1, 2, 2))
        >>> maps.logits.shape
        torch.Size([1, 1, 2, 2])
    """

    logits: Tensor
    """z, (B, F, H, W)."""
    probs: Tensor
    """p = σ(z), (B, F, H, W), 0 where ignored."""
    truth: Tensor
    """y, 0 or 1 in the dtype of z, (B, F, H, W)."""
    valid: Tensor | None
    """bool, False where ignored, (B, F, H, W); None if no pixel is ignored."""

    @classmethod
    def of(cls, logits: Tensor, truth: Tensor, valid: Tensor | None) -> BinaryMaps:
        """The maps of `logits`, which must be 0 where ignored."""
        probs = logits.sigmoid()
        return cls(logits, probs if valid is None else torch.where(valid, probs, 0), truth, valid)


def binary_truth(target: Tensor, num_classes: int, multilabel: bool, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The foreground of each class, and which pixels count (SPEC 2.5).

    Args:
        target: integer labels (B, H, W) or (B, 1, H, W); with `multilabel` 0/1 per class, (B, num_classes, H, W).
        num_classes: channels of the logits; 1 means foreground against background.
        multilabel: whether classes may overlap.
        ignore_index: pixels with this label do not count.

    Returns:
        truth and valid, both bool (B, F, H, W). F is num_classes, or num_classes − 1 for exclusive classes.

    Raises:
        ValueError: wrong dtype, shape or label.

    Example:
        >>> truth, valid = binary_truth(torch.tensor([[[0, 2, 255]]]), 3, False, 255)
        >>> truth.int().tolist(), valid.int().tolist()
        ([[[[0, 0, 0]], [[0, 1, 0]]]], [[[[1, 1, 0]], [[1, 1, 0]]]])
    """
    if target.is_floating_point() or target.is_complex():
        raise _error("target", f"has dtype {target.dtype}, but labels must be integer", "Convert it: target.long().")
    channels = num_classes if multilabel else 1
    if not multilabel and target.dim() == 3:
        target = target[:, None]
    if target.dim() != 4 or target.shape[1] != channels:
        expected = f"(B, {num_classes}, H, W)" if multilabel else "(B, H, W) or (B, 1, H, W)"
        fix = "Check its axes." + ("" if multilabel else " If classes overlap, build the loss with multilabel=True.")
        raise _error("target", f"has shape {tuple(target.shape)}, but must be {expected}", fix)
    if target.numel() == 0:
        problem = f"has shape {tuple(target.shape)}, but must have at least one pixel"
        raise _error("target", problem, "Check the data loader.")
    target = target.long()
    valid = target != ignore_index
    labels = 2 if multilabel or num_classes == 1 else num_classes
    outside = valid & ((target < 0) | (target >= labels))
    if bool(outside.any()):
        unknown = target[outside].unique().tolist()
        shown = f"{unknown[:8]}{' and more' if len(unknown) > 8 else ''}"
        problem = f"has labels {shown}, but only 0 to {labels - 1} and {ignore_index} (ignored) are valid"
        raise _error("target", problem, "Map the labels (for a 0/255 mask: mask > 127), or set num_classes.")
    if multilabel or num_classes == 1:
        return (target == 1) & valid, valid
    classes = torch.arange(1, num_classes, device=target.device)[:, None, None]
    return (target == classes) & valid, valid.expand(-1, num_classes - 1, -1, -1)


def binary_maps(logits: Tensor, truth: Tensor, valid: Tensor, num_classes: int, multilabel: bool) -> BinaryMaps:
    """Reduce the logits to one binary logit z per foreground class (**ours**).

    For exclusive classes (softmax, channel 0 is the background) z_c = logit_c − logsumexp(all others), so that σ(z_c)
    is exactly the softmax probability. Otherwise z is the logit.

    Args:
        logits: (B, num_classes, H, W), floating point. float64 is kept; anything else is converted to float32.
        truth, valid: from `binary_truth`.
        num_classes: channels of the logits.
        multilabel: whether classes may overlap.

    Returns:
        the maps, each (B, F, H, W).

    Raises:
        ValueError: wrong dtype, or a shape that does not match the target.

    Example:
        >>> truth = valid = torch.ones(1, 1, 1, 1, dtype=torch.bool)
        >>> binary_maps(torch.tensor([1.0, 3.0]).view(1, 2, 1, 1), truth, valid, 2, False).logits.item()
        2.0
    """
    if not logits.is_floating_point():
        problem = f"have dtype {logits.dtype}, but must be floating point"
        raise _error("logits", problem, "Pass the output of the network, not labels.")
    expected = (truth.shape[0], num_classes, *truth.shape[2:])
    if logits.shape != expected:
        problem = f"have shape {tuple(logits.shape)}, but the target and num_classes={num_classes} require {expected}"
        raise _error("logits", problem, "Make batch and image size equal, and num_classes the number of channels.")
    if logits.dtype != torch.float64:
        logits = logits.float()
    if not multilabel and num_classes > 1:
        logits = (logits - _others(logits))[:, 1:]
    if bool(valid.all()):
        return BinaryMaps.of(logits, truth.to(logits.dtype), None)
    logits = torch.where(valid, logits, 0)  # keeps even a NaN at an ignored pixel out
    return BinaryMaps.of(logits, truth.to(logits.dtype), valid)


def _others(logits: Tensor) -> Tensor:
    """logsumexp over the other channels, in memory linear in their number and with one exponential, (B, C, H, W).

    The largest channel sees the sum r of the others. Each of the others sees the largest and r without itself, as
    log(1 + (r − e) / largest), which loses no digits: the term in brackets is at least 0.
    """
    largest, index = logits.max(1, keepdim=True)
    rest = logits.scatter(1, index, -torch.inf)
    second = rest.detach().amax(1, keepdim=True)  # cancels out
    e = (rest - second).exp()
    total = e.sum(1, keepdim=True)
    others = largest + torch.log1p((total - e) * (second - largest).exp())
    return others.scatter(1, index, second + total.log())


def _error(where: str, problem: str, fix: str) -> ValueError:
    return ValueError(f"{where} {problem}. {fix}")
