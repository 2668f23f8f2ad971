"""Filters do what the formula says."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from volseg.transforms.resection.filters import blur, convolve, gaussian

SIZE = (36, 40, 44)


def test_a_convolution_agrees_with_another_implementation():
    volume = torch.from_numpy(np.random.RandomState(0).standard_normal(SIZE)).float()
    for axis in range(3):
        truth = ndimage.convolve1d(volume.numpy(), gaussian(1.3), axis=axis, mode="nearest")
        assert np.allclose(convolve(volume, gaussian(1.3), axis), truth, atol=1e-5)


def test_a_blur_of_a_step_is_half_at_the_step():
    step = torch.zeros(SIZE)
    step[18:] = 1
    soft = blur(step, (1.0, 0.0, 0.0))[:, 5, 5]
    assert float(soft[17] + soft[18]) == pytest.approx(1, abs=1e-6)
    # One deviation and a half from the step a normal law has 93.3 % of its mass on one side; its
    # samples on a grid have it to a few thousandths.
    assert float(soft[19]) == pytest.approx(0.933, abs=0.01)
