"""Places in the standard frame lie in the lobes that an atlas of MNI space gives them."""

import numpy as np
import pytest
import torch

from tests.transforms.resection.heads import make_head
from volseg.transforms.anatomy.lobes import (
    Frame,
    frame_of_brain,
    frame_of_tissues,
    lobe_of,
    side_of,
)
from volseg.transforms.anatomy.maps import Lobe, Side


@pytest.mark.parametrize(
    ("place", "lobe"),
    [
        ((25, 60, 5), Lobe.FRONTAL),  # frontal pole
        ((45, 25, 10), Lobe.FRONTAL),  # inferior frontal gyrus
        ((38, -15, 58), Lobe.FRONTAL),  # precentral gyrus
        ((10, 45, -15), Lobe.FRONTAL),  # gyrus rectus
        ((45, -35, 52), Lobe.PARIETAL),  # postcentral gyrus
        ((8, -60, 45), Lobe.PARIETAL),  # precuneus
        ((40, 12, -32), Lobe.TEMPORAL),  # temporal pole
        ((58, -20, -15), Lobe.TEMPORAL),  # middle temporal gyrus
        ((26, -20, -15), Lobe.TEMPORAL),  # hippocampus
        ((24, -2, -20), Lobe.TEMPORAL),  # amygdala
        ((12, -98, 0), Lobe.OCCIPITAL),  # occipital pole
        ((8, -85, 25), Lobe.OCCIPITAL),  # cuneus
        ((28, -65, -38), Lobe.INFRATENTORIAL),  # cerebellar hemisphere
        ((0, -28, -32), Lobe.INFRATENTORIAL),  # pons
    ],
)
def test_an_atlas_place_lies_in_its_lobe_on_both_sides(place, lobe):
    for sign in (-1, 1):
        x, y, z = (torch.tensor([float(each)]) for each in (sign * place[0], *place[1:]))
        assert lobe_of(x, y, z).item() == lobe


def test_right_is_where_x_grows():
    sides = side_of(torch.tensor([-3.0, 2.0]))
    assert sides.tolist() == [Side.LEFT, Side.RIGHT]


def test_coordinates_are_the_matrix_product():
    matrix = np.array([[0.9, 0.1, 0, 3], [-0.1, 0.9, 0.2, 4], [0, -0.2, 0.9, 5], [0, 0, 0, 1.0]])
    affine = np.array([[-1.0, 0, 0, 90], [0, 0, 2, -60], [0, -3, 0, 40], [0, 0, 0, 1]])
    frame = Frame(matrix)
    expected = matrix @ affine @ np.array([4, 2, 3, 1])
    for axis in range(3):
        found = frame.coordinate(axis, affine, (5, 4, 6))
        assert found.shape == (5, 4, 6)
        assert found[4, 2, 3].item() == pytest.approx(expected[axis], abs=1e-4)


def test_the_frame_of_a_labelled_brain_turns_with_the_head():
    head = make_head()
    angle = np.radians(25)
    nod = np.eye(4)
    nod[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight = frame_of_tissues(head.tissue, head.side, head.affine, head.depth > 0)
    turned = frame_of_tissues(head.tissue, head.side, nod @ head.affine, head.depth > 0)
    assert turned.matrix @ nod == pytest.approx(straight.matrix, abs=1e-6)


def test_the_frame_of_a_box_puts_vertex_and_forehead_in_their_places():
    head = make_head()
    frame = frame_of_brain(head.depth > 0, head.affine)
    # An ellipsoid of semi-axes 68, 85 and 62 mm; its box leaves out 0.2 % of it, about 4 mm.
    assert (frame.matrix @ [0, 85, 0, 1])[1] == pytest.approx(72, abs=7)
    assert (frame.matrix @ [0, 0, 62, 1])[2] == pytest.approx(80, abs=7)
    assert (frame.matrix @ [0, 0, 0, 1])[0] == pytest.approx(0, abs=2)
