"""nnU-Net v2 as a peer of a study: its own plan, trainer and predictor, in an environment of its own."""
