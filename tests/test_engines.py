"""The engines of prediction, tested in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_engines_in_a_process_of_their_own() -> None:
    # See s2mnet.engines.choose for why.
    file = Path(__file__).with_name("openvino_engine.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=file.parents[1])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
