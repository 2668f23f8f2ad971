"""Mass effect: how far what lies around a focus moves, and where to."""

import numpy as np
import pytest
import torch

from tests.transforms.resection.heads import make_head
from volseg.transforms.resection.cavity import Solid
from volseg.transforms.resection.solid import equivalent_radius
from volseg.transforms.tumour.push import push_field
from volseg.transforms.tumour.tumour import Tumour

CENTRE = (30.0, 5.0, 30.0)
RADIUS = equivalent_radius(10.0)
PUSHING = Tumour(
    "meningioma", solids=(Solid(CENTRE, (RADIUS,) * 3, (0, 0, 0), 10.0),), mass_effect=5.0
)


def moved_at(anatomy, field, place):
    voxel = np.linalg.solve(anatomy.affine[:3, :3], np.array(place) - anatomy.affine[:3, 3])
    first, second, third = np.round(voxel).astype(int)
    return anatomy.affine[:3, :3] @ field[:, first, second, third].numpy()


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_content_comes_from_nearer_the_centre_by_the_drawn_number_of_mm(signs):
    anatomy = make_head(signs=signs)
    field = push_field(anatomy, PUSHING)
    inward = moved_at(anatomy, field, (CENTRE[0] - RADIUS, *CENTRE[1:]))
    np.testing.assert_allclose(inward, (5.0, 0.0, 0.0), atol=1.0)  # read on a grid of 2 mm
    below = moved_at(anatomy, field, (*CENTRE[:2], CENTRE[2] - RADIUS))
    np.testing.assert_allclose(below, (0.0, 0.0, 5.0), atol=1.0)


def test_it_fades_with_distance_and_keeps_the_order_of_what_it_moves():
    anatomy = make_head()
    field = push_field(anatomy, PUSHING)
    distances = np.arange(2.0, 50.0, 2.0)
    moved = [moved_at(anatomy, field, (CENTRE[0] - each, *CENTRE[1:]))[0] for each in distances]
    assert moved[-1] == pytest.approx(0.0, abs=1e-3)
    sources = distances - np.array(moved)
    assert (np.diff(sources) > 0).all()


def test_nothing_moves_outside_the_brain_or_at_the_border_of_the_box():
    anatomy = make_head()
    field = push_field(anatomy.crop((40, 30, 50), (80, 80, 90)), PUSHING)
    for axis in (1, 2, 3):
        assert not field.select(axis, 0).any()
        assert not field.select(axis, -1).any()
    assert not push_field(anatomy, PUSHING)[:, anatomy.depth == 0].any()
    assert bool(torch.isfinite(field).all())
