"""Public data sets: their descriptions, and their downloads as data folders."""

from __future__ import annotations

from s2mnet.datasets.catalogue import DATASETS, describe_datasets
from s2mnet.datasets.prepare import PreparedSummary, prepare
from s2mnet.datasets.record import PublicSet

__all__ = ["DATASETS", "PreparedSummary", "PublicSet", "describe_datasets", "prepare"]
