"""Anomaly maps against lesions, by hand."""

from math import isnan

import numpy as np
import pytest

from volseg.evaluation.anomaly import rank_case, summarise, trivial_maps

FOREGROUND = np.ones((4, 1, 1), bool)


def rank(name, chart, lesion, intensities, score=0.0):
    maps = {"ours": np.array(chart, float)[:, None, None]}
    maps |= trivial_maps(np.array(intensities, float)[:, None, None])
    scores = dict.fromkeys(maps, score)
    truth = np.array(lesion, bool)[:, None, None]
    return rank_case(name, maps, scores, truth, FOREGROUND)


def test_a_dark_lesion_is_found_by_the_dark_map_and_missed_by_the_bright_one():
    found = rank("a", [0, 0, 0, 1], [0, 0, 0, 1], [1, 2, 3, -4])
    assert found.areas == {"ours": 1, "bright": 0, "dark": 1, "unusual intensity": 1}
    assert found.precisions["bright"] == 0.25
    assert found.lesion_share == 0.25


def test_the_gain_is_over_the_best_map_that_needs_no_training():
    cases = [rank(name, [0, 0, 0, 1], [0, 0, 0, 1], [4, 2, 1, 3]) for name in "ab"]
    found = summarise(cases)
    # bright puts the lesion second (1/2), dark third (1/3), and so does unusual (1/2)
    assert found["bright"].precision.mean == 0.5
    assert found["ours"].gain.mean == 0.5
    assert found["bright"].gain.mean == 0
    assert isnan(found["ours"].case_area)


def test_normal_cases_count_for_the_scores_only():
    ill = rank("ill", [0, 0, 0, 1], [0, 0, 0, 1], [1, 2, 3, 4], score=2.0)
    well = rank("well", [0, 1, 0, 1], [0, 0, 0, 0], [1, 2, 3, 4], score=1.0)
    found = summarise([ill, well])
    assert found["ours"].case_area == 1
    assert found["ours"].area.cases == 1
    assert found["ours"].area.mean == 1


def test_a_lesion_outside_the_foreground_is_said_to_be_lost():
    maps = trivial_maps(np.arange(4.0)[:, None, None])
    inside = np.array([True, True, True, False])[:, None, None]
    lesion = np.array([False, False, True, True])[:, None, None]
    found = rank_case("a", maps, {}, lesion, inside)
    assert found.lost_share == 0.5
    assert found.lesion_share == pytest.approx(1 / 3)
