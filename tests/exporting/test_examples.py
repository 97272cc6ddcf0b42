"""The examples that need programs other than Python: their syntax, and the elements and names they refer to."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PAGE = (EXAMPLES / "browser" / "index.html").read_text("utf-8")
SCRIPT = PAGE.partition("<script>")[2].partition("</script>")[0]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_of_the_page_is_javascript(tmp_path: Path) -> None:
    (tmp_path / "script.js").write_text(SCRIPT)
    done = subprocess.run(["node", "--check", tmp_path / "script.js"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_has_every_element_that_its_script_uses() -> None:
    used = set(re.findall(r'byId\("(\w+)"\)', SCRIPT))
    assert len(used) > 5 and used == set(re.findall(r'id="(\w+)"', PAGE))


def test_the_page_loads_nothing_but_the_runtime() -> None:
    assert re.findall(r"https?://[^/\"]+", PAGE) == ["https://cdn.jsdelivr.net"]
