"""Measurements inside a trained network, on the data that it was trained on."""
