"""Freed memory is kept where the C library can: then the same tensors again ask the system for no new page."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
from s2mnet.allocator import keep_freed_memory
for word in sys.argv[1:]:
    assert keep_freed_memory(word == "keep")
import torch

def pages(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        x = torch.ones(2, 3000, 3000, requires_grad=True)
        (x * 2).mul_(x.detach()).sum().backward()  # the last part in a thread of autograd's
        del x
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# The least of several: until the holes between the tensors have found their places, there are new pages in any case.
print(min(pages(4) for _ in range(8)) * resource.getpagesize() // 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library cannot be told")
@pytest.mark.parametrize(("calls", "few"), [([], False), (["keep"], True), (["keep", "leave"], False)])
def test_fresh_pages(calls: list[str], few: bool) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *calls], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    megabytes = int(done.stdout)
    assert (megabytes < 150) if few else (megabytes > 800), megabytes  # 4 rounds of 4 tensors of 72 MB
