"""Pretraining on many data sets at once, for weights that other trainings start from: corpus → network → model folder."""
