"""Areas under curves, against their definitions."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from volseg.evaluation.ranking import average_precision, roc_area

items = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30)


def split(pairs):
    return np.array([float(score) for score, _ in pairs]), np.array([flag for _, flag in pairs])


@given(items)
def test_the_roc_area_is_the_share_of_pairs_in_the_right_order(pairs):
    scores, sought = split(pairs)
    wins = [
        1.0 if high > low else 0.5 * (high == low)
        for high in scores[sought]
        for low in scores[~sought]
    ]
    if wins:
        assert roc_area(scores, sought) == pytest.approx(np.mean(wins))
    else:
        assert isnan(roc_area(scores, sought))


@given(items)
def test_the_average_precision_takes_ties_together(pairs):
    scores, sought = split(pairs)
    if not sought.any():
        assert isnan(average_precision(scores, sought))
        return
    precisions = [sought[scores >= score].mean() for score in scores[sought]]
    assert average_precision(scores, sought) == pytest.approx(np.mean(precisions))


def test_a_map_that_says_the_same_everywhere_has_the_areas_of_chance():
    sought = np.array([True, False, False, False])
    assert roc_area(np.ones(4), sought) == 0.5
    assert average_precision(np.ones(4), sought) == 0.25
