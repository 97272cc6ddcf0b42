"""MASL, the morphology-aware adaptive segmentation loss (SPEC 2).

| SPEC | file |
|---|---|
| 2, the loss itself | `masl.py` |
| 2.1 descriptors of the true mask | `descriptors.py`; perimeter and compactness in `geometry.py` |
| 2.2 modulation α | `modulation.py` |
| 2.3 the five terms | `terms.py` |
| 2.4 weights w and how they are learned | `weights.py` |
| 2.5 several classes, overlapping regions, ignored pixels | `maps.py` |
"""

from __future__ import annotations

from s2mnet.loss.descriptors import Descriptors
from s2mnet.loss.masl import DEFAULT_PULL_LIMIT, MASL
from s2mnet.loss.weights import DEFAULT_WEIGHTING, TERMS, WEIGHTINGS

__all__ = ["DEFAULT_PULL_LIMIT", "DEFAULT_WEIGHTING", "MASL", "TERMS", "WEIGHTINGS", "Descriptors"]
