"""Public data sets: their descriptions, and their downloads as data folders."""

from __future__ import annotations

from s2mnet.datasets.prepare import PreparedSummary, prepare
from s2mnet.datasets.record import PublicSet
from s2mnet.datasets.sets import DATASETS, describe_datasets

__all__ = ["DATASETS", "PreparedSummary", "PublicSet", "describe_datasets", "prepare"]
