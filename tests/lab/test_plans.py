"""The page of plans."""

from __future__ import annotations

import shutil
from pathlib import Path

from s2mnet_lab.plans import plans_page


def test_a_row_and_the_reasons_of_each_set(tiny_data: Path, tmp_path: Path) -> None:
    """Twelve colour images of 48×64 px, eight to train; the data folder exists, so no download is needed."""
    shutil.copytree(tiny_data, tmp_path / "work" / "DRIVE")
    text = plans_page(tmp_path, tmp_path / "work", ["DRIVE"])
    assert "| DRIVE | 12 (8) | 48×64 | " in text and "| red green blue | " in text
    assert "**DRIVE**\n\n- labels: two labels" in text and text.count("\n- ") > 5
