"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("s2mnet", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("s2mnet")


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images with human masks, kept beside the repository and never in it; tests skip where they are missing."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "README.md").is_file():
        pytest.skip(f"needs the real images in {folder}, which are not on this machine")
    return folder
