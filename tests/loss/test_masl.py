"""The loss as a whole: gradients, hard numbers, input checks, log and weights (SPEC 2 and 2.4)."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from s2mnet.data.labels import IGNORE_INDEX
from s2mnet.loss import DEFAULT_WEIGHTING, MASL, TERMS, WEIGHTINGS
from s2mnet.loss.dice_ce import DiceCrossEntropy
from s2mnet.loss.weights import INITIAL_WEIGHTS, TermWeights


def hard_targets(n: int = 20) -> dict[str, torch.Tensor]:
    empty = torch.zeros(1, n, n, dtype=torch.long)
    one = empty.clone()
    one[0, 3, 4] = 1
    one_valid = torch.full_like(empty, 255)
    one_valid[0, 3, 4] = 1
    return {"empty": empty, "full": empty + 1, "one pixel": one, "one valid pixel": one_valid}


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("name", hard_targets())
@pytest.mark.parametrize("value", [-100.0, -50.0, 0.0, 50.0, 100.0, "noise"])
def test_finite_loss_and_gradients(name: str, value: float | str, weighting: str) -> None:
    target = hard_targets()[name]
    for channels in (1, 3):
        for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
            logits = torch.randn(1, channels, 20, 20) * 50 if value == "noise" else torch.zeros(1, channels, 20, 20)
            if value != "noise":
                logits[:, -1] = value
            logits = logits.to(dtype).requires_grad_()
            criterion = MASL(channels, weighting=weighting)
            loss = criterion(logits, target)
            loss.backward()
            assert bool(loss.isfinite()) and bool(logits.grad.isfinite().all())
            assert all(bool(p.grad.isfinite().all()) for p in criterion.parameters())
            assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_all_ignored_is_exactly_zero(weighting: str) -> None:
    logits = torch.randn(2, 3, 9, 9, requires_grad=True)
    criterion = MASL(3, weighting=weighting)
    loss = criterion(logits, torch.full((2, 9, 9), 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in criterion.parameters())
    assert all(bool(value.isfinite()) for value in criterion.log.values())


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([torch.uint8, torch.int32, torch.int64, torch.bool]))
def test_small_maps_and_integer_types(height: int, width: int, dtype: torch.dtype) -> None:
    target = (torch.arange(2 * height * width).view(2, height, width) % 3 == 1).to(dtype)
    logits = torch.randn(2, 1, height, width, requires_grad=True)
    MASL()(logits, target).backward()
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("classes, multilabel", [(1, False), (3, False), (2, True)])
def test_gradcheck(weighting: str, classes: int, multilabel: bool) -> None:
    rng = np.random.default_rng(4)
    shape = (2, classes, 7, 6) if multilabel else (2, 7, 6)
    labels = [0, 1, 255] if multilabel or classes == 1 else [0, 1, 2, 255]
    target = torch.from_numpy(rng.choice(labels, shape))
    logits = torch.from_numpy(rng.standard_normal((2, classes, 7, 6))).requires_grad_()
    criterion = MASL(classes, multilabel, weighting=weighting, pull_limit=None).double()
    weights = list(criterion.parameters())
    assert torch.autograd.gradcheck(lambda z, *_: criterion(z, target), (logits, *weights), atol=1e-6)


def disc() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    return ((y - 50).hypot(x - 44) < 31).long()[None]


def test_autocast_does_not_touch_the_arithmetic() -> None:
    logits = torch.randn(1, 1, 96, 96).bfloat16()
    plain, shapes = MASL()(logits.float(), disc()), MASL().descriptors(disc())
    with torch.autocast("cpu", torch.bfloat16):
        inside, shapes_inside = MASL()(logits, disc()), MASL().descriptors(disc())
    assert inside.dtype == torch.float32 and inside.item() == plain.item()
    assert torch.equal(torch.stack(shapes_inside), torch.stack(shapes))


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_descending_the_loss_finds_the_mask(weighting: str) -> None:
    target = disc()[:, ::3, ::3]
    criterion, logits = MASL(weighting=weighting), torch.zeros(1, 1, 32, 32, requires_grad=True)
    optimiser = torch.optim.Adam([logits, *criterion.parameters()], lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        criterion(logits, target).backward()
        optimiser.step()
        criterion.project_()
    assert ((logits[:, 0] > 0).long() != target).sum() <= 0.02 * target.sum()


CONSTANT = torch.tensor([0.9, 0.3, 0.6, 0.05, 0.4])  # core, bnd, str, sca, tex


def descend(rule: TermWeights, alphas: torch.Tensor, steps: int, rate: float) -> None:
    optimiser = torch.optim.SGD(rule.parameters(), lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        rule(CONSTANT.view(5, 1, 1), alphas).sum().backward()
        optimiser.step()
        rule.project_()


def test_gradient_of_the_rule_as_written_is_the_closed_form() -> None:
    alpha = torch.tensor([1.5, 2.0, 1.2, 1.8, 1.4])
    rule = TermWeights(TERMS, "learned")
    loss = rule(CONSTANT.view(5, 1, 1), alpha.view(5, 1, 1)).squeeze()
    loss.backward()
    share = torch.tensor(list(INITIAL_WEIGHTS.values())) * alpha
    assert loss.item() == pytest.approx(((share * CONSTANT).sum() / share.sum()).item(), rel=1e-6)
    torch.testing.assert_close(rule.weight.grad, alpha * (CONSTANT - loss.detach()) / share.sum())


def test_the_rule_as_written_collapses_on_the_smallest_term() -> None:
    rule = TermWeights(TERMS, "learned")
    ones = torch.ones(5, 1, 1)
    before = rule(CONSTANT.view(5, 1, 1), ones).item()
    descend(rule, ones, 1, 0.1)
    after = rule.values.detach()
    assert after[3] > INITIAL_WEIGHTS["sca"] and after[0] < INITIAL_WEIGHTS["core"]
    descend(rule, ones, 3000, 1.0)
    after = dict(zip(TERMS, rule.values.tolist(), strict=True))
    assert after["sca"] == pytest.approx(10)  # the easiest at the upper bound
    assert after["core"] == after["str"] == pytest.approx(0.1)  # the hardest at the lower one
    assert rule(CONSTANT.view(5, 1, 1), ones).item() < 0.25 * before  # the loss fell though no term did


def test_uncertainty_weighting_settles_where_every_term_weighs_alike() -> None:
    alpha = torch.tensor([1.0, 2.0, 1.2, 2.4, 1.4]).view(5, 1, 1)
    rule = TermWeights(TERMS, "uncertainty")
    torch.testing.assert_close(rule.values.detach(), torch.tensor(list(INITIAL_WEIGHTS.values())))
    descend(rule, alpha, 2000, 0.2)
    torch.testing.assert_close(rule.values.detach(), 1 / (alpha.flatten() * CONSTANT), rtol=1e-3, atol=0)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_stay_in_bounds_and_can_leave_them_again(weighting: str) -> None:
    criterion = MASL(weighting=weighting)
    for push in (100.0, -100.0):
        with torch.no_grad():
            for parameter in criterion.parameters():
                parameter.add_(push)
        criterion.project_()
        assert all(0.1 <= w.item() <= 10 for w in criterion.weights.values())
        weight_sum = criterion.term_weights(
            torch.full((5, 1, 1), 0.3) * torch.arange(1, 6).view(5, 1, 1), torch.ones(5, 1, 1)
        )
        if weighting != "fixed":
            bound = 10 if (push > 0) == (weighting == "learned") else 0.1
            assert [w.item() for w in criterion.weights.values()] == pytest.approx([bound] * 5, rel=1e-5)
            weight_sum.sum().backward()
        assert all(bool((p.grad != 0).any()) for p in criterion.parameters())
    if weighting == "fixed":
        assert {term: w.item() for term, w in criterion.weights.items()} == INITIAL_WEIGHTS


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weights_live_in_the_state_dict(weighting: str) -> None:
    criterion = MASL(weighting=weighting)
    with torch.no_grad():
        for value in criterion.state_dict().values():
            value.add_(0.25)
    other = MASL(weighting=weighting)
    assert other.weights != criterion.weights
    other.load_state_dict(criterion.state_dict())
    assert {t: w.item() for t, w in other.weights.items()} == {t: w.item() for t, w in criterion.weights.items()}
    assert sum(p.numel() for p in criterion.parameters()) == (0 if weighting == "fixed" else 5)


def test_a_subset_of_terms_has_only_their_weights() -> None:
    criterion = MASL(terms=("tex", "core"), weighting="learned")
    assert criterion.terms == ("core", "tex")
    assert {term: w.item() for term, w in criterion.weights.items()} == {"core": 1.0, "tex": 0.5}


def test_log_holds_every_figure_without_gradient() -> None:
    criterion = MASL(weighting="learned")
    assert criterion.log == {}
    target = torch.zeros(2, 40, 40, dtype=torch.long)
    target[0, 5:25, 5:25] = 1
    target[1, 20, :] = 1
    loss = criterion(torch.randn(2, 1, 40, 40, requires_grad=True), target)
    names = {"loss"} | {f"{kind}/{term}" for kind in ("term", "alpha", "weight", "limit") for term in TERMS}
    names |= {f"descriptor/{name}" for name in ("tubularity", "compactness", "irregularity", "size")}
    assert set(criterion.log) == names
    assert all(value.dim() == 0 and not value.requires_grad for value in criterion.log.values())
    assert criterion.log["loss"].item() == loss.item()
    shapes = criterion.descriptors(target)
    assert criterion.log["descriptor/tubularity"].item() == pytest.approx(shapes.tubularity.mean().item(), rel=1e-6)
    tau, c = shapes.tubularity.mean().item(), shapes.compactness.mean().item()
    assert criterion.log["alpha/bnd"].item() == pytest.approx(1 + 1.5 * tau + c, rel=1e-6)
    assert criterion.log["weight/sca"].item() == 0.5


LOGITS, TARGET = torch.zeros(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)


@pytest.mark.parametrize(
    "criterion, logits, target, words",
    [
        (MASL(), LOGITS, TARGET.float(), ("float32", "integer", "target.long()")),
        (MASL(), LOGITS.long(), TARGET, ("int64", "floating point")),
        (MASL(), LOGITS, TARGET + 255 - 1, ("[254]", "0 to 1", "num_classes")),
        (MASL(), LOGITS[:1], torch.arange(64).view(1, 8, 8), ("[2, 3, 4, 5, 6, 7, 8, 9] and more, but",)),
        (MASL(), LOGITS[:1], torch.arange(64).view(1, 8, 8) % 10, ("[2, 3, 4, 5, 6, 7, 8, 9], but",)),
        (MASL(), LOGITS, TARGET + 0j, ("complex64", "integer", "target.long()")),
        (MASL(3), LOGITS.expand(2, 3, 8, 8), TARGET - 1, ("[-1]", "0 to 2")),
        (MASL(3), LOGITS.expand(2, 3, 8, 8), TARGET + 3, ("[3]", "0 to 2")),
        (MASL(2, multilabel=True), LOGITS.expand(2, 2, 8, 8), TARGET, ("(2, 8, 8)", "(B, 2, H, W)")),
        (MASL(2), LOGITS.expand(2, 2, 8, 8), TARGET[:, None].expand(2, 2, 8, 8), ("(2, 2, 8, 8)", "multilabel=True")),
        (MASL(), LOGITS[..., :7], TARGET, ("(2, 1, 8, 7)", "(2, 1, 8, 8)")),
        (MASL(), LOGITS[:1], TARGET, ("(1, 1, 8, 8)", "(2, 1, 8, 8)")),
        (MASL(3), LOGITS, TARGET, ("(2, 1, 8, 8)", "(2, 3, 8, 8)", "num_classes=3")),
        (MASL(), LOGITS[:0], TARGET[:0], ("(0, 1, 8, 8)", "at least one pixel")),
    ],
)
def test_bad_input_says_what_it_is_what_it_must_be_and_the_fix(
    criterion: MASL, logits: torch.Tensor, target: torch.Tensor, words: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as caught:
        criterion(logits, target)
    message = str(caught.value)
    assert re.fullmatch(r"(target|logits) ha(s|ve) .+, but .+\. [A-Z].+\.", message), message
    assert all(word in message for word in words), message


def test_bad_arguments_propose_the_valid_names() -> None:
    with pytest.raises(ValueError, match=r"weighting is 'uncertain'\. Use one of 'fixed', 'learned', 'uncertainty'"):
        MASL(weighting="uncertain")
    for terms in (("core", "dice"), (), "core", ("core", "core")):
        with pytest.raises(ValueError, match="'core', 'bnd', 'str', 'sca', 'tex'"):
            MASL(terms=terms)
    with pytest.raises(ValueError, match="num_classes"):
        MASL(num_classes=0)
    for limit in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"pull_limit is {limit}\. Use a number above 0, or None"):
            MASL(pull_limit=limit)
    assert DEFAULT_WEIGHTING in WEIGHTINGS


def test_losses_ignore_by_default_what_label_maps_write() -> None:
    assert MASL().ignore_index == DiceCrossEntropy().ignore_index == IGNORE_INDEX
