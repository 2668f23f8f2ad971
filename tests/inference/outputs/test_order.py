"""Voxels keep their places, whatever the order of memory."""

from itertools import permutations

import numpy as np
import pytest

from volseg.inference.outputs.order import blocks_of, in_file_order, slices_of


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("step", [1, -1])
def test_a_volume_in_file_order_is_the_same_volume(order, step):
    values = np.random.default_rng(0).integers(0, 300, (70, 3, 129)).transpose(order)[::step]
    ordered = in_file_order(values, np.uint16)
    assert ordered.flags.f_contiguous
    assert ordered.dtype == np.uint16
    assert np.array_equal(ordered, values)


def test_what_is_as_wanted_is_not_copied():
    values = np.zeros((3, 4, 5), np.uint8, order="F")
    assert in_file_order(values, np.uint8) is values
    assert in_file_order(values, np.uint16) is not values
    assert not np.shares_memory(in_file_order(values[::2], np.uint8), values)


def test_blocks_meet_every_voxel_once():
    counts = np.zeros((130, 65, 2), int)
    for block in blocks_of(counts.shape):
        counts[block] += 1
    assert counts.min() == counts.max() == 1


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_slices_lie_together_in_memory(order):
    values = np.zeros((3, 4, 5), np.uint8).transpose(order)[::-1]
    assert slices_of(values).shape[0] == 3
    assert all(piece.size == 20 for piece in slices_of(values))
