"""Readers of downloads that no layout in the catalogue can describe."""
