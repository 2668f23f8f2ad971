"""Scores against the number of labelled cases."""

from math import isnan, nan

import numpy as np
import pytest

from volseg.evaluation.curves import Run, compare_arms, summarise_runs

GROUPS = {"a": "1", "b": "1", "c": "2"}


def run(arm, seed, values, cases=4):
    dice = {name: [value, value] for name, value in zip("abc", values, strict=True)}
    return Run(arm, cases, seed, dice)


def test_a_point_is_the_mean_over_runs_and_cases():
    runs = [run("x", 0, (0.2, 0.4, 0.6)), run("x", 1, (0.6, 0.8, 1.0)), run("x", 0, (1, 1, 1), 8)]
    first, second = summarise_runs(runs, GROUPS)
    assert first.dice.mean == pytest.approx(0.6)
    assert first.spread == pytest.approx(np.std([0.4, 0.8], ddof=1))
    # the worst draw is the first run's first group again and again, the best the second's second;
    # an interval over cases alone would lie within 0.5 and 0.8
    assert 0.3 <= first.dice.low < 0.45
    assert 0.85 < first.dice.high <= 1.0
    assert (second.cases, second.runs, isnan(second.spread)) == (8, 1, True)


def test_arms_are_compared_seed_by_seed():
    runs = [
        *(run("pre", seed, (0.5 + seed / 10, 0.6, 0.7)) for seed in (0, 1, 2)),
        *(run("scratch", seed, (0.4 + seed / 10, 0.5, 0.6)) for seed in (1, 2, 3)),
    ]
    (found,) = compare_arms(runs, GROUPS, "pre", "scratch")
    assert found.seeds == 2
    ends = (found.difference.mean, found.difference.low, found.difference.high)
    assert ends == pytest.approx((0.1, 0.1, 0.1))


def test_a_run_that_went_badly_widens_the_interval_more_than_the_cases_do():
    good = [run("x", seed, (0.8, 0.8, 0.8)) for seed in range(3)]
    (point,) = summarise_runs([*good, run("x", 3, (0.0, 0.0, 0.0))], GROUPS)
    assert point.dice.low < 0.45
    assert point.zero_runs == 1


def test_a_class_that_a_case_lacks_does_not_count_and_survives_json():
    one = Run("x", 4, 0, {"a": [0.5, nan], "b": [nan, nan], "c": [0.7, 0.9]})
    assert one.means()["a"] == 0.5
    (point,) = summarise_runs([one], GROUPS)
    assert point.dice.mean == pytest.approx(np.mean([0.5, 0.8]))
    again = Run.from_json(one.to_json())
    assert isnan(again.dice["a"][1])
    assert one.to_json()["dice"]["a"] == [0.5, None]
