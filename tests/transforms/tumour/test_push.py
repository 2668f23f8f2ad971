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
    """Give the place of the nearest voxel, and how far its content has come, in mm."""
    voxel = np.linalg.solve(anatomy.affine[:3, :3], np.array(place) - anatomy.affine[:3, 3])
    first, second, third = np.round(voxel).astype(int)
    own = anatomy.affine[:3, :3] @ (first, second, third) + anatomy.affine[:3, 3]
    return own, anatomy.affine[:3, :3] @ field[:, first, second, third].numpy()


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_content_comes_from_nearer_the_centre_in_proportion_up_to_the_drawn_number_of_mm(signs):
    anatomy = make_head(signs=signs)
    field = push_field(anatomy, PUSHING)
    for offset in ((-5.0, 3.0, 2.0), (2.0, -4.0, -5.0)):
        own, moved = moved_at(anatomy, field, np.add(CENTRE, offset))
        np.testing.assert_allclose(moved, -5.0 * (own - CENTRE) / RADIUS, atol=0.05)
    for away in (-1, 1):
        own, moved = moved_at(anatomy, field, (CENTRE[0] + 1.2 * away * RADIUS, *CENTRE[1:]))
        far = np.linalg.norm(own - CENTRE) / RADIUS
        law = 5.0 * far**-1.5 * (1 - (far - 1) * RADIUS / 28.0) ** 2
        assert -away * moved[0] == pytest.approx(law, abs=0.3)  # between samples 4 mm apart


def test_it_fades_with_distance_and_keeps_the_order_of_what_it_moves():
    anatomy = make_head()
    field = push_field(anatomy, PUSHING)
    distances = np.arange(2.0, 50.0, 2.0)
    moved = [moved_at(anatomy, field, (CENTRE[0] - d, *CENTRE[1:]))[1][0] for d in distances]
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
