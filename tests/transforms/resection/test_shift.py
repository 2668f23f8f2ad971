"""Walls move into the cavity, surfaces sink along gravity, and the box's border stays."""

import numpy as np
import pytest
import torch

from tests.transforms.resection.heads import BRAIN, make_head
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.cavity import Shift
from volseg.transforms.resection.shift import displacement


def block(size=(48, 48, 48), spacing=(1.0, 1.0, 1.0), signs=(1, 1, 1)):
    """A box within the brain, far below its surface, whose middle is the origin."""
    affine = np.diag([*(np.array(spacing) * signs), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(size) - 1) / 2)
    maps = [torch.full(size, value, dtype=torch.uint8) for value in (6, 1, 1, 200)]
    return Anatomy(*maps, affine=affine)


def places_of(anatomy):
    index = np.indices(anatomy.tissue.shape)
    linear, start = anatomy.affine[:3, :3], anatomy.affine[:3, 3]
    return torch.from_numpy(np.einsum("ij,jdhw->idhw", linear, index)) + torch.from_numpy(
        start
    ).reshape(3, 1, 1, 1)


def in_mm(anatomy, field):
    return torch.einsum("ij,jdhw->idhw", torch.from_numpy(anatomy.affine[:3, :3]), field.double())


def test_without_a_shift_nothing_moves():
    anatomy = block()
    ball = places_of(anatomy).norm(dim=0) < 10
    assert displacement(anatomy, ball, Shift()).abs().max() == 0


@pytest.mark.parametrize(
    ("size", "spacing", "signs"),
    [
        ((48, 48, 48), (1.0, 1.0, 1.0), (1, 1, 1)),
        ((49, 24, 17), (1.0, 2.0, 3.0), (-1, 1, -1)),
    ],
)
def test_the_walls_of_a_ball_come_from_farther_out_by_what_was_drawn(size, spacing, signs):
    anatomy = block(size, spacing, signs)
    places = places_of(anatomy)
    distance = places.norm(dim=0)
    moved = in_mm(anatomy, displacement(anatomy, distance < 12, Shift(collapse=3.0)))
    outward = (moved * places).sum(dim=0) / distance.clamp(min=1)
    wall = (distance - 12).abs() < 1
    # A blur of 5 mm is nearly flat over 2 mm: exp(-1 / 50); coarse grids miss a little of it.
    assert outward[wall].min() > 0.75 * 3
    assert outward.max() <= 3 + 1e-3
    assert ((moved.norm(dim=0) - outward.abs()).abs() < 0.45).all()  # no turning
    assert moved.norm(dim=0)[distance < 1.5].max() < 0.8  # the middle stays


def test_the_border_of_the_box_stays():
    anatomy = block((33, 34, 35))
    field = displacement(anatomy, torch.ones(33, 34, 35, dtype=torch.bool), Shift(4.0, 8.0))
    field += displacement(anatomy, places_of(anatomy).norm(dim=0) < 14, Shift(4.0, 8.0))
    for axis in range(1, 4):
        assert field.select(axis, 0).abs().max() == 0
        assert field.select(axis, -1).abs().max() == 0


@pytest.mark.parametrize("gravity", [(0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)])
def test_the_surface_that_faces_up_falls_and_the_lower_one_stays(gravity):
    head = make_head((3.0, 3.0, 3.0))
    nothing = torch.zeros(head.tissue.shape, dtype=torch.bool)
    moved = in_mm(head, displacement(head, nothing, Shift(sag=6.0, gravity=gravity)))
    axis = [abs(each) for each in gravity].index(1.0)
    level = places_of(head)[axis] / BRAIN[axis] * -gravity[axis]
    others = [places_of(head)[each].abs() for each in range(3) if each != axis]
    shallow = (head.depth > 0) & (head.depth < 6 / 0.5) & (others[0] < 20) & (others[1] < 20)
    # What is seen at the top lay 6 mm higher; 6 mm deep, exp(-6 / 18) of that is left.
    above = moved[axis][shallow & (level > 0.8)] * -gravity[axis]
    assert 0.65 * 6 < above.mean() < 6
    assert moved[:, shallow & (level < -0.8)].abs().max() < 0.1
    middle = head.depth == head.depth.max()
    assert moved[:, middle].abs().max() < 0.5


def test_the_fall_points_along_gravity():
    head = make_head((4.0, 4.0, 4.0))
    nothing = torch.zeros(head.tissue.shape, dtype=torch.bool)
    gravity = np.array([-0.6, -0.8, 0.0])
    moved = in_mm(head, displacement(head, nothing, Shift(sag=5.0, gravity=tuple(gravity))))
    along = torch.einsum("i,idhw->dhw", torch.from_numpy(gravity), moved)
    assert (moved.norm(dim=0) - along.abs()).abs().max() < 1e-4
    assert along.max() <= 1e-6  # it was higher, never lower
