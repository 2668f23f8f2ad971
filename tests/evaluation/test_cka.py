"""Centred kernel alignment."""

import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.cka import LEAST, align_all, linear_cka


def test_rotation_scale_and_shift_do_not_matter():
    random = np.random.default_rng(0)
    features = random.standard_normal((20, 5))
    turn = np.linalg.qr(random.standard_normal((5, 5)))[0]
    assert linear_cka(features, 3 * features @ turn + 7) == pytest.approx(1, abs=1e-9)


def test_noise_of_many_features_is_not_alike():
    one, other = np.random.default_rng(0).standard_normal((2, 40, 100))
    assert abs(linear_cka(one, other)) < 0.03  # the biased estimate gives 0.71 here


def test_it_is_the_sum_over_four_samples_at_a_time():
    """The unbiased HSIC is a U-statistic: Song et al. 2012, equation 5, by brute force."""

    def hsic(one, other):
        count = len(one)
        k, l = one @ one.T, other @ other.T  # noqa: E741 - as in the paper
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)
        parts = np.trace(k @ l) + k.sum() * l.sum() / ((count - 1) * (count - 2))
        return (parts - 2 * (k @ l).sum() / (count - 2)) / (count * (count - 3))

    one, other = np.random.default_rng(1).standard_normal((2, LEAST, 3))
    other += one
    expected = hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))
    assert linear_cka(one, other) == pytest.approx(expected)


def test_what_does_not_vary_has_no_value_and_each_is_like_itself():
    one = np.random.default_rng(2).standard_normal((LEAST, 4))
    found = align_all({"one": one, "flat": np.ones((LEAST, 2))})
    assert found["one"]["one"] == pytest.approx(1)
    assert np.isnan(found["one"]["flat"])


def test_too_few_or_unequal_samples_are_refused():
    one = np.ones((LEAST, 2))
    with pytest.raises(DataError, match="CKA of 7 samples needs at least 8; give more cases"):
        linear_cka(one[:7], one[:7])
    with pytest.raises(DataError, match="CKA of 8 and 3 samples needs the same in both"):
        linear_cka(one, one[:3])
