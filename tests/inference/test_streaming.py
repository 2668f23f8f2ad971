"""Labels that come slab by slab are those of computing all at once."""

from itertools import permutations, product

import numpy as np
import pytest
import torch

from volseg.data.geometry import Grid, to_native_grid
from volseg.inference.sliding_window import SlidingWindow
from volseg.inference.streaming import count_bands, cut_evenly, stream_labels

ORIENTATIONS = [
    np.eye(3)[list(order)] * np.array(signs)[:, None]
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3))
]

SHAPE = (13, 9, 11)


def network(classes=4):
    torch.manual_seed(0)
    layer = torch.nn.Conv3d(1, classes, kernel_size=3, padding=1)
    return lambda windows: 5 * layer(windows)


def native_grid(axes, shape, spacing):
    """A grid around the same centre as the network's."""
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(spacing)
    affine[:3, 3] = (np.array(SHAPE) - 1) / 2 - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def both_ways(native, num_bands=1, batch_size=1, classes=4):
    volume = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    inferer, grid = SlidingWindow((5, 4, 6), 0.5, batch_size), Grid(SHAPE, np.eye(4))
    whole = inferer(volume[None], network(classes))[0].softmax(0)
    expected = to_native_grid(whole, grid.affine, native)
    with torch.no_grad():
        found = stream_labels(volume, grid, native, network(classes), inferer, num_bands)
    return found, expected


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_the_labels_are_those_of_the_whole_volume_in_any_of_48_orientations(axes):
    found, expected = both_ways(native_grid(axes, (12, 15, 10), (0.9, 0.7, 1.3)), num_bands=3)
    assert len(np.unique(expected)) == 4
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("num_bands", [1, 2, 5, 15])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_number_of_bands_does_not_matter(num_bands, batch_size):
    native = native_grid(np.eye(3), (7, 15, 30), (2.4, 0.7, 0.4))
    found, expected = both_ways(native, num_bands, batch_size)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("shape", [(1, 9, 11), (13, 1, 11), (13, 9, 1), (40, 40, 40)])
def test_one_slice_and_grids_that_reach_beyond_the_volume_are_labelled_alike(shape):
    found, expected = both_ways(native_grid(np.eye(3), shape, (1, 1, 1)))
    assert np.array_equal(found, expected)


def test_a_voxel_for_voxel_grid_gives_the_argmax_of_the_logits():
    found, _ = both_ways(Grid(SHAPE, np.eye(4)))
    volume = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    logits = SlidingWindow((5, 4, 6))(volume[None], network())[0]
    assert np.array_equal(found, logits.argmax(0).numpy())


def test_more_than_256_classes_fit():
    found, expected = both_ways(Grid(SHAPE, np.eye(4)), classes=300)
    assert found.dtype == np.uint16
    assert expected.max() > 255
    assert np.array_equal(found, expected)


def test_a_grid_that_is_oblique_to_the_volume_is_left_to_others():
    turned = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    volume = torch.zeros(1, *SHAPE)
    native = native_grid(turned, SHAPE, (1, 1, 1))
    grid = Grid(SHAPE, np.eye(4))
    assert stream_labels(volume, grid, native, network(), SlidingWindow((4, 4, 4))) is None


@pytest.mark.parametrize(
    ("limit_mb", "bands"),
    [
        (10_000, 1),
        # a row of 118 classes x 96 rows x 300 voxels takes 13.6 MB: 140 rows fit in 2000 MB less
        # the 67 MB of a chunk, two of them shared with the neighbours
        (2000, 3),
        (1, None),
    ],
)
def test_the_bands_keep_the_logits_below_the_limit(limit_mb, bands):
    assert count_bands((400, 300, 300), 96, 118, limit_mb * 10**6) == bands


def test_a_range_is_cut_into_parts_that_follow_each_other():
    parts = cut_evenly(10, 4)
    assert [part.start for part in parts] == [0, *[part.stop for part in parts[:-1]]]
    assert {part.stop - part.start for part in parts} == {2, 3}
