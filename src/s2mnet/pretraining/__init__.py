"""Pretraining on many data sets at once: from a corpus to weights that other trainings start from."""
