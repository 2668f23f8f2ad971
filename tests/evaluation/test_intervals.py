"""The bootstrap interval against closed forms and against SciPy's."""

from math import isnan, nan

import numpy as np
import pytest
from scipy.stats import bootstrap

from volseg.errors import DataError
from volseg.evaluation.intervals import mean_intervals


def mean_interval(values, groups=None, **settings):
    """Give the interval of one column."""
    (interval,) = mean_intervals(np.array(values, dtype=float)[:, None], groups, **settings)
    return interval


def test_interval_of_many_cases_is_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    interval = mean_interval(list(values))
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval.mean == pytest.approx(values.mean())
    # 10,000 draws know each end to about 2 % of the half width
    assert interval.low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.06 * half)


def test_interval_equals_scipys_percentile_interval():
    values = [0.91, 0.85, 0.4, 0.88, 0.93, 0.79]
    other = bootstrap((values,), np.mean, method="percentile", random_state=1)
    interval = mean_interval(values)
    assert interval.low == pytest.approx(other.confidence_interval.low, abs=0.01)
    assert interval.high == pytest.approx(other.confidence_interval.high, abs=0.01)


def test_groups_are_drawn_whole():
    # Two groups: a quarter of the draws takes the first twice, a quarter the second twice, so the
    # ends are the groups' own means, however many cases repeat them.
    values = [0.2, 0.4] + [0.9] * 50
    interval = mean_interval(values, ["first"] * 2 + ["second"] * 50)
    assert (interval.low, interval.high) == pytest.approx((0.3, 0.9))
    assert interval.mean == pytest.approx((0.6 + 45) / 52)
    assert mean_interval(values).low > 0.8


def test_a_narrower_level_gives_a_narrower_interval():
    values = list(range(20))
    wide, narrow = mean_interval(values), mean_interval(values, level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_same_seed_gives_the_same_interval_and_another_nearly_so():
    values = list(np.random.default_rng(2).random(30))
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values) != mean_interval(values, seed=1)


def test_cases_without_a_value_are_left_out_of_mean_and_count():
    interval = mean_interval([1.0, nan, 3.0])
    assert (interval.mean, interval.cases) == (2.0, 2)
    assert (interval.low, interval.high) == (1.0, 3.0)


def test_one_group_has_a_mean_but_no_interval():
    interval = mean_interval([1.0, 2.0], ["a", "a"])
    assert interval.mean == 1.5
    assert isnan(interval.low)
    assert isnan(interval.high)


def test_no_case_gives_nothing():
    interval = mean_interval([nan])
    assert isnan(interval.mean)
    assert interval.cases == 0


def test_groups_that_do_not_match_the_cases_are_refused():
    with pytest.raises(DataError, match="1 groups for 2 cases"):
        mean_interval([1.0, 2.0], ["a"])


def test_columns_do_not_touch_each_other():
    values = np.random.default_rng(3).random((12, 3))
    values[2, 1] = nan
    together = mean_intervals(values)
    for column, interval in enumerate(together):
        (alone,) = mean_intervals(values[:, [column]])
        # the matrix product may add in another order
        ends = (interval.mean, interval.low, interval.high)
        assert ends == pytest.approx((alone.mean, alone.low, alone.high), abs=1e-12)
    assert [interval.cases for interval in together] == [12, 11, 12]


def test_no_cases_at_all_give_an_empty_interval_a_column():
    intervals = mean_intervals(np.zeros((0, 2)))
    assert [interval.cases for interval in intervals] == [0, 0]
