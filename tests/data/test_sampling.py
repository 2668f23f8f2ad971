"""Values at places in mm."""

import numpy as np
import pytest

from volseg.data.sampling import sample

AFFINE = np.array([[0, -2.0, 0, 5], [3.0, 0, 0, -4], [0, 0, 1.5, 1], [0, 0, 0, 1]])


def test_a_linear_ramp_is_read_exactly_between_the_voxels():
    index = np.indices((6, 7, 8)).transpose(1, 2, 3, 0)
    places = index @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    ramp = places @ (1.0, 2, -3) + 4
    points = places[1:5, 1:6, 1:7].reshape(-1, 3) + np.array([0.7, -0.9, 0.4])
    assert np.allclose(sample(ramp, AFFINE, points), points @ (1.0, 2, -3) + 4)


def test_outside_holds_the_nearest_value_or_what_is_given():
    values = np.arange(8.0).reshape(2, 2, 2)
    far = np.array([[100.0, 100, 100]])
    # x runs against the second axis, so a large x is its first voxel
    assert sample(values, AFFINE, far) == pytest.approx([5])
    assert sample(values, AFFINE, far, fill_value=-1) == pytest.approx([-1])
