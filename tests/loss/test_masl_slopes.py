"""The closed forms of the terms' gradients against autograd through the plain terms, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from s2mnet.loss import MASL, TERMS
from s2mnet.loss.descriptors import describe
from s2mnet.loss.maps import BinaryMaps, binary_maps, binary_truth
from s2mnet.loss.slopes import closed_slopes


def by_autograd(criterion: MASL, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and slopes of the terms at the binary logits, one backward pass each."""
    truth, valid = binary_truth(target, criterion.num_classes, criterion.multilabel, 255)
    maps = binary_maps(logits, truth, valid, criterion.num_classes, criterion.multilabel)
    z = maps.logits.detach().requires_grad_()
    terms = criterion._terms(BinaryMaps.of(z, maps.truth, maps.valid), describe(truth, valid))
    slopes = [torch.autograd.grad(term.sum(), z, retain_graph=True)[0] for term in terms]
    return torch.stack(terms).detach(), torch.stack(slopes)


def closed(criterion: MASL, logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    truth, valid = binary_truth(target, criterion.num_classes, criterion.multilabel, 255)
    maps, shapes = (
        binary_maps(logits, truth, valid, criterion.num_classes, criterion.multilabel),
        describe(truth, valid),
    )
    dtype = logits.dtype
    return closed_slopes(maps, shapes.compactness.to(dtype), shapes.size.to(dtype), criterion.terms)


@given(
    classes=st.integers(1, 4),
    height=st.integers(5, 40),
    width=st.integers(5, 40),
    scale=st.sampled_from([0.0, 0.1, 3.0, 40.0]),
    ignored=st.sampled_from([0.0, 0.2, 1.0]),
    smooth=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_slopes_are_those_of_autograd(
    classes: int, height: int, width: int, scale: float, ignored: float, smooth: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = (3, height, width)
    labels = (ndimage.gaussian_filter(rng.standard_normal(shape), (0, 3, 3)) > 0) * rng.integers(
        1, max(2, classes), shape
    )
    labels[0] = 0
    labels[1:][rng.random((2, height, width)) < ignored] = 255
    logits = scale * rng.standard_normal((3, classes, height, width))
    if smooth:
        logits = ndimage.gaussian_filter(logits, (0, 0, 2, 2))
    criterion, target = MASL(classes), torch.from_numpy(labels)
    expected = by_autograd(criterion, torch.from_numpy(logits), target)
    for found, known in zip(closed(criterion, torch.from_numpy(logits), target), expected, strict=True):
        torch.testing.assert_close(found, known, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("terms", [TERMS, ("str",), ("bnd", "core")])
def test_one_switch_gives_the_plain_form(terms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    target = torch.from_numpy((ndimage.gaussian_filter(rng.standard_normal((2, 48, 40)), (0, 4, 4)) > 0).astype(int))
    gradients, passes, original = [], [], torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: passes.append(1) or original(*a, **k))
    for plain, expected in (("0", 0), ("1", len(terms))):
        monkeypatch.setenv("S2MNET_PLAIN", plain)
        logits = torch.from_numpy(np.random.default_rng(4).standard_normal((2, 1, 48, 40))).requires_grad_()
        MASL(terms=terms)(logits, target).backward()
        assert len(passes) == expected
        gradients.append(logits.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-15)


def test_a_map_of_one_pixel_has_no_differences() -> None:
    values, slopes = closed(MASL(), torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.long))
    assert values[TERMS.index("bnd")] == values[TERMS.index("tex")] == 0
    assert not slopes[TERMS.index("bnd")].any() and slopes.isfinite().all()
