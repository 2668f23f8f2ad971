"""From outcomes to drops: by hand."""

import numpy as np
import pytest

from volseg.evaluation.outcomes import (
    UNCHANGED,
    Condition,
    Measure,
    Outcome,
    Outcomes,
    worst_outcomes,
)
from volseg.evaluation.robustness import effects, shift_results

CASES = ("a", "b", "c")


def outcome(arm, case, condition, dice, *, before=0.9, run=0, volume=2.0):
    now, then = Measure(dice, dice, volume), Measure(before, before, 2.0)
    return Outcome(arm, run, case, condition, {"tumour": now}, {"tumour": then})


def study(arm, *losses):
    """One arm: no loss unchanged, then a loss for each strength of noise; case c twice the loss."""
    found = [outcome(arm, case, UNCHANGED, 0.9) for case in CASES]
    for strength, loss in enumerate(losses, start=1):
        for case in CASES:
            more = 2 if case == "c" else 1
            condition = Condition("noise", float(strength))
            found.append(outcome(arm, case, condition, 0.9 - more * loss, volume=2.0 + more * loss))
    return found


def test_a_drop_is_unchanged_minus_changed():
    found = {each.condition: each for each in effects(Outcomes(study(0, 0.1, 0.3)))}
    assert found[UNCHANGED].drop.mean == 0
    assert (found[UNCHANGED].drop.low, found[UNCHANGED].drop.high) == (0, 0)
    assert found[Condition("noise", 1)].drop.mean == pytest.approx(0.4 / 3)
    assert found[Condition("noise", 2)].dice.mean == pytest.approx(0.9 - 0.4)
    assert found[Condition("noise", 2)].quartiles[0] == pytest.approx(0.3)


def test_lost_cases_and_volumes_are_counted():
    found = {each.condition: each for each in effects(Outcomes(study(0, 0.42)))}
    noisy = found[Condition("noise", 1)]
    assert noisy.failures == pytest.approx(1 / 3)  # c is left with 0.06
    assert noisy.volumes["tumour"].bias == pytest.approx((0.42 + 0.42 + 0.84) / 3)


def test_a_shift_is_the_mean_over_its_strengths_and_volumes_vary_by_case():
    (found,) = shift_results(Outcomes(study(0, 0.1, 0.3)))
    assert found.drops[0].mean == pytest.approx((0.2 + 0.2 + 0.4) / 3)
    assert found.comparison is None
    rows = np.array([[2, 2.1, 2.3], [2, 2.1, 2.3], [2, 2.2, 2.6]]) / 2
    relative = (rows.var(axis=1, ddof=1) / rows.mean(axis=1) ** 2).mean() ** 0.5
    assert found.variation[0]["tumour"] == pytest.approx(relative)


def test_the_comparison_of_two_arms_is_the_difference_of_their_drops():
    (found,) = shift_results(Outcomes([*study(0, 0.3), *study(1, 0.1)]))
    assert found.comparison.difference == pytest.approx(0.4 - 0.4 / 3)
    assert found.comparison.low > 0


def test_an_arm_that_starts_lower_does_not_drop_more():
    low = [
        outcome(0, case, condition, 0.5, before=0.5)
        for case in CASES
        for condition in (UNCHANGED, Condition("noise", 1))
    ]
    (found,) = shift_results(Outcomes([*low, *study(1, 0.0)]))
    assert found.comparison.difference == 0


def test_the_worst_cases_are_of_other_cases_and_other_shifts():
    rotated = [outcome(0, case, Condition("rotation", 5), 0.85) for case in CASES]
    found = worst_outcomes(Outcomes([*study(0, 0.1, 0.3), *rotated]), 3)
    assert [(each.case, each.condition.shift) for each in found] == [
        ("c", "noise"),
        ("a", "rotation"),
    ]
    assert found[0].condition.strength == 2


def test_groups_are_drawn_together():
    groups = {"a": "first", "b": "first", "c": "second"}
    found = effects(Outcomes(study(0, 0.1), groups))
    # Two groups: the ends are their own means
    assert (found[1].drop.low, found[1].drop.high) == pytest.approx((0.1, 0.2))
