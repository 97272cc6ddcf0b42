"""The mean of a feature map by whichever way is faster: that of float64, with the gradient of a mean."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from s2mnet.network.fast.operations import spatial_mean

SIDES = st.integers(1, 40)
DTYPES = [torch.float64, torch.float32, torch.bfloat16]


@given(st.integers(1, 3), st.integers(1, 20), SIDES, SIDES, st.sampled_from(DTYPES), st.booleans())
def test_it_is_the_mean(batch: int, channels: int, height: int, width: int, dtype: torch.dtype, last: bool) -> None:
    x = (torch.randn(batch, channels, height, width) + 0.3).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    found = spatial_mean(x)
    assert found.dtype == dtype and found.shape == (batch, channels, 1, 1)
    # bf16 is rounded once, at the end: half a unit in its last of eight places.
    torch.testing.assert_close(
        found.double(),
        x.double().mean((2, 3), keepdim=True),
        rtol=2**-8 if dtype == torch.bfloat16 else 1e-6,
        atol=1e-6,
    )


def test_sums_of_many_bf16_values_are_not_in_bf16() -> None:
    x = torch.full((1, 2, 300, 300), 1.0, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    assert spatial_mean(x).flatten().tolist() == [1.0, 1.0]  # a sum in bf16 stops at 256


@pytest.mark.parametrize("dtype", DTYPES)
def test_its_gradient(dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 8, 4, dtype=dtype, requires_grad=True)
    [found] = torch.autograd.grad(spatial_mean(x).sum(), x)
    assert found.dtype == dtype and (found == 1 / 32).all()
