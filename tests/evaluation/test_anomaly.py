"""Anomaly maps against lesions, by hand."""

from math import isnan

import numpy as np
import pytest

from volseg.evaluation.anomaly import compare_maps, rank_case, summarise, trivial_maps

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


def test_maps_are_compared_case_by_case_and_normal_cases_do_not_count():
    # case by case ours has 1 and 1, bright 1/2 and 1/4: the differences are 1/2 and 3/4
    cases = [
        rank("a", [0, 0, 0, 1], [0, 0, 0, 1], [4, 2, 1, 3]),
        rank("b", [0, 0, 0, 1], [0, 0, 0, 1], [4, 3, 2, 1]),
        rank("well", [0, 1, 0, 1], [0, 0, 0, 0], [1, 2, 3, 4]),
    ]
    (found,) = compare_maps(cases, [("ours", "bright")])
    assert found.precision.mean == pytest.approx(5 / 8)
    assert (found.precision.low, found.precision.high) == (1 / 2, 3 / 4)
    assert found.precision.cases == 2
    assert found.area.mean == pytest.approx((1 - 2 / 3 + 1 - 0) / 2)
    (back,) = compare_maps(cases, [("bright", "ours")])
    assert back.area.mean == -found.area.mean
    assert compare_maps(cases, []) == []


def test_runs_are_drawn_as_well_as_cases():
    def run(number, chart):
        maps = {"ours": np.array(chart, float)[:, None, None]}
        if number == 0:
            maps |= trivial_maps(np.array([4.0, 2, 1, 3])[:, None, None])
        truth = np.array([0, 0, 0, 1], bool)[:, None, None]
        return [
            rank_case(name, maps, dict.fromkeys(maps, 0.0), truth, FOREGROUND, number)
            for name in "ab"
        ]

    cases = run(0, [0, 0, 0, 1]) + run(1, [1, 1, 1, 0])
    found = summarise(cases)
    # one run finds the lesion first (1), the other last (1/4); bright and unusual second (1/2)
    assert found["ours"].precision.mean == (1 + 1 / 4) / 2
    assert (found["ours"].precision.low, found["ours"].precision.high) == (1 / 4, 1)
    assert found["ours"].gain.mean == (1 + 1 / 4) / 2 - 1 / 2
    assert found["bright"].precision.mean == found["bright"].precision.high == 1 / 2
    (gap,) = compare_maps(cases, [("ours", "bright")], is_paired=False)
    assert gap.precision.mean == found["ours"].gain.mean
    assert (gap.precision.low, gap.precision.high) == (-1 / 4, 1 / 2)
    assert gap.precision.cases == 2


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
    assert found.foreground_share == 0.75
    assert found.lesion_share == pytest.approx(1 / 3)
