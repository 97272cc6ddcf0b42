"""What the collection of doctests skips here: nnU-Net imports the trainer, in its own environment."""

collect_ignore = ["trainer.py"]
