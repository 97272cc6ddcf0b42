"""SPEC 2.2, 2.3 and 2.5 against an independent NumPy/SciPy computation, on random and on real masks."""

from __future__ import annotations

from pathlib import Path

import masl_oracle as oracle
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, special

from s2mnet.loss import MASL, TERMS, WEIGHTINGS
from s2mnet.loss.modulation import modulation


def blobs(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), (*[0] * (len(shape) - 2), 1.5, 1.5))
    return noise > np.quantile(noise, 1 - share)


def expected(
    criterion: MASL, logits: np.ndarray, truth: np.ndarray, valid: np.ndarray
) -> tuple[float, dict[str, float]]:
    """Loss and terms of a batch as written; truth and valid are bool (B, F, H, W). Nothing comes from the package."""
    losses, rows = [], []
    for b in range(len(logits)):
        y, v = truth[b] & valid[b], valid[b]
        classes = [c for c in range(len(y)) if y[c].any()] or [c for c in range(len(y)) if v[c].any()]
        per_class = []
        for c in classes:
            log_p, log_not_p = (x[c] for x in oracle.log_probabilities(logits[b], criterion.multilabel))
            terms = oracle.five_terms(log_p, log_not_p, y[c], v[c])
            shape = oracle.shape(y[c], v[c])
            alpha = oracle.alphas(shape["tubularity"], shape["compactness"], shape["irregularity"])
            if not criterion.modulation:
                alpha = dict.fromkeys(alpha, 1.0)
            share = {t: oracle.START[t] * alpha[t] for t in criterion.terms}
            per_class.append(sum(share[t] * terms[t] for t in share) / sum(share.values()))
            rows.append((terms, len(classes)))
        losses.append(np.mean(per_class) if per_class else 0.0)
    counted = sum(1 / n for _, n in rows) or 1
    return float(np.mean(losses)), {t: sum(row[t] / n for row, n in rows) / counted for t in criterion.terms}


def check(criterion: MASL, logits: np.ndarray, target: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> None:
    loss, terms = expected(criterion, logits, truth, valid)
    value = criterion(torch.from_numpy(logits), torch.from_numpy(target))
    for term in criterion.terms:
        assert criterion.log[f"term/{term}"].item() == pytest.approx(terms[term], abs=1e-5), term
    assert value.dtype == torch.float64
    assert value.item() == pytest.approx(loss, abs=1e-5)


sizes = st.integers(1, 24)
shares = st.sampled_from([0.0, 0.02, 0.1, 0.4, 1.0])


@given(sizes, sizes, shares, st.booleans(), st.integers(0, 2**31))
def test_binary(height: int, width: int, share: float, ignoring: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((2, 1, height, width))
    truth = blobs(rng, (2, 1, height, width), share)
    valid = rng.random(truth.shape) > (0.2 if ignoring else -1)
    target = np.where(valid, truth, 255)
    check(MASL(pull_limit=None), logits, target[:, 0], truth, valid)
    check(MASL(modulation=False, pull_limit=None, terms=("sca", "bnd")), logits, target, truth, valid)


@given(st.integers(2, 4), sizes, sizes, st.booleans(), st.integers(0, 2**31))
def test_exclusive_classes(classes: int, height: int, width: int, ignoring: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = (
        rng.integers(0, classes + 1, (3, height // 4 + 1, width // 4 + 1)).repeat(4, 1).repeat(4, 2)[:, :height, :width]
    )
    labels = np.where(labels == classes, 0, labels)
    labels[0] = 0  # no foreground at all
    labels[1][labels[1] == 1] = 0  # one class missing
    logits = 3 * rng.standard_normal((3, classes, height, width))
    valid = rng.random(labels.shape) > (0.2 if ignoring else -1)
    truth = np.stack([labels == c for c in range(1, classes)], 1)
    mask = np.broadcast_to(valid[:, None], truth.shape)
    check(MASL(classes, pull_limit=None), logits, np.where(valid, labels, 255), truth, mask)


@given(st.integers(1, 3), sizes, sizes, st.booleans(), st.integers(0, 2**31))
def test_overlapping_classes(classes: int, height: int, width: int, ignoring: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (2, classes, height, width)
    truth = blobs(rng, shape, 0.3)
    truth[0, 0] = False
    valid = rng.random(shape) > (0.2 if ignoring else -1)
    valid[1, 0] &= not ignoring  # a class ignored as a whole
    criterion = MASL(classes, multilabel=True, pull_limit=None)
    check(criterion, 3 * rng.standard_normal(shape), np.where(valid, truth, 255), truth, valid)


def test_real_masks(shared_data: Path) -> None:
    files = [
        shared_data / "DRIVE/test/1st_manual/01_manual1.gif",
        *sorted(shared_data.glob("Kvasir-SEG/masks/*.jpg"))[:2],
    ]
    truth = np.stack([np.array(Image.open(f).convert("L").resize((160, 144))) > 127 for f in files])[:, None]
    rng = np.random.default_rng(0)
    logits = ndimage.gaussian_filter(6.0 * truth - 3, (0, 0, 2, 2)) + rng.standard_normal(truth.shape)
    valid = np.ones_like(truth)
    check(MASL(pull_limit=None), logits, truth[:, 0].astype(np.uint8), truth, valid)
    valid[..., :20] = False
    check(MASL(pull_limit=None), logits, np.where(valid, truth, 255)[:, 0], truth, valid)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31))
def test_the_batch_is_the_mean_of_its_samples(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = torch.from_numpy(rng.choice([0, 1, 2, 255], (4, height, width), p=[0.5, 0.3, 0.1, 0.1]))
    target[0] = 0
    target[1] = 255
    logits = torch.from_numpy(rng.standard_normal((4, 3, height, width)))
    for weighting in ("fixed", "uncertainty"):
        criterion = MASL(3, weighting=weighting)
        alone = [criterion(logits[i : i + 1], target[i : i + 1]) for i in range(4)]
        assert criterion(logits, target).item() == pytest.approx(torch.stack(alone).mean().item(), abs=1e-7)


def test_two_softmax_classes_are_a_sigmoid_of_the_difference() -> None:
    target = torch.from_numpy(blobs(np.random.default_rng(1), (2, 33, 47), 0.2)).long()
    logits = torch.randn(2, 2, 33, 47, dtype=torch.float64)
    two, one = MASL(2)(logits, target), MASL(1)(logits[:, 1:] - logits[:, :1], target)
    assert two.item() == pytest.approx(one.item(), abs=1e-12)


@pytest.mark.parametrize("size, gamma", [(0.04, 3.0), (0.05, 2.0), (0.19, 2.0), (0.20, 1.5), (1.0, 1.5)])
def test_focal_exponent_follows_the_size(size: float, gamma: float) -> None:
    target = (torch.arange(100).view(1, 10, 10) < round(100 * size)).long()
    criterion = MASL(terms=("sca",))
    assert criterion(torch.zeros(1, 1, 10, 10), target).item() == pytest.approx(0.5**gamma * np.log(2), rel=1e-5)


def test_perfect_and_inverted_predictions() -> None:
    target = torch.from_numpy(blobs(np.random.default_rng(2), (2, 64, 64), 0.2)).long()
    z = 100.0 * target[:, None] - 50
    for term in TERMS:
        criterion = MASL(terms=(term,))
        assert criterion(z, target).item() == pytest.approx(0, abs=1e-5), term
        assert criterion(-z, target).item() > 0.02, term


def test_empty_truth_rewards_an_empty_prediction_and_punishes_false_positives() -> None:
    for criterion, channels in ((MASL(), 1), (MASL(3), 3)):
        target = torch.zeros(1, 32, 32, dtype=torch.long)
        empty = torch.full((1, channels, 32, 32), -50.0)
        if channels > 1:
            empty[:, 0] = 50
        wrong = empty.clone()
        wrong[:, -1, 4:20, 4:20] = 60
        assert criterion(empty, target).item() == pytest.approx(0, abs=1e-6)
        assert criterion(wrong, target).item() > 0.2


@given(st.integers(0, 2**31))
def test_empty_truth_asks_for_no_shape(seed: int) -> None:
    """κ = 0 of an empty mask is no shape to imitate: a long outline has it, and a speckled prediction."""
    logits = torch.from_numpy(3 * np.random.default_rng(seed).standard_normal((1, 1, 24, 24))).requires_grad_()
    target = torch.zeros(1, 24, 24, dtype=torch.long)
    criterion = MASL(terms=["str"])
    loss = criterion(logits, target)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_structure_smooths_a_ragged_outline() -> None:
    rows, columns = np.mgrid[:96, :96]
    disc = (np.hypot(rows - 48, columns - 48) < 25)[None]
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((1, 96, 96)), 1)
    ragged = 0.1 + 0.8 * (noise + 0.6 * disc > 0.3)
    logits = torch.from_numpy(special.logit(ragged))[None].requires_grad_()
    criterion, target = MASL(terms=["str"]), torch.from_numpy(disc.astype(int))
    losses = [criterion(logits, target)]
    (slope,) = torch.autograd.grad(losses[0], logits)
    losses.append(criterion(logits - 0.2 * slope.sign(), target))
    assert losses[1] < losses[0]


@given(st.sampled_from([0.02, 0.25, 1.0]), st.sampled_from(sorted(WEIGHTINGS)), st.booleans(), st.integers(0, 2**31))
def test_no_term_outweighs_core(limit: float, weighting: str, ignoring: bool, seed: int) -> None:
    """The gradient of the whole against that of each term alone, joined by hand; z is the logit of one class."""
    rng = np.random.default_rng(seed)
    truth = blobs(rng, (2, 2, 20, 22), 0.2)
    truth[0, 0] = False
    target = torch.from_numpy(np.where(rng.random(truth.shape) < 0.1 * ignoring, 255, truth))
    logits = torch.from_numpy(rng.standard_normal(truth.shape)).requires_grad_()
    criterion = MASL(2, multilabel=True, pull_limit=limit, weighting=weighting).double()
    alphas = modulation(criterion.descriptors(target), TERMS).double()
    weights = torch.stack(list(criterion.weights.values()))
    slopes, pulls = [], []
    for i, term in enumerate(TERMS):
        per_map = [
            MASL(terms=[term], pull_limit=None)(logits[b : b + 1, c : c + 1], target[b : b + 1, c])
            for b in range(2)
            for c in range(2)
        ]
        slopes.append(torch.autograd.grad(sum(per_map), logits)[0])
        pulls.append(weights[i] * alphas[i] * slopes[-1].abs().sum((-2, -1)))
    torch.testing.assert_close(criterion.pulls(logits, target)[1], torch.stack(pulls), rtol=1e-6, atol=1e-12)
    most = limit * pulls[0]
    scale = torch.stack(
        [torch.ones_like(most)] + [torch.where(pull > most, most / pull, torch.ones_like(pull)) for pull in pulls[1:]]
    )
    share = weights.view(5, 1, 1) * alphas * scale
    joined = share / 5 if weighting == "uncertainty" else share / share.sum(0)
    part = torch.tensor([[0.0, 0.5], [0.25, 0.25]])  # the empty class of the first sample does not count
    expected = sum(j[..., None, None] * slope for j, slope in zip(part * joined, slopes, strict=True))
    (gradient,) = torch.autograd.grad(-3 * criterion(logits, target), logits)
    torch.testing.assert_close(gradient, -3 * expected, rtol=1e-6, atol=1e-10)


def test_by_default_no_term_pulls_more_than_a_quarter_of_core_and_the_log_says_what_is_left() -> None:
    rng = np.random.default_rng(7)
    truth = blobs(rng, (2, 2, 40, 44), 0.2)
    truth[0, 0] = False  # so that this class of the first sample does not count
    logits, target = torch.from_numpy(rng.standard_normal(truth.shape)), torch.from_numpy(truth).long()
    criterion = MASL(2, multilabel=True)
    criterion(logits, target)
    pulls = criterion.pulls(logits, target)[1]
    left = (0.25 * pulls[0] / pulls).clamp(max=1)
    left[0] = 1  # L_core itself
    share = torch.tensor([[0.0, 0.5], [0.25, 0.25]])
    means = (left * share).sum((1, 2))
    assert 0 < means.min() < 0.9
    logged = torch.stack([criterion.log[f"limit/{term}"] for term in TERMS])
    torch.testing.assert_close(logged, means, rtol=1e-6, atol=0)
    for name, values in criterion.descriptors(target)._asdict().items():
        assert criterion.log[f"descriptor/{name}"].item() == pytest.approx((share * values).sum().item(), rel=1e-6)


@pytest.mark.parametrize("classes, multilabel", [(1, False), (3, False), (2, True)])
def test_any_label_can_be_the_ignored_one(classes: int, multilabel: bool) -> None:
    highest = 2 if classes == 3 else 1
    shape = (2, classes, 12, 14) if multilabel else (2, 12, 14)
    target = torch.from_numpy(np.random.default_rng(0).integers(0, highest + 1, shape))
    logits = torch.randn(2, classes, 12, 14)
    own, usual = MASL(classes, multilabel, ignore_index=highest), MASL(classes, multilabel)
    replaced = torch.where(target == highest, 255, target)
    assert own(logits, target).item() == usual(logits, replaced).item()
    assert torch.equal(torch.stack(own.descriptors(target)), torch.stack(usual.descriptors(replaced)))


def test_ignored_pixels_change_nothing_whatever_they_hold() -> None:
    target = torch.from_numpy(blobs(np.random.default_rng(3), (1, 24, 24), 0.3)).long()
    target[:, 5:15, 8:20] = 255
    logits = torch.randn(1, 1, 24, 24)
    loss = MASL()(logits, target)
    hidden = logits.clone()
    hidden[:, :, 5:15, 8:20] = float("nan")
    hidden.requires_grad_()
    other = MASL()(hidden, target)
    other.backward()
    assert other.item() == loss.item()
    assert torch.equal(hidden.grad[:, :, 5:15, 8:20], torch.zeros(1, 1, 10, 12))
    assert bool(hidden.grad.isfinite().all())
