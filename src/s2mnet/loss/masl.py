"""MASL, the morphology-aware adaptive segmentation loss (SPEC 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from s2mnet.device import plain_forms
from s2mnet.loss import terms as term_functions
from s2mnet.loss.descriptors import Descriptors, describe
from s2mnet.loss.maps import BinaryMaps, binary_maps, binary_truth
from s2mnet.loss.modulation import modulation
from s2mnet.loss.slopes import closed_slopes
from s2mnet.loss.weights import DEFAULT_WEIGHTING, TERMS, TermWeights

# As a fraction of the pull of L_core (**ours**): L_core then has at least half of the total pull of the five terms.
# Chosen on validation images of Kvasir-SEG and BUSI (docs/decisions.md).
DEFAULT_PULL_LIMIT = 0.25


class MASL(nn.Module):
    """L(y, p) = Σ w_i α_i(y) L_i(y, p) / (Σ w_i α_i(y) + ε), i ∈ {core, bnd, str, sca, tex} (SPEC 2).

    Each sample and foreground class is a binary problem. The loss of a sample is the mean over the classes present in
    it, or over all foreground classes if none is present (so that false positives cost something). The loss of a batch
    is the mean over its samples; a sample whose pixels are all ignored counts as 0. All arithmetic is float32 (float64
    for float64 logits), also under autocast.

    Args:
        num_classes: channels of the logits. 1: sigmoid, foreground against background. More: softmax over exclusive
            classes; channel 0 is the background and not a class.
        multilabel: one sigmoid per channel, each a foreground class, for overlapping classes (BraTS ET ⊂ TC ⊂ WT).
        weighting: how the w_i are learned, a name from `s2mnet.loss.WEIGHTINGS`. Pass the parameters of the loss to the
            optimiser (without weight decay) and call `project_` after each step.
        terms: which of the five terms to use.
        modulation: False sets every α_i = 1.
        pull_limit: upper limit for the pull of a term on the prediction of one sample and class, as a fraction of the
            pull of L_core or, without L_core, of the first term in use (see `pulls`). Where a term exceeds it, its
            weight is lowered for that step (**ours**). None: the equation as written.
        ignore_index: pixels with this label count in no term or descriptor; with `multilabel`, per channel.

    Raises:
        ValueError: unknown term or weighting, no terms, num_classes below 1, or pull_limit not above 0.

    Attributes:
        log: figures of the latest call, 0-d tensors without gradient: "loss", "term/core" …, "alpha/core" …,
            "weight/core" …, "limit/core" … (the fraction of the weight that `pull_limit` leaves; absent without a
            limit), "descriptor/tubularity" …. Terms, α, limits and descriptors are means over the samples and classes
            that counted. They stay on the device: reading one synchronises a GPU. Empty before the first call.

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
        pull_limit: float | None = DEFAULT_PULL_LIMIT,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}. Set it to the channels of the logits, at least 1.")
        unknown = [term for term in terms if term not in TERMS]
        if unknown or not terms or len(set(terms)) < len(terms):
            raise ValueError(f"terms is {terms!r}. List some of {', '.join(map(repr, TERMS))}, each once.")
        if pull_limit is not None and not pull_limit > 0:
            raise ValueError(f"pull_limit is {pull_limit}. Use a number above 0, or None for no limit.")
        self.num_classes, self.multilabel, self.ignore_index = num_classes, multilabel, ignore_index
        self.modulation, self.pull_limit = modulation, pull_limit
        self.term_weights = TermWeights([term for term in TERMS if term in terms], weighting)
        self.log: dict[str, Tensor] = {}

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms in use, in the order of `s2mnet.loss.TERMS`."""
        return self.term_weights.terms

    @property
    def weights(self) -> dict[str, Tensor]:
        """The current w_i by term, 0-d tensors without gradient."""
        return dict(zip(self.terms, self.term_weights.values.detach().clone(), strict=True))

    def project_(self) -> None:
        """Clamp the weights to [0.1, 10] (SPEC 2.4). Call after each optimiser step."""
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

    def pulls(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The value L_i of each term and its pull w_i α_i Σ |∂L_i/∂z|, summed over pixels, before `pull_limit`.

        z is the logit of a pixel and class, so the pull is the gradient that reaches the network. The value of a term
        does not show it: a ripple of one pixel lengthens an outline, and so changes κ, far more than it changes any
        overlap. On blobs L_str pulls four to five times as hard as L_core; without a limit the network learns little
        else (docs/decisions.md).

        Args:
            logits, target: as for `forward`.

        Returns:
            values and pulls, both (terms, B, foreground classes), in the order of `terms`, without gradient.

        Raises:
            ValueError: wrong dtypes, shapes or labels.

        Example:
            >>> target = torch.zeros(1, 32, 32, dtype=torch.long); target[:, 8:20, 8:20] = 1
            >>> criterion = MASL(terms=("core", "tex"))
            >>> values, pulls = criterion.pulls(torch.randn(1, 1, 32, 32), target)
            >>> pulls.shape
            torch.Size([2, 1, 1])
        """
        truth, valid = self._truth(target)
        with torch.autocast(logits.device.type, enabled=False):
            maps, shapes = binary_maps(logits, truth, valid, self.num_classes, self.multilabel), describe(truth, valid)
            values, slopes = self._slopes(maps, shapes)
            return values, self._pulls(slopes, self._alphas(shapes, maps.logits.dtype))

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
            alphas = self._alphas(shapes, maps.logits.dtype)
            if self.pull_limit is None:
                losses, limits = torch.stack(self._terms(maps, shapes)), torch.ones_like(alphas)
            else:
                values, slopes = self._slopes(maps, shapes)
                losses = _WithSlopes.apply(maps.logits, values, slopes)
                limits = _limits(self._pulls(slopes, alphas), self.pull_limit)
            share = _share(truth, valid, losses.dtype)
            loss = (share * self.term_weights(losses, limits * alphas)).sum()
            self.log = self._figures(loss, losses, alphas, limits, shapes, share)
        return loss

    def extra_repr(self) -> str:
        return (
            f"num_classes={self.num_classes}, multilabel={self.multilabel}, weighting={self.term_weights.weighting!r}, "
            f"terms={self.terms}, modulation={self.modulation}, pull_limit={self.pull_limit}, "
            f"ignore_index={self.ignore_index}"
        )

    def _truth(self, target: Tensor) -> tuple[Tensor, Tensor]:
        return binary_truth(target, self.num_classes, self.multilabel, self.ignore_index)

    def _terms(self, maps: BinaryMaps, shapes: Descriptors) -> list[Tensor]:
        compute = {
            "core": lambda: term_functions.core(maps),
            "bnd": lambda: term_functions.multiscale_boundary(maps),
            "str": lambda: term_functions.structure(maps, shapes.compactness),
            "sca": lambda: term_functions.scale(maps, shapes.size),
            "tex": lambda: term_functions.texture(maps),
        }
        return [compute[term]() for term in self.terms]

    def _alphas(self, shapes: Descriptors, dtype: torch.dtype) -> Tensor:
        alphas = modulation(shapes, self.terms)
        return (alphas if self.modulation else torch.ones_like(alphas)).to(dtype)

    def _slopes(self, maps: BinaryMaps, shapes: Descriptors) -> tuple[Tensor, Tensor]:
        """The terms L_i, (n, B, F), and their gradients ∂L_i/∂z, (n, B, F, H, W); both detached."""
        if not plain_forms():
            compactness, size = (value.to(maps.logits.dtype) for value in (shapes.compactness, shapes.size))
            return closed_slopes(maps, compactness, size, self.terms)
        with torch.enable_grad():
            z = maps.logits.detach().requires_grad_()
            terms = self._terms(BinaryMaps.of(z, maps.truth, maps.valid), shapes)
            slopes = [
                # A map of one pixel has no differences, so L_bnd and L_tex do not depend on it.
                torch.autograd.grad(term.sum(), z, retain_graph=True)[0] if term.requires_grad else torch.zeros_like(z)
                for term in terms
            ]
        return torch.stack(terms).detach(), torch.stack(slopes)

    def _pulls(self, slopes: Tensor, alphas: Tensor) -> Tensor:
        weights = self.term_weights.values.detach().to(alphas.dtype)[:, None, None]
        return weights * alphas * slopes.abs().sum((-2, -1))

    @torch.no_grad()
    def _figures(
        self, loss: Tensor, losses: Tensor, alphas: Tensor, limits: Tensor, shapes: Descriptors, share: Tensor
    ) -> dict[str, Tensor]:
        share = share / share.sum().clamp(min=torch.finfo(share.dtype).tiny)
        weights, figures = self.weights, {"loss": loss.detach()}
        for i, term in enumerate(self.terms):
            figures[f"term/{term}"] = (share * losses[i]).sum()
            figures[f"alpha/{term}"] = (share * alphas[i]).sum()
            figures[f"weight/{term}"] = weights[term]
            if self.pull_limit is not None:
                figures[f"limit/{term}"] = (share * limits[i]).sum()
        for name, value in shapes._asdict().items():
            figures[f"descriptor/{name}"] = (share * value).sum()
        return figures


def _limits(pulls: Tensor, pull_limit: float) -> Tensor:
    """The factor in [0, 1] for each w_i α_i, (n, B, F); it depends on its sample and class alone."""
    ceiling = pull_limit * pulls[:1]
    limits = torch.where(pulls > ceiling, ceiling / pulls, 1)
    return torch.cat((torch.ones_like(limits[:1]), limits[1:]))


class _WithSlopes(torch.autograd.Function):
    """Attaches known gradients to the terms. Each term depends on the logits of its own sample and class alone."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(slopes)
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return torch.einsum("nbf,nbfhw->bfhw", gradient, slopes), None, None


def _share(truth: Tensor, valid: Tensor, dtype: torch.dtype) -> Tensor:
    """Share of each sample and class in the batch's loss, (B, F) (SPEC 2.5; without foreground **ours**)."""
    present, usable = truth.flatten(2).any(2), valid.flatten(2).any(2)
    counted = torch.where(present.any(1, keepdim=True), present, usable).to(dtype)
    return counted / counted.sum(1, keepdim=True).clamp(min=1) / len(counted)
