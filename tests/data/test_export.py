"""Tiles and candidates change nothing about the most probable class."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from volseg.data import export
from volseg.data.export import align, read_labels
from volseg.errors import GeometryError

WHOLE = tuple(slice(0, 30) for _ in range(3))


def organs(classes, size=20, seed=0):
    """Probabilities that are nearly certain inside of blobs and mixed between them."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(classes, size, size, size))
    smooth = np.stack([ndimage.gaussian_filter(each, 2) for each in noise])
    return torch.from_numpy(200 * smooth).float().softmax(0)


def scaled(step, first, axes=(0, 1, 2), signs=(1, 1, 1)):
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for native, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        matrix[axis, native] = sign * step
        matrix[axis, 3] = first if sign > 0 else 19 - first
    return matrix


def slowly(values, matrix, shape):
    """Interpolate every class at every voxel, and compare."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    places = np.einsum("ij,jxyz->ixyz", matrix[:3, :3], index) + matrix[:3, 3, None, None, None]
    held = np.clip(places, 0, 19)
    read = np.stack([ndimage.map_coordinates(each, held, order=1) for each in values.double()])
    top = np.sort(read, axis=0)
    clear = top[-1] - top[-2] > 1e-6
    inside = ((places >= -1) & (places <= 20)).all(0)
    return np.where(inside, read.argmax(0), 0), clear


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_the_classes_are_those_of_interpolating_all_of_them(axes, signs):
    values, matrix = organs(9), scaled(0.63, 0.3, axes, signs)
    found = read_labels(values, align(matrix, (20, 20, 20), (30, 30, 30)), WHOLE)
    expected, clear = slowly(values, matrix, (30, 30, 30))
    assert clear.mean() > 0.999
    assert np.array_equal(found[clear], expected[clear])


@settings(max_examples=20, deadline=None)
@given(tile=st.integers(1, 40), step=st.floats(0.2, 3), first=st.floats(-2, 3))
def test_neither_the_tile_nor_the_step_matters(tile, step, first):
    values, matrix = organs(5), scaled(step, first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "TILE", tile)
        found = read_labels(values, align(matrix, (20, 20, 20), (30, 30, 30)), WHOLE)
    expected, clear = slowly(values, matrix, (30, 30, 30))
    near = ((np.indices((30, 30, 30)) * step + first + 1) % 1 > 1e-3).all(0)  # not at the border
    assert np.array_equal(found[clear & near], expected[clear & near])


def test_a_part_of_the_network_s_grid_gives_its_box_of_the_image():
    values, matrix = organs(5), scaled(0.5, 0.0)
    alignment = align(matrix, (20, 20, 20), (30, 30, 30))
    whole = read_labels(values, alignment, WHOLE)
    box = (slice(10, 20), slice(4, 5), slice(0, 30))
    part = read_labels(values[:, 5:11, 2:4], alignment, box, (5, 2, 0))
    assert np.array_equal(part, whole[box])


def test_a_class_that_wins_only_between_voxels_is_not_lost():
    # 0.6 0 0.4 and 0 0.6 0.4: half way 0.3 0.3 0.4
    values = torch.tensor([[0.6, 0.0], [0.0, 0.6], [0.4, 0.4]])[:, :, None, None]
    matrix = np.diag([0.5, 1, 1, 1.0])
    box = (slice(0, 3), slice(0, 1), slice(0, 1))
    found = read_labels(values, align(matrix, (2, 1, 1), (3, 1, 1)), box)
    assert found.ravel().tolist() == [0, 2, 1]


def test_only_grids_with_the_same_axes_are_aligned():
    assert align(scaled(0.5, 0.0, (2, 0, 1)), (20, 20, 20), (9, 9, 9)).order == [2, 0, 1]
    turned = np.eye(4)
    turned[:2, :2] = [[0.999, -0.04], [0.04, 0.999]]
    assert align(turned, (20, 20, 20), (9, 9, 9)) is None
    turned[:2, :2] = [[1, 0.6], [0.9, 0.5]]  # both axes lie nearest to the first
    assert align(turned, (20, 20, 20), (9, 9, 9)) is None


def test_values_that_are_no_numbers_are_refused():
    values = torch.full((2, 20, 20, 20), float("nan"))
    with pytest.raises(GeometryError, match="NaN"):
        read_labels(values, align(scaled(0.5, 0.0), (20,) * 3, (30,) * 3), WHOLE)
