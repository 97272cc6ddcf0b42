"""Fast forms, with and without a C++ compiler, for the tests of both."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from torch import nn

from s2mnet.network.fast import accelerate

_here = sys.platform.startswith("linux") and shutil.which(os.environ.get("CXX", "g++")) is not None
compiler = pytest.mark.skipif(not _here, reason="steps are compiled on Linux, with a C++ compiler")
# values of s2mnet.network.fast.fused.WORTHWHILE
WAYS = [pytest.param(2**62, id="as written"), pytest.param(0, id="compiled", marks=compiler)]


def fast(module: nn.Module) -> nn.Module:
    """The module itself, with its fast forms for training on a CPU."""
    accelerated = accelerate(module, "train", "cpu")
    assert accelerated.network is module and accelerated.installed
    return module
