"""Metrics against numbers worked out by hand and against slow versions."""

from math import isnan, sqrt

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion

from volseg.errors import GeometryError
from volseg.evaluation.metrics import (
    Score,
    dice,
    hausdorff95,
    score_classes,
    surface_dice,
)


def box(shape, start, size):
    """Make a mask of one box."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))] = True
    return mask


def test_dice_of_half_overlapping_cubes_is_one_half():
    first, second = box((8, 8, 8), (1, 2, 3), (4, 4, 4)), box((8, 8, 8), (3, 2, 3), (4, 4, 4))
    assert dice(first, second) == 0.5


def test_dice_of_a_part_is_twice_its_share_over_the_sum():
    whole, part = box((6, 6, 6), (0, 0, 0), (6, 6, 6)), box((6, 6, 6), (1, 1, 1), (2, 3, 4))
    assert dice(part, whole) == pytest.approx(2 * 24 / (216 + 24))


@pytest.mark.parametrize(
    ("axis", "spacing", "distance"),
    [(0, (0.5, 1, 6.5), 1.0), (1, (0.5, 1, 6.5), 2.0), (2, (0.5, 1, 6.5), 13.0)],
)
def test_hd95_of_two_voxels_is_their_distance_in_mm(axis, spacing, distance):
    second = [3, 3, 3]
    second[axis] += 2
    masks = box((9, 9, 9), (3, 3, 3), (1, 1, 1)), box((9, 9, 9), second, (1, 1, 1))
    assert hausdorff95(*masks, spacing) == pytest.approx(distance)


@pytest.mark.parametrize(
    ("length", "expected"),
    # One outlier, 10 mm beyond a line that both masks share. Of 21 distances the 95th percentile
    # is the 20th, 0; of 20 it lies 5 % of the way from the 19th, 0, to the 20th, 10.
    [(20, 0.0), (19, 0.5)],
)
def test_hd95_leaves_out_the_worst_twentieth(length, expected):
    line = box((1, 1, 40), (0, 0, 0), (1, 1, length))
    outlier = line.clone()
    outlier[0, 0, length + 9] = True
    # the percentile is interpolated in single precision: 0.95 * 19 is known to 1e-6
    assert hausdorff95(outlier, line, (1, 1, 1)) == pytest.approx(expected, abs=2e-5)
    assert hausdorff95(line, outlier, (1, 1, 1)) == pytest.approx(expected, abs=2e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), spacing=st.tuples(*[st.floats(0.3, 7)] * 3))
def test_hd95_equals_a_slow_version(seed, spacing):
    random = np.random.default_rng(seed)
    masks = [random.random((6, 5, 4)) < share for share in (0.1, 0.3)]
    assume(all(mask.any() for mask in masks))
    edges = [
        np.argwhere(mask & ~binary_erosion(np.pad(mask, 1))[1:-1, 1:-1, 1:-1]) for mask in masks
    ]
    gaps = np.linalg.norm((edges[0][:, None] - edges[1][None]) * spacing, axis=-1)
    slow = max(np.percentile(gaps.min(0), 95), np.percentile(gaps.min(1), 95))
    fast = hausdorff95(*map(torch.from_numpy, masks), spacing)
    assert fast == pytest.approx(slow, rel=1e-5, abs=1e-4)  # single precision inside


@pytest.mark.parametrize(("slice_mm", "tolerance", "far"), [(1, 1, 7), (3, 3, 3), (6.5, 6.5, 0)])
def test_surface_dice_of_two_cubes_two_slices_apart(slice_mm, tolerance, far):
    """Count the surface of a 10-voxel cube by hand, with slices of any thickness.

    Its surface passes through an 11 x 11 x 11 grid of points between the voxels: a point inside a
    face carries that face's voxel rectangle, one on an edge a bevel that cuts two half voxels, one
    in a corner a triangle that cuts three. One slice away along the sides is within the tolerance.
    Not within it are the whole lower end of the lower cube, two slices from the other, and on its
    upper end, which lies inside the other cube, the ``far`` x ``far`` points whose distance to the
    other's sides exceeds the tolerance.
    """
    bevel_end, bevel_side = sqrt(0.5**2 + (slice_mm / 2) ** 2), slice_mm * sqrt(0.5)
    sides = (0.5, 0.5, slice_mm / 2)
    triangle = 0.5 * sqrt(sum((sides[i] * sides[i - 1]) ** 2 for i in range(3)))
    area = 2 * 81 + 4 * 81 * slice_mm + 8 * 9 * bevel_end + 4 * 9 * bevel_side + 8 * triangle
    wrong = 81 + 4 * 9 * bevel_end + 4 * triangle + far**2
    masks = box((16, 16, 20), (2, 3, 4), (10, 10, 10)), box((16, 16, 20), (2, 3, 6), (10, 10, 10))
    score = surface_dice(*masks, (1, 1, slice_mm), tolerance)
    assert score == pytest.approx(1 - wrong / area, rel=1e-5)


def test_surface_dice_is_one_within_the_tolerance_and_zero_far_beyond():
    masks = box((30, 9, 9), (1, 3, 3), (3, 3, 3)), box((30, 9, 9), (2, 3, 3), (3, 3, 3))
    assert surface_dice(*masks, (0.9, 1, 1), tolerance=1) == 1
    assert surface_dice(masks[0], masks[0].roll(20, 0), (1, 1, 1)) == 0


def test_a_mask_that_touches_the_border_has_a_surface_there():
    whole, less = torch.ones(5, 5, 5, dtype=torch.bool), box((5, 5, 5), (0, 0, 0), (5, 5, 4))
    assert surface_dice(whole, whole, (1, 1, 1)) == 1
    assert hausdorff95(whole, less, (1, 1, 4)) == pytest.approx(4)


@pytest.mark.parametrize("is_missed", [True, False])
def test_a_missed_or_an_invented_class_is_the_worst_case(is_missed):
    empty, mask = torch.zeros(3, 4, 12, dtype=torch.bool), box((3, 4, 12), (0, 0, 0), (1, 1, 1))
    prediction, reference = (empty, mask) if is_missed else (mask, empty)
    assert dice(prediction, reference) == 0
    assert surface_dice(prediction, reference, (1, 1, 1)) == 0
    # 3, 4 and 12 make a diagonal of 13; doubled along each axis, 26
    assert hausdorff95(prediction, reference, (1, 1, 1)) == pytest.approx(13)
    assert hausdorff95(prediction, reference, (2, 2, 2)) == pytest.approx(26)


def test_a_class_that_neither_has_gets_no_score():
    empty = torch.zeros(3, 3, 3, dtype=torch.bool)
    scores = dice(empty, empty), hausdorff95(empty, empty, (1, 1, 1))
    assert all(isnan(score) for score in (*scores, surface_dice(empty, empty, (1, 1, 1))))


def test_classes_are_scored_by_name_and_the_background_is_not():
    reference = np.zeros((4, 4, 4), dtype=np.int16)
    reference[:2], reference[3] = 1, 2
    prediction = reference.copy()
    prediction[3] = 0
    names = {0: "background", 1: "liver", 2: "tumour", 3: "cyst"}
    scores = score_classes(prediction, reference, (1, 1, 1), names)
    assert list(scores) == ["liver", "tumour", "cyst"]
    assert scores["liver"] == Score(dice=1, hausdorff95=0, surface_dice=1)
    assert scores["tumour"] == Score(dice=0, hausdorff95=pytest.approx(sqrt(48)), surface_dice=0)
    assert isnan(scores["cyst"].dice)


def test_label_maps_of_different_shape_are_refused():
    maps = np.zeros((2, 2, 2), dtype=np.int16), np.zeros((2, 2, 3), dtype=np.int16)
    with pytest.raises(GeometryError, match=r"\(2, 2, 2\) and reference \(2, 2, 3\)"):
        score_classes(*maps, (1, 1, 1), {1: "a"})
