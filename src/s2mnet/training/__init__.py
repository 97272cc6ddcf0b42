"""Training: samples and their augmentation, the Lightning module, what happens around the steps, the run."""
