"""The weights w of the five terms, and how they are learned (SPEC 2.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

INITIAL_WEIGHTS = {"core": 1.0, "bnd": 1.0, "str": 1.0, "sca": 0.5, "tex": 0.5}
TERMS = tuple(INITIAL_WEIGHTS)
BOUNDS = (0.1, 10.0)
WEIGHTINGS = {
    "fixed": "the initial values (1, 1, 1, 0.5, 0.5), not learned",
    "learned": "SPEC 2.4 as written: w_i learned through the normalised loss; collapses onto the smallest term",
    "uncertainty": "w_i = exp(−s_i), with −log w_i added to the loss; w_i tends to 1 / (α_i L_i)",
}
DEFAULT_WEIGHTING = "fixed"
# ε in Σ w_i α_i + ε. The sum is at least 0.1; ε is here only because SPEC 2 has it.
NORMALISATION_EPS = 1e-8


class TermWeights(nn.Module):
    """The weights w_i, the rule that updates them, and how they combine the terms (SPEC 2 and 2.4).

    | rule | loss of one sample and class | w is a |
    |---|---|---|
    | fixed | L = Σ w_i α_i L_i / (Σ w_i α_i + ε) | buffer |
    | learned | the same; ∂L/∂w_i = α_i (L_i − L) / (Σ w_i α_i + ε) | parameter w |
    | uncertainty | 1/n · Σ (w_i α_i L_i − log w_i) | parameter s = −log w |

    **"learned" is a trap** (SPEC 2.4). Its gradient is negative for every term below the mean L, so gradient descent
    raises the weight of small terms and lowers that of hard ones, until the smallest has 10 and the hard ones 0.1. This
    is the paper's rule, not the default. "uncertainty" (homoscedastic uncertainty, Kendall et al. 2018; this form is
    **ours**) converges to w_i = 1 / mean(α_i L_i): all terms count equally, none wins by being small. The loss may
    become negative.

    Args:
        terms: names from `TERMS`.
        weighting: a name from `WEIGHTINGS`.

    Raises:
        ValueError: unknown weighting; the message lists the valid names.

    Example:
        >>> rule = TermWeights(("core", "tex"), "learned")
        >>> loss = rule(torch.tensor([0.9, 0.1]).view(2, 1, 1), torch.ones(2, 1, 1))
        >>> loss.sum().backward()
        >>> [round(g, 3) for g in rule.weight.grad.tolist()]  # descent lowers the hard term's weight
        [0.178, -0.356]
    """

    def __init__(self, terms: Sequence[str], weighting: str = DEFAULT_WEIGHTING) -> None:
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise ValueError(f"weighting is {weighting!r}. Use one of {', '.join(map(repr, WEIGHTINGS))}.")
        self.terms, self.weighting = tuple(terms), weighting
        start = torch.tensor([INITIAL_WEIGHTS[term] for term in terms])
        if weighting == "fixed":
            self.register_buffer("weight", start)
        elif weighting == "learned":
            self.weight = nn.Parameter(start)
        else:
            self.log_variance = nn.Parameter(-start.log())

    @property
    def values(self) -> Tensor:
        """w_i in the order of `terms`, (n,); differentiable if they are learned."""
        return self.weight if self.weighting != "uncertainty" else torch.exp(-self.log_variance)

    def forward(self, losses: Tensor, alphas: Tensor) -> Tensor:
        """Combine the terms: `losses` and `alphas` are (n, B, F), the result is (B, F)."""
        w = self.values.to(losses.dtype)[:, None, None]
        if self.weighting == "uncertainty":
            return (w * alphas * losses - w.log()).mean(0)
        return (w * alphas * losses).sum(0) / ((w * alphas).sum(0) + NORMALISATION_EPS)

    @torch.no_grad()
    def project_(self) -> None:
        """Clamp the weights to [0.1, 10]. Call after each optimiser step."""
        low, high = BOUNDS
        if self.weighting == "learned":
            self.weight.clamp_(low, high)
        elif self.weighting == "uncertainty":
            margin = 1e-6  # keeps exp within the bounds despite rounding
            self.log_variance.clamp_(-math.log(high) + margin, -math.log(low) - margin)
