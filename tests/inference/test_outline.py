"""The outline of a brain, its midline, and where something lies in it."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tests.inference.heads import RADII, UPRIGHT, brain, centred, places
from volseg.errors import DataError
from volseg.inference.outline import Outline, fill
from volseg.inference.site import Site


def outline(turn=(0, 0, 0), order=UPRIGHT, cavity=None):
    shape, affine = centred(order)
    values = brain(shape, affine, turn)
    hole = np.zeros(shape, bool)
    if cavity is not None:
        hole = np.linalg.norm(places(shape, affine) - cavity[0], axis=-1) < cavity[1]
        hole &= values > 0
        values[hole] = 0
    return Outline.of(torch.from_numpy(values).float(), hole, affine)


@pytest.mark.parametrize("turn", [(0, 0, 0), (12, 0, 0), (0, 8, 0), (0, 0, 10), (5, -6, 7)])
def test_the_midline_turns_with_the_head(turn):
    found = outline(turn)
    expected = Rotation.from_euler("xyz", turn, degrees=True).apply([1.0, 0, 0])
    # 5 mm at the surface, 60 mm away, on voxels of 4 mm: enough to tell the sides apart
    assert np.arccos(np.clip(np.dot(found.midline.normal, expected), -1, 1)) < 5 / 60
    assert abs(found.to_the_right(np.zeros((1, 3)))[0]) < 2


@pytest.mark.parametrize(
    "order", [np.diag([-1.0, -1, 1]), np.array([[0, 0, 1.0], [-1, 0, 0], [0, 1, 0]])]
)
def test_left_is_negative_whatever_the_axes(order):
    distance = outline(order=order).to_the_right(np.array([[-30.0, 0, 0], [30, 0, 0]]))
    assert np.allclose(distance, [-30, 30], atol=2)


def test_a_cavity_at_the_surface_moves_neither_midline_nor_surface():
    centre = np.array([-48.0, 0, 10])
    found = outline(cavity=(centre, 20))
    assert abs(found.to_the_right(np.zeros((1, 3)))[0]) < 2
    assert found.depths(centre[None]) == pytest.approx(outline().depths(centre[None]), abs=4)


def test_holes_are_filled_even_if_they_open_in_the_third_dimension():
    mask = np.zeros((9, 9, 9), bool)
    mask[1:8, 1:8, 1:8] = True
    mask[4, 4, 3:9] = False  # a well from above
    mask[0, 0, 0] = True  # a speck elsewhere
    filled = fill(mask)
    assert filled[1:8, 1:8, 1:8].all()
    assert filled.sum() == 7**3
    with pytest.raises(DataError, match="mask of the brain is empty"):
        fill(np.zeros((3, 3, 3), bool))


def test_depth_is_the_distance_to_the_surface_but_not_to_the_edge_of_the_view():
    depths = outline().depths(np.array([[0.0, 0, 0], [52, 0, 0], [0, 0, 90]]))
    assert depths == pytest.approx([RADII.min(), RADII[0] - 52, 0], abs=4)
    shape, affine = centred()
    values = torch.from_numpy(brain(shape, affine)).float()[:, :, :24]  # up to the middle
    cut = Outline.of(values, np.zeros(values.shape, bool), affine)
    assert cut.depths(np.array([[0.0, 0, -4]]))[0] > 40


def test_an_image_of_nothing_has_no_outline():
    _, affine = centred()
    with pytest.raises(DataError):
        Outline.of(torch.zeros(20, 20, 20), np.zeros((20, 20, 20), bool), affine)


def cube(centre, half):
    axes = [np.arange(c - half, c + half + 1.0, 2.0) for c in centre]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


@pytest.fixture(scope="module")
def upright():
    return outline()


@pytest.mark.parametrize(
    ("centre", "side", "at_surface", "oddity"),
    [
        ((-30, 0, 0), "left", False, None),
        ((30, 0, 0), "right", False, None),
        ((-52, 0, 0), "left", True, None),
        ((2, 10, 10), "both sides", False, "crosses the midline"),
        ((75, 0, 0), "right", True, "lies outside the brain"),
    ],
)
def test_a_site_is_named_by_side_and_depth(upright, centre, side, at_surface, oddity):
    site = Site.of(cube(centre, 8), upright)
    assert (site.side, site.reaches_surface) == (side, at_surface)
    assert site.centre == pytest.approx(centre)
    assert (oddity in site.oddity) if oddity else site.oddity is None
    assert str(site) == f"{side}, {'at the surface' if at_surface else f'{site.depth:.0f} mm deep'}"
    assert site.to_json()["side"] == side
