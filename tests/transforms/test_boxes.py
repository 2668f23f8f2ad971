"""Boxes of label maps, and boxes on other grids."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from volseg.errors import DataError, GeometryError
from volseg.transforms.boxes import (
    LesionBoxesd,
    boxes_between,
    boxes_to_world,
    crop_boxes,
    find_boxes,
    flip_boxes,
)


def hand_made():
    """Two lesions of class 1, one of them of two voxels that touch at a corner; one of class 2."""
    label = np.zeros((8, 7, 6), np.int16)
    label[1:4, 2, 0:2] = 1
    label[6, 5, 4] = label[7, 6, 5] = 1
    label[4:6, 0:3, 3] = 2
    return label


def test_boxes_are_those_worked_out_by_hand():
    boxes, classes = find_boxes(hand_made(), 3)
    assert boxes.tolist() == [[1, 2, 0, 4, 3, 2], [6, 5, 4, 8, 7, 6], [4, 0, 3, 6, 3, 4]]
    assert classes.tolist() == [0, 0, 1]


def test_small_lesions_are_left_out_and_those_of_just_the_size_stay():
    assert find_boxes(hand_made(), 3, 6)[0].tolist() == [[1, 2, 0, 4, 3, 2], [4, 0, 3, 6, 3, 4]]
    affine = np.diag([1, 2, 3, 1])  # voxels of 6 mm3: six of them are 0.036 mL
    label = MetaTensor(torch.from_numpy(hand_made()[None]), affine=affine)
    found = LesionBoxesd(num_classes=3, least_ml=0.036)({"label": label})
    assert found["boxes"].tolist() == [[1, 2, 0, 4, 3, 2], [4, 0, 3, 6, 3, 4]]
    assert found["classes"].tolist() == [0, 1]
    assert "label" not in found


def test_a_label_without_a_lesion_has_no_box():
    found = LesionBoxesd(keeps_label=True)({"label": torch.zeros(1, 4, 4, 4, dtype=torch.int16)})
    assert found["boxes"].shape == (0, 6)
    assert found["classes"].shape == (0,)
    assert "label" in found


def test_values_beyond_the_classes_and_labels_of_many_channels_are_refused():
    with pytest.raises(DataError, match="holds the value 2 and there are 2 classes"):
        LesionBoxesd()({"label": torch.from_numpy(hand_made()[None])})
    with pytest.raises(DataError, match=r"has shape \(2, 4, 4, 4\); use a label map"):
        LesionBoxesd()({"label": torch.zeros(2, 4, 4, 4)})


@given(
    start=st.tuples(*[st.integers(0, 3)] * 3),
    axes=st.sets(st.integers(0, 2)),
    seed=st.integers(0, 9),
)
def test_cut_and_flipped_boxes_are_those_of_the_cut_and_flipped_label(start, axes, seed):
    random = np.random.default_rng(seed)
    low = random.integers(0, 5, 3)
    high = low + random.integers(1, 4, 3)
    label = np.zeros((8, 8, 8), int)
    label[tuple(slice(*ends) for ends in zip(low, high, strict=True))] = 1
    boxes = torch.from_numpy(find_boxes(label, 2)[0])
    size = (4, 5, 4)
    window = tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))
    cut, stays = crop_boxes(boxes, start, size, 0.0)
    part = np.flip(label[window], sorted(axes))
    assert flip_boxes(cut, size, sorted(axes)).tolist() == find_boxes(part, 2)[0].tolist()
    assert stays.sum() == len(cut)


def test_a_box_of_which_too_little_is_left_is_dropped():
    boxes = torch.tensor([[0.0, 0, 0, 4, 4, 4]])
    assert len(crop_boxes(boxes, (3, 0, 0), (4, 4, 4), 0.25)[0]) == 1
    assert len(crop_boxes(boxes, (3, 0, 0), (4, 4, 4), 0.26)[0]) == 0


def turned(spacing, degrees, axes=(0, 1, 2), signs=(1, 1, 1)):
    """Make an affine whose axes are turned about z, then ordered and signed."""
    angle = np.deg2rad(degrees)
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = np.eye(4)
    affine[:3, :3] = (turn @ np.diag(spacing))[:, list(axes)] * signs
    affine[:3, 3] = (-30, 12, 5.5)
    return affine


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1)])  # the second: left-handed
def test_grids_with_the_same_axes_hold_the_very_same_boxes(signs):
    native = turned((0.7, 1.3, 4), 25, (2, 0, 1), signs)
    network = turned((1, 1, 2), 25)
    boxes = np.array([[1, 2, 3, 5, 4, 9], [0, 0, 0, 1, 1, 1.5]])
    there = boxes_between(boxes, native, network)
    edges = np.prod(boxes[:, 3:] - boxes[:, :3], axis=1) * 0.7 * 1.3 * 4
    assert np.prod(there[:, 3:] - there[:, :3], axis=1) * 2 == pytest.approx(edges)
    assert boxes_between(there, network, native) == pytest.approx(boxes, abs=1e-9)


def test_a_box_lies_in_the_world_where_its_voxels_lie():
    affine = np.array([[0, -2.0, 0, 10], [0, 0, 3.0, 0], [1.0, 0, 0, 5], [0, 0, 0, 1]])
    # voxels i 2 to 3, j 1, k 0: z = 5 + i, x = 10 - 2 j, y = 3 k, half a voxel to either side
    world = boxes_to_world(np.array([[2, 1, 0, 4, 2, 1]]), affine)
    assert world.tolist() == [[7, -1.5, 6.5, 9, 1.5, 8.5]]


def test_where_axes_are_oblique_the_bounds_hold_the_box():
    # a square of edge 2 that is turned by 45 degrees is 2 sqrt 2 wide
    bounds = boxes_to_world(np.array([[0, 0, 0, 2, 2, 2]]), turned((1, 1, 1), 45))
    assert bounds[0, 3:] - bounds[0, :3] == pytest.approx([8**0.5, 8**0.5, 2])


def test_an_affine_without_an_inverse_is_refused():
    with pytest.raises(GeometryError, match="cannot be inverted"):
        boxes_between(np.zeros((1, 6)), np.eye(4), np.zeros((4, 4)))
