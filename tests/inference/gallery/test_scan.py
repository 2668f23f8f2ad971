import numpy as np
import pytest

from tests.inference.gallery.grids import TURNS, turned
from volseg.errors import DataError, GeometryError
from volseg.inference.gallery.scan import (
    block_means,
    find_classes,
    find_focus,
    turn_upright,
)

AFFINE = np.array([[2.0, 0, 0, -30], [0, 3, 0, 10], [0, 0, 5, 7], [0, 0, 0, 1]])


def test_there_are_48_ways_to_store_a_volume():
    assert len(TURNS) == 48


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_every_way_of_storing_a_volume_is_turned_to_the_same(turn):
    values = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    stored, affine = turned(values, AFFINE, turn)
    scan = turn_upright(stored, stored, affine)
    assert np.array_equal(scan.values, values)
    assert np.array_equal(scan.labels, values)
    assert np.allclose(scan.affine, AFFINE, atol=1e-12)


def test_nothing_is_copied_by_turning():
    values = np.zeros((2, 3, 4))
    scan = turn_upright(values, values > 0, np.diag([-1.0, 1, -1, 1]))
    assert np.shares_memory(scan.values, values)


def test_what_is_cut_out_stays_where_it_was():
    values = np.arange(6 * 7 * 8).reshape(6, 7, 8)
    scan = turn_upright(values, values, AFFINE)
    part = scan.crop((slice(2, 6), slice(1, 5), slice(3, 4)))
    assert part.values[1, 2, 0] == part.labels[1, 2, 0] == values[3, 3, 3]
    assert part.place((1, 2, 0)) == scan.place((3, 3, 3))


def test_labels_on_another_grid_are_refused():
    with pytest.raises(GeometryError, match=r"shape \(2, 2, 2\) and labels of shape \(2, 2, 3\)"):
        turn_upright(np.zeros((2, 2, 2)), np.zeros((2, 2, 3), np.uint8), np.eye(4))


def test_labels_that_are_no_whole_numbers_are_refused():
    with pytest.raises(DataError, match="labels of type float64; a picture needs whole numbers"):
        turn_upright(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), np.eye(4))


@pytest.mark.parametrize("factors", [(1, 1, 1), (2, 3, 4), (5, 2, 7), (9, 9, 9)])
def test_block_means_are_means_of_blocks(factors):
    volume = np.random.default_rng(0).normal(size=(5, 6, 7))
    means = block_means(volume, factors, lambda slab: slab)
    for index in np.ndindex(*means.shape):
        block = tuple(slice(i * by, (i + 1) * by) for i, by in zip(index, factors, strict=True))
        assert means[index] == pytest.approx(volume[block].mean(), abs=1e-6)


def test_classes_are_found_with_their_boxes_across_slabs():
    labels = np.zeros((6, 7, 40), dtype=np.uint8)
    labels[1:3, 2:5, 14:35] = 7
    labels[5, 6, 0] = 2
    assert find_classes(labels) == {
        2: (slice(5, 6), slice(6, 7), slice(0, 1)),
        7: (slice(1, 3), slice(2, 5), slice(14, 35)),
    }


def test_the_focus_lies_in_the_largest_lesion_and_not_between_two():
    labels = np.zeros((200, 20, 20), dtype=np.uint8)
    labels[5:8, 5:8, 5:8] = 1
    labels[150:171, 4:15, 5:16] = 2
    scan = turn_upright(labels, labels, np.eye(4))
    assert find_focus(scan) == pytest.approx((160, 9, 10), abs=1)


def test_the_focus_of_a_ring_is_on_the_ring():
    across = np.indices((41, 41, 3)) - 20
    distance = np.hypot(across[0], across[1])
    ring = ((distance > 12) & (distance < 16)).astype(np.uint8)
    assert ring[find_focus(turn_upright(ring, ring, np.eye(4)))] == 1


def test_without_labels_the_focus_is_the_middle():
    labels = np.zeros((9, 7, 5), dtype=np.uint8)
    assert find_focus(turn_upright(labels, labels, np.eye(4))) == (4, 3, 2)
