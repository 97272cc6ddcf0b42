"""MASL, the morphology-aware adaptive segmentation loss (SPEC 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from s2mnet.loss import terms as term_functions
from s2mnet.loss.descriptors import Descriptors, describe
from s2mnet.loss.maps import BinaryMaps, binary_maps, binary_truth
from s2mnet.loss.modulation import modulation
from s2mnet.loss.weights import DEFAULT_WEIGHTING, TERMS, TermWeights


class MASL(nn.Module):
    """L(y, p) = Σ w_i α_i(y) L_i(y, p) / (Σ w_i α_i(y) + ε), i ∈ {core, bnd, str, sca, tex} (SPEC 2).

    Each sample and foreground class is a binary problem of its own. The loss of a sample is the mean over the classes
    present in it, or over all its foreground classes if none is (so that false positives cost something); the loss of
    a batch is the mean of the losses of its samples and depends on nothing else. A sample with every pixel ignored
    counts as 0. It computes in float32 (float64 for float64 logits) whatever the autocast state.

    Args:
        num_classes: channels of the logits. 1: sigmoid, foreground against background. K > 1: softmax over exclusive
            classes, channel 0 the background, which is no class of its own.
        multilabel: sigmoid per channel, each a foreground class, for classes that overlap (BraTS ET ⊂ TC ⊂ WT).
        weighting: how w_i move, a name out of `s2mnet.loss.WEIGHTINGS`. Give the parameters of the loss to the
            optimiser (without weight decay) and call `project_` after each of its steps.
        terms: which of the five take part.
        modulation: False sets every α_i = 1.
        ignore_index: the label that is left out of every term and descriptor; with `multilabel`, per element.

    Raises:
        ValueError: an unknown term or weighting, no term at all, a num_classes below 1.

    Attributes:
        log: figures of the latest call for the training log, 0-d tensors without gradient: "loss", "term/core" …,
            "alpha/core" …, "weight/core" …, "descriptor/tubularity" …. Terms, α and descriptors are means over the
            samples and classes that counted. Reading one on a GPU is what synchronises, not the call. Empty before the
            first call.

    Example:
        >>> criterion = MASL()
        >>> target = torch.zeros(2, 32, 32, dtype=torch.long); target[:, 8:20, 8:20] = 1
        >>> logits = torch.zeros(2, 1, 32, 32, requires_grad=True)
        >>> criterion(logits, target).backward()
        >>> round(float(criterion.log["term/core"]), 2), bool(logits.grad.isfinite().all())
        (0.98, True)
    """

    def __init__(
        self,
        num_classes: int = 1,
        multilabel: bool = False,
        weighting: str = DEFAULT_WEIGHTING,
        terms: Sequence[str] = TERMS,
        modulation: bool = True,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes: found {num_classes}; expected 1 or more, the channels of the logits.")
        unknown = [term for term in terms if term not in TERMS]
        if isinstance(terms, str) or unknown or not terms or len(set(terms)) < len(terms):
            raise ValueError(
                f"terms: found {terms!r}; expected a sequence of some of {', '.join(map(repr, TERMS))}, each once."
            )
        self.num_classes, self.multilabel, self.ignore_index = num_classes, multilabel, ignore_index
        self.modulation = modulation
        self.term_weights = TermWeights([term for term in TERMS if term in terms], weighting)
        self.log: dict[str, Tensor] = {}

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms that take part, in the order of `s2mnet.loss.TERMS`."""
        return self.term_weights.terms

    @property
    def weights(self) -> dict[str, Tensor]:
        """The present w_i by term, 0-d tensors without gradient, whatever the weighting."""
        return dict(zip(self.terms, self.term_weights.values.detach().clone(), strict=True))

    def project_(self) -> None:
        """Put the weights back inside [0.1, 10] (SPEC 2.4); call it after every step of the optimiser."""
        self.term_weights.project_()

    def descriptors(self, target: Tensor) -> Descriptors:
        """The four descriptors of the true masks (SPEC 2.1).

        Args:
            target: integer labels, (B, H, W) or (B, 1, H, W); with multilabel (B, num_classes, H, W).

        Returns:
            tubularity, compactness, irregularity and size, each (B, foreground classes) float32 in [0, 1].

        Raises:
            ValueError: wrong dtype, shape or label.

        Example:
            >>> target = torch.zeros(1, 32, 32, dtype=torch.long); target[:, 8:16, 8:16] = 1
            >>> MASL().descriptors(target).size
            tensor([[0.0625]])
        """
        return describe(*self._truth(target))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch, a 0-d tensor.

        Args:
            logits: (B, num_classes, H, W), floating point, before sigmoid or softmax.
            target: integer labels, (B, H, W) or (B, 1, H, W); with multilabel (B, num_classes, H, W).

        Raises:
            ValueError: wrong dtypes, shapes or labels.
        """
        truth, valid = self._truth(target)
        with torch.autocast(logits.device.type, enabled=False):
            maps = binary_maps(logits, truth, valid, self.num_classes, self.multilabel)
            shapes = describe(truth, valid)
            losses = self._losses(maps, shapes)
            alphas = modulation(shapes, self.terms) if self.modulation else torch.ones_like(losses)
            share = _share(truth, valid, losses.dtype)
            loss = (share * self.term_weights(losses, alphas.to(losses.dtype))).sum()
            self.log = self._figures(loss, losses, alphas, shapes, share)
        return loss

    def extra_repr(self) -> str:
        return (
            f"num_classes={self.num_classes}, multilabel={self.multilabel}, weighting={self.term_weights.weighting!r}, "
            f"terms={self.terms}, modulation={self.modulation}, ignore_index={self.ignore_index}"
        )

    def _truth(self, target: Tensor) -> tuple[Tensor, Tensor]:
        return binary_truth(target, self.num_classes, self.multilabel, self.ignore_index)

    def _losses(self, maps: BinaryMaps, shapes: Descriptors) -> Tensor:
        compute = {
            "core": lambda: term_functions.core(maps),
            "bnd": lambda: term_functions.multiscale_boundary(maps),
            "str": lambda: term_functions.structure(maps, shapes.compactness),
            "sca": lambda: term_functions.scale(maps, shapes.size),
            "tex": lambda: term_functions.texture(maps),
        }
        return torch.stack([compute[term]() for term in self.terms])

    @torch.no_grad()
    def _figures(
        self, loss: Tensor, losses: Tensor, alphas: Tensor, shapes: Descriptors, share: Tensor
    ) -> dict[str, Tensor]:
        share = share / share.sum().clamp(min=torch.finfo(share.dtype).tiny)
        figures = {"loss": loss.detach()}
        for i, term in enumerate(self.terms):
            figures[f"term/{term}"] = (share * losses[i]).sum()
            figures[f"alpha/{term}"] = (share * alphas[i]).sum()
            figures[f"weight/{term}"] = self.weights[term]
        for name, value in shapes._asdict().items():
            figures[f"descriptor/{name}"] = (share * value).sum()
        return figures


def _share(truth: Tensor, valid: Tensor, dtype: torch.dtype) -> Tensor:
    """The part of each sample and class in the loss of the batch (SPEC 2.5; without foreground **ours**), (B, F)."""
    present, usable = truth.flatten(2).any(2), valid.flatten(2).any(2)
    counted = torch.where(present.any(1, keepdim=True), present, usable).to(dtype)
    return counted / counted.sum(1, keepdim=True).clamp(min=1) / len(counted)
