"""How much of a voxel lies inside a mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volseg.data.fractions import border_of, divide, fraction, on_grid, signed_distance, volume_ml
from volseg.data.scan import Scan

PRE = np.diag([1.0, 1, 1, 1])
PRE[:3, 3] = -28


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), share=st.floats(0.1, 0.9))
def test_beside_the_border_a_voxel_is_half_a_voxel_from_it(seed, share):
    mask = np.random.default_rng(seed).random((5, 6, 4)) < share
    mask[0, 0, 0], mask[-1, -1, -1] = True, False
    distance = signed_distance(mask)
    assert (distance[mask] <= -0.5).all()
    assert (distance[~mask] >= 0.5).all()
    along = mask[1:] != mask[:-1]  # pairs of neighbours of different kind
    assert np.allclose(np.abs(distance[1:][along]), 0.5)
    assert np.allclose(np.abs(distance[:-1][along]), 0.5)
    assert np.array_equal(fraction(distance, 0.0), mask)


def test_distances_run_from_the_face_of_the_nearest_voxel():
    mask = np.zeros((9, 9, 1), bool)
    mask[0] = True
    # row 3: three voxels from the centre of row 0, two and a half from its face
    assert np.allclose(signed_distance(mask)[3, 4, 0], 2.5)


def test_a_thick_voxel_is_filled_by_the_fraction_of_it_that_is_tumour():
    tumour = np.zeros((12, 12, 24), bool)
    tumour[3:9, 3:9, 6:15] = True
    thick = np.diag([1.0, 1, 6, 1])
    thick[:3, 3] = (-28, -28, -28 + 2.5)  # its voxels are six of the fine ones
    found = on_grid(Scan(tumour, PRE), (12, 12, 4), thick, np.eye(4))
    assert np.allclose(found[5, 5], [0, 1, 0.5, 0])
    assert found.sum() * 6 == pytest.approx(tumour.sum())
    assert found.dtype == np.float32


def test_a_moved_border_fills_or_empties_the_voxels_beside_it():
    beside = np.array([-1.5, -0.5, 0.5, 1.5])
    assert np.allclose(fraction(beside, 0.25), [1, 1, 0.25, 0])
    assert np.allclose(fraction(beside, -0.25), [1, 0.75, 0, 0])
    # a cell of half a voxel's edge is filled twice as fast
    assert np.allclose(fraction(np.array([-0.25, 0.0, 0.25]), 0.0, parts=2), [1, 0.5, 0])


def test_a_voxel_is_divided_into_equal_parts():
    found = divide(np.diag([1.0, 1.0, 2.0, 1]), 0.5)
    assert len(found) == 2 * 2 * 4
    assert np.allclose(found.mean(axis=0), 0)
    assert np.allclose(np.unique(found[:, 2]), [-0.375, -0.125, 0.125, 0.375])
    assert len(divide(np.diag([100.0, 1, 1, 1]), 1.0)) == 8


def test_the_border_of_a_mask_knows_where_it_lies():
    mask = np.zeros((9, 9, 9), bool)
    mask[0, 4, 5] = True  # its box reaches beyond the grid
    border = border_of(Scan(mask, PRE))
    inside = np.argwhere(border.values < 0)
    assert len(inside) == 1
    assert np.allclose(border.affine @ (*inside[0], 1), PRE @ (0, 4, 5, 1))


def test_a_volume_comes_from_the_determinant():
    sheared = np.array([[1.0, 1, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    assert volume_ml(Scan(np.ones((5, 4, 3), bool), sheared)) == pytest.approx(60 * 6 / 1000)
