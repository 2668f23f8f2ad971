"""What is marked on both sides of a plane alike."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from volseg.inference.twins import find_twins
from volseg.transforms.anatomy.lobes import Plane

SHAPE = (60, 40, 40)

UPRIGHT = Plane(np.zeros(3), np.array([1.0, 0, 0]))


def grid(turn=(0, 0, 0), spacing=2.0):
    """Give an affine whose voxel (29.5, 19.5, 19.5) is the origin, turned."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() * spacing
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return affine


def boxes(*places):
    """Mark boxes of 4 x 6 x 5 voxels by their first corner."""
    marked = np.zeros(SHAPE, dtype=bool)
    for x, y, z in places:
        marked[x : x + 4, y : y + 6, z : z + 5] = True
    return marked


def test_boxes_that_mirror_each_other_are_found_and_a_lone_one_is_not():
    pair, lone = boxes((5, 10, 10), (51, 10, 10)), boxes((8, 25, 20))
    assert np.array_equal(find_twins(pair | lone, grid(), UPRIGHT), pair)


def test_whatever_way_the_grid_is_turned_the_plane_decides():
    turn = (20, -10, 35)
    normal = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()[:, 0]
    pair = boxes((5, 10, 10), (51, 10, 10))
    assert np.array_equal(find_twins(pair, grid(turn), Plane(np.zeros(3), normal)), pair)
    across = Plane(np.zeros(3), np.array([0.0, 1, 0]))
    assert not find_twins(boxes((5, 4, 10), (51, 4, 10)), grid(), across).any()


@pytest.mark.parametrize(("share", "is_found"), [(0.49, True), (0.51, False)])
def test_so_much_of_a_part_must_have_twins(share, is_found):
    whole, half = boxes((5, 10, 10)), boxes((51, 10, 10))
    half[:, 13:] = False  # three of six rows
    found = find_twins(whole | half, grid(), UPRIGHT, share)
    assert found[:30].any() == is_found
    assert np.array_equal(found[30:], half[30:])  # all of the smaller one has twins


def test_what_crosses_the_middle_is_its_own_image_and_stays():
    marked = np.zeros(SHAPE, dtype=bool)
    marked[25:35, 10:20, 10:20] = True  # 10 mm to each side
    assert not find_twins(marked, grid(), UPRIGHT).any()
    wide = np.zeros(SHAPE, dtype=bool)
    wide[10:50, 10:20, 10:20] = True  # 40 mm to each side: three quarters are beyond 10 mm
    assert np.array_equal(find_twins(wide, grid(), UPRIGHT), wide)


@pytest.mark.parametrize(("radius", "is_found"), [(23.0, False), (25.0, True)])
def test_a_ball_in_the_middle_stays_up_to_a_radius_of_23_mm(radius, is_found):
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    ball = np.linalg.norm((index - (np.array(SHAPE) - 1) / 2) * 1.3, axis=-1) <= radius
    assert find_twins(ball, grid(spacing=1.3), UPRIGHT).any() == is_found


def test_what_is_cut_off_by_the_edge_has_no_twin_and_is_no_error():
    marked = boxes((0, 10, 10))
    away = Plane(np.array([40.0, 0, 0]), np.array([1.0, 0, 0]))
    assert not find_twins(marked, grid(), away).any()
    assert not find_twins(np.zeros(SHAPE, dtype=bool), grid(), UPRIGHT).any()


def test_what_lies_near_a_mirror_image_belongs_to_it():
    pair = boxes((5, 10, 10), (51, 10, 10))
    longer = pair.copy()
    longer[5:9, 16:19, 10:15] = True  # three voxels of 2 mm further
    found = find_twins(longer, grid(), UPRIGHT)
    assert np.array_equal(found, longer)
    longer[5:9, 19, 10:15] = True
    assert not find_twins(longer, grid(), UPRIGHT)[:, 19].any()
