"""Paired comparisons against SciPy, enumeration and closed forms."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from s2mnet_lab.study.statistics import compare, compare_means, corrected, mean_over_seeds, paired


def test_one_set_against_scipy() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.02, 0.05, 60)
    comparison = compare(values)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=1)
    assert comparison.difference == pytest.approx(values.mean())
    assert (comparison.low, comparison.high) == pytest.approx(expected.confidence_interval, abs=6e-4)
    assert comparison.p == pytest.approx(stats.wilcoxon(values).pvalue)
    assert comparison.effect == pytest.approx(stats.ttest_1samp(values, 0).statistic / np.sqrt(60))
    assert comparison.effect_low < comparison.effect < comparison.effect_high


def test_the_permutation_test_against_all_signs() -> None:
    """With two sets of few images every draw of signs can be counted."""
    sets = [np.array([0.1, 0.3, -0.05, 0.2]), np.array([0.02, 0.1, 0.15])]
    observed = abs(np.mean([one.mean() for one in sets]))
    more = 0
    for signs in product((-1, 1), repeat=7):
        drawn = np.mean([np.mean(signs[:4] * sets[0]), np.mean(signs[4:] * sets[1])])
        more += abs(drawn) >= observed - 1e-12
    assert compare_means(sets).p == pytest.approx(more / 2**7, abs=0.015)


def test_sets_weigh_alike_whatever_their_size() -> None:
    comparison = compare_means([np.full(3, 0.2), np.full(300, 0.0)])
    assert comparison.difference == pytest.approx(0.1) and comparison.low == pytest.approx(0.1)


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        comparison = compare(rng.normal(0.3, 1.0, 80))
        inside += comparison.low <= 0.3 <= comparison.high
    assert 88 <= inside <= 100  # of 95 expected


def test_no_difference_is_none() -> None:
    comparison = compare(np.zeros(10))
    assert (comparison.difference, comparison.effect, comparison.p) == (0, 0, 1)
    assert compare(np.array([0.5])).effect == 0
    assert compare_means([np.zeros(4)]).p == 1


@given(st.dictionaries(st.text(min_size=1), st.tuples(*[st.floats(0, 1)] * 3), min_size=1))
def test_pairs_are_by_name(scores: dict[str, tuple[float, float, float]]) -> None:
    first = mean_over_seeds([{name: values[i] for name, values in scores.items()} for i in (0, 1)])
    second = {name: scores[name][2] for name in reversed(list(scores))}
    expected = [(scores[name][0] + scores[name][1]) / 2 - scores[name][2] for name in sorted(scores)]
    assert paired(first, second) == pytest.approx(np.array(expected))


def test_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="different images"):
        paired({"a": 1.0}, {"b": 1.0})


def test_bonferroni() -> None:
    assert corrected(0.004, 15) == pytest.approx(0.06) and corrected(0.2, 15) == 1
