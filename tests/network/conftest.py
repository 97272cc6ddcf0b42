"""What the tests of the network share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn


def _randomise(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                noise = torch.randn_like(tensor)
                tensor.copy_(1 + noise.abs() if name.endswith("running_var") else tensor + 0.1 * noise)
    return module


@pytest.fixture
def randomise() -> Callable[[nn.Module], nn.Module]:
    """Moves every parameter and running statistic off its start: at ones and zeros, wrong code can look right."""
    return _randomise
