"""Boxes against lesions."""

import numpy as np
import pytest

from volseg.evaluation.boxes import ScanMatch, average_precision, match_boxes

LESIONS = np.array([[0.0, 0, 0, 4, 4, 4], [10, 10, 10, 12, 12, 12]])


def scan(boxes, scores, lesions=LESIONS):
    return ScanMatch(np.array(boxes, float).reshape(-1, 6), np.array(scores, float), lesions)


def test_each_lesion_is_found_once_by_the_best_box_that_overlaps_enough():
    boxes = [
        [0, 0, 0, 4, 4, 3],  # 3/4 of the first
        [0, 0, 0, 4, 4, 4],  # all of it, but with a lower score: a false positive
        [10, 10, 10, 12, 12, 16],  # a third of both
        [20, 20, 20, 21, 21, 21],
    ]
    found, false = match_boxes(scan(boxes, [0.9, 0.8, 0.7, 0.6]), 0.3)
    assert found == [0.9, 0.7]
    assert false == [0.8, 0.6]
    found, false = match_boxes(scan(boxes, [0.9, 0.8, 0.7, 0.6]), 0.5)
    assert found == [0.9, -np.inf]
    assert false == [0.8, 0.7, 0.6]


def test_a_box_takes_the_lesion_that_it_overlaps_most():
    lesions = np.array([[0.0, 0, 0, 4, 4, 4], [2, 0, 0, 6, 4, 4]])
    found, false = match_boxes(
        scan([[1.9, 0, 0, 6, 4, 4], [0, 0, 0, 3, 4, 4]], [0.9, 0.5], lesions), 0.1
    )
    assert found == [0.5, 0.9]
    assert false == []


def test_to_touch_is_not_to_overlap_and_nothing_finds_nothing():
    touching = scan([[4, 0, 0, 8, 4, 4]], [0.9])
    assert match_boxes(touching, 0.0) == ([-np.inf, -np.inf], [0.9])
    assert match_boxes(scan([], []), 0.3) == ([-np.inf, -np.inf], [])
    none = np.zeros((0, 6))
    assert match_boxes(scan([[0, 0, 0, 1, 1, 1]], [0.4], none), 0.3) == ([], [0.4])


def test_the_average_precision_is_that_of_a_staircase_made_by_hand():
    first = scan(
        [[0, 0, 0, 4, 4, 4], [20, 20, 20, 22, 22, 22], [10, 10, 10, 12, 12, 13]], [0.9, 0.8, 0.7]
    )
    found = average_precision([first, scan([], [], np.zeros((0, 6)))])
    # precision 1 up to a recall of 1/2, then 2/3 (2/3 of the last box is lesion): 101 recalls
    assert found["ap_0.5"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-6)
    assert found["map"] == pytest.approx(found["ap_0.1"])
    assert set(found) == {"map", "ap_0.1", "ap_0.3", "ap_0.5"}
    worse = scan([[0, 0, 0, 4, 4, 4], [10, 10, 10, 12, 12, 18]], [0.9, 0.7])
    # the second overlaps by 1/4: it counts at least overlaps of 0.1 to 0.25, four of nine
    half, whole = 51 / 101, 1.0
    assert average_precision([worse])["map"] == pytest.approx((4 * whole + 5 * half) / 9, abs=1e-6)
