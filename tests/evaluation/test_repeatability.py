"""Repeatability of volumes, by hand."""

from math import isnan, sqrt

import numpy as np
import pytest

from volseg.evaluation.repeatability import limits_of_agreement, within_subject_variation


def test_variation_is_the_root_mean_square_over_subjects():
    # 10 and 12 have mean 11 and variance 2; the constant subject has none
    pairs = np.array([[10.0, 12.0], [7.0, 7.0]])
    assert within_subject_variation(pairs) == pytest.approx(sqrt((2 / 121 + 0) / 2))


def test_a_subject_without_a_volume_or_a_repetition_says_nothing():
    rows = np.array([[0.0, 0.0], [5.0, np.nan], [9.0, 11.0]])
    assert within_subject_variation(rows) == pytest.approx(sqrt(2 / 100))
    assert isnan(within_subject_variation(rows[:2]))


def test_limits_of_agreement_are_those_of_bland_and_altman():
    found = limits_of_agreement(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 5.0]))
    # differences 1, 0, 2: mean 1, standard deviation 1
    assert (found.bias, found.low, found.high) == pytest.approx((1.0, -0.96, 2.96))
    assert found.subjects == 3


def test_one_subject_has_a_bias_and_no_limits():
    found = limits_of_agreement(np.array([1.0, np.nan]), np.array([4.0, 1.0]))
    assert (found.bias, found.subjects) == (3.0, 1)
    assert isnan(found.low)
