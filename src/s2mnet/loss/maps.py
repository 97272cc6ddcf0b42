"""From logits and labels of any task to independent binary maps (SPEC 2.5), with every check of the input."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class BinaryMaps(NamedTuple):
    """Prediction and truth of each foreground class as a two-class problem of its own; 0 where ignored.

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
    """bool, False where ignored, (B, F, H, W); None if nothing is."""

    @classmethod
    def of(cls, logits: Tensor, truth: Tensor, valid: Tensor | None) -> BinaryMaps:
        """The maps of these logits, which are 0 where ignored."""
        probs = logits.sigmoid()
        return cls(logits, probs if valid is None else torch.where(valid, probs, 0), truth, valid)


def binary_truth(target: Tensor, num_classes: int, multilabel: bool, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Foreground of each class and the pixels that count (SPEC 2.5).

    Args:
        target: integer labels (B, H, W) or (B, 1, H, W); with `multilabel` 0/1 per class, (B, num_classes, H, W).
        num_classes: channels of the logits; 1 means foreground against background.
        multilabel: whether classes may overlap.
        ignore_index: the value that is left out of everything.

    Returns:
        truth and valid, bool, both (B, F, H, W); F is num_classes, or num_classes − 1 for exclusive classes.

    Raises:
        ValueError: wrong dtype, shape or label.

    Example:
        >>> truth, valid = binary_truth(torch.tensor([[[0, 2, 255]]]), 3, False, 255)
        >>> truth.int().tolist(), valid.int().tolist()
        ([[[[0, 0, 0]], [[0, 1, 0]]]], [[[[1, 1, 0]], [[1, 1, 0]]]])
    """
    if target.is_floating_point() or target.is_complex():
        raise _bad("target", f"dtype {target.dtype}", "integer labels", "Convert it: target.long().")
    channels = num_classes if multilabel else 1
    if not multilabel and target.dim() == 3:
        target = target[:, None]
    if target.dim() != 4 or target.shape[1] != channels:
        expected = f"(B, {num_classes}, H, W)" if multilabel else "(B, H, W) or (B, 1, H, W)"
        mend = "" if multilabel else " For overlapping classes build the loss with multilabel=True."
        raise _bad("target", f"shape {tuple(target.shape)}", expected, f"Check the axes.{mend}")
    if target.numel() == 0:
        raise _bad("target", f"shape {tuple(target.shape)}", "at least one pixel", "Check the data loader.")
    target = target.long()
    valid = target != ignore_index
    labels = 2 if multilabel or num_classes == 1 else num_classes
    outside = valid & ((target < 0) | (target >= labels))
    if bool(outside.any()):
        found = target[outside].unique().tolist()
        raise _bad(
            "target",
            f"labels {found[:8]}{' and more' if len(found) > 8 else ''}",
            f"0 to {labels - 1}, or {ignore_index} for ignored pixels",
            "Map the labels (for a 0/255 mask: mask > 127) or set num_classes.",
        )
    if multilabel or num_classes == 1:
        return (target == 1) & valid, valid
    classes = torch.arange(1, num_classes, device=target.device)[:, None, None]
    return (target == classes) & valid, valid.expand(-1, num_classes - 1, -1, -1)


def binary_maps(logits: Tensor, truth: Tensor, valid: Tensor, num_classes: int, multilabel: bool) -> BinaryMaps:
    """Reduce the logits to one binary logit a foreground class (**ours**).

    For exclusive classes (softmax, channel 0 the background) z_c = logit_c − logsumexp(all others), for which σ(z_c) is
    exactly the softmax probability. Otherwise z is the logit.

    Args:
        logits: (B, num_classes, H, W), floating point. float64 stays, all else is computed in float32.
        truth, valid: of `binary_truth`.
        num_classes: channels of the logits.
        multilabel: whether classes may overlap.

    Returns:
        the maps, each (B, F, H, W).

    Raises:
        ValueError: wrong dtype or shape, or not the shape of the target.

    Example:
        >>> truth = valid = torch.ones(1, 1, 1, 1, dtype=torch.bool)
        >>> binary_maps(torch.tensor([1.0, 3.0]).view(1, 2, 1, 1), truth, valid, 2, False).logits.item()
        2.0
    """
    if not logits.is_floating_point():
        raise _bad("logits", f"dtype {logits.dtype}", "floating point", "Give the output of the network, not labels.")
    expected = (truth.shape[0], num_classes, *truth.shape[2:])
    if logits.shape != expected:
        mend = f"Logits and target must agree in batch and size, and num_classes is {num_classes}."
        raise _bad("logits", f"shape {tuple(logits.shape)}", f"{tuple(expected)} to fit the target", mend)
    if logits.dtype != torch.float64:
        logits = logits.float()
    if not multilabel and num_classes > 1:
        others = [torch.cat((logits[:, :c], logits[:, c + 1 :]), 1).logsumexp(1) for c in range(1, num_classes)]
        logits = logits[:, 1:] - torch.stack(others, 1)
    if bool(valid.all()):
        return BinaryMaps.of(logits, truth.to(logits.dtype), None)
    logits = torch.where(valid, logits, 0)  # so that not even a NaN under an ignored pixel gets through
    return BinaryMaps.of(logits, truth.to(logits.dtype), valid)


def _bad(what: str, found: str, expected: str, mend: str) -> ValueError:
    return ValueError(f"{what}: found {found}; expected {expected}. {mend}")
