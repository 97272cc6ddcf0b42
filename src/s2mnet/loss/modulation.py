"""Modulation of the five terms by the shape of the true mask (SPEC 2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from s2mnet.loss.descriptors import Descriptors


def modulation(descriptors: Descriptors, terms: Sequence[str]) -> Tensor:
    """α_i, the factor of each term for the shape of a mask (SPEC 2.2).

    α_core = 1 + 0.5c · α_bnd = 1 + 1.5τ + c · α_str = 1 + τ · α_sca = 1 + 1.5ι · α_tex = 1 + ι

    Args:
        descriptors: of the true masks, each (B, F).
        terms: names from `s2mnet.loss.TERMS`.

    Returns:
        α, (len(terms), B, F), at least 1.

    Example:
        >>> half = torch.full((1, 1), 0.5)
        >>> modulation(Descriptors(half, half, half, half), ("core", "bnd", "str", "sca", "tex")).flatten().tolist()
        [1.25, 2.25, 1.5, 1.75, 1.5]
    """
    tau, c, iota = descriptors.tubularity, descriptors.compactness, descriptors.irregularity
    alphas = {"core": 1 + 0.5 * c, "bnd": 1 + 1.5 * tau + c, "str": 1 + tau, "sca": 1 + 1.5 * iota, "tex": 1 + iota}
    return torch.stack([alphas[term] for term in terms])
