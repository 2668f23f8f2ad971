"""The bootstrap over runs and cases."""

from math import isnan, nan

import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.hierarchical import compare_runs, holm, run_intervals
from volseg.evaluation.intervals import mean_intervals


def test_with_one_run_the_interval_is_that_over_cases():
    values = np.random.default_rng(0).random((1, 30, 2))
    groups = [str(n // 2) for n in range(30)]
    ours = run_intervals(values, groups)
    others = mean_intervals(values[0], groups)
    for one, other in zip(ours, others, strict=True):
        assert one.mean == pytest.approx(other.mean)
        # 10,000 other draws know each end to a few percent of the width
        assert one.low == pytest.approx(other.low, abs=0.05 * (other.high - other.low))
        assert one.high == pytest.approx(other.high, abs=0.05 * (other.high - other.low))


def test_runs_that_differ_widen_the_interval_as_cases_alone_do_not():
    # Every case of a run has the same value, so all of the spread is between the two runs: a
    # quarter of the draws takes the first twice, a quarter the second.
    values = np.stack([np.zeros((20, 1)), np.ones((20, 1))])
    (interval,) = run_intervals(values, [str(n) for n in range(20)])
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_a_difference_that_one_of_two_runs_makes_is_not_clear():
    groups = [str(n) for n in range(20)]
    bad = np.stack([np.full((20, 1), 0.5), np.zeros((20, 1))])
    good = np.zeros((2, 20, 1))
    (found,) = compare_runs(bad, good, groups)
    assert found.difference == 0.25
    assert not found.is_clear
    # Over cases alone the same means would be beyond doubt
    (alone,) = compare_runs(bad.mean(axis=0, keepdims=True), good[:1], groups)
    assert alone.is_clear


def test_both_arms_see_the_same_cases():
    hard = np.random.default_rng(1).random((1, 12, 1))
    (found,) = compare_runs(hard + 0.01, hard, [str(n) for n in range(12)])
    assert (found.low, found.high) == (pytest.approx(0.01), pytest.approx(0.01))


def test_an_arm_does_not_differ_from_itself():
    values = np.random.default_rng(2).random((1, 10, 3))
    for found in compare_runs(values, values, [str(n) for n in range(10)]):
        assert (found.difference, found.low, found.high, found.p_holm) == (0, 0, 0, 1)


def test_what_is_missing_is_left_out():
    values = np.array([[[1.0], [nan], [3.0]]])
    (interval,) = run_intervals(values, ["a", "b", "c"])
    assert (interval.mean, interval.cases) == (2.0, 2)
    (lost,) = run_intervals(np.full((1, 3, 1), nan), ["a", "b", "c"])
    assert isnan(lost.mean)
    assert lost.cases == 0


def test_holm_is_monotone_and_leaves_what_is_no_number():
    assert holm([0.04, nan, 0.01]) == [0.04, pytest.approx(nan, nan_ok=True), 0.02]
    assert holm([0.9, 0.6]) == [1.0, 1.0]


def test_arms_of_other_cases_are_refused():
    with pytest.raises(DataError, match=r"\(3, 1\) and \(4, 1\) cases"):
        compare_runs(np.zeros((1, 3, 1)), np.zeros((1, 4, 1)), ["a"] * 3)
    with pytest.raises(DataError, match="2 groups for 3 cases"):
        run_intervals(np.zeros((1, 3, 1)), ["a", "b"])
