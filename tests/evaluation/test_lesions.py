"""Lesions as objects."""

import numpy as np
import pytest

from volseg.errors import DataError
from volseg.evaluation.lesions import CaseLesions, Lesion, find_lesions, match_lesions, sum_up

ONE_ML = np.diag([10.0, 10, 10, 1])
SPOT = Lesion((0, 0, 0), (1, 1, 1), 1.0)


def masks():
    """Two lesions, of 4 voxels and of 1, the first of them joined by a corner alone."""
    mask = np.zeros((8, 8, 8), bool)
    mask[1:3, 1, 1] = True
    mask[3:5, 2, 2] = True
    mask[6, 6, 6] = True
    return mask


def test_parts_have_boxes_and_volumes_and_corners_join():
    numbers, lesions = find_lesions(masks(), ONE_ML)
    assert [(each.start, each.stop) for each in lesions] == [
        ((1, 1, 1), (5, 3, 3)),
        ((6, 6, 6), (7, 7, 7)),
    ]
    assert [each.ml for each in lesions] == pytest.approx([4, 1])
    assert np.bincount(numbers.ravel()).tolist() == [507, 4, 1]
    numbers, lesions = find_lesions(masks(), ONE_ML, least_ml=2)
    assert len(lesions) == 1
    assert numbers.max() == 1


def test_one_voxel_finds_a_lesion_unless_more_is_asked_for():
    reference, _ = find_lesions(masks(), ONE_ML)
    said = np.zeros((8, 8, 8), bool)
    said[1, 1, 1] = said[0, 7, 7] = True  # a quarter of the first lesion, and nothing
    parts, _ = find_lesions(said, ONE_ML)
    order = [float(parts[1, 1, 1] == 1) * 0.5 + 0.25, float(parts[0, 7, 7] == 1) * 0.5 + 0.25]
    scores = np.zeros(2)
    scores[parts[1, 1, 1] - 1], scores[parts[0, 7, 7] - 1] = order
    found, false = match_lesions(parts, reference, scores, overlap=0.25)
    assert found == [order[0], -np.inf]
    assert false == [order[1]]
    found, false = match_lesions(parts, reference, scores, overlap=0.5)
    assert found == [-np.inf, -np.inf]
    assert false == [order[1]]  # too little is no hit, but no false positive either


def test_nothing_predicted_finds_nothing():
    reference, _ = find_lesions(masks(), ONE_ML)
    found, false = match_lesions(np.zeros_like(reference), reference, np.zeros(0))
    assert (found, false) == ([-np.inf, -np.inf], [])


def test_the_curve_is_that_made_by_hand():
    cases = [
        CaseLesions("a", "a", [SPOT] * 2, [0.9, 0.5], [0.7]),
        CaseLesions("b", "b", [SPOT] * 2, [0.6, -np.inf], [0.8, 0.3]),
    ]
    found = sum_up(cases)
    assert found.sensitivity.mean == 0.75
    assert found.false_positives.mean == 1.5
    # at 1/8 and 1/4 a case none is allowed: above 0.8 lies 0.9; at 1/2 one is: nothing more;
    # at 1 two are: above 0.3 lie three; from there on all are
    assert found.curve[:4] == [0.25, 0.25, 0.25, 0.75]
    assert np.isnan(found.curve[4:]).all()
    assert found.froc.mean == pytest.approx((3 * 0.25 + 4 * 0.75) / 7)
    assert found.sensitivity.low == 0.5
    assert found.sensitivity.high == 1.0


def test_without_a_lesion_there_is_nothing_to_find():
    with pytest.raises(DataError, match="no reference holds a lesion"):
        sum_up([CaseLesions("a", "a", [], [], [0.5])])
