"""The two ways of the steps that are compiled where the machine has a C++ compiler, for the tests of both."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

_here = sys.platform.startswith("linux") and shutil.which(os.environ.get("CXX", "g++")) is not None
compiler = pytest.mark.skipif(not _here, reason="steps are compiled on Linux, with a C++ compiler")
# values of s2mnet.network.fused.WORTHWHILE
WAYS = [pytest.param(2**62, id="as written"), pytest.param(0, id="compiled", marks=compiler)]
