"""Blurring and closing against independent versions and closed forms."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from volseg.transforms.filters import blur, blur_axis, close_gaps


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_blur_is_that_of_scipy(sigma, axis):
    volume = torch.randn(14, 15, 16, generator=torch.Generator().manual_seed(0))
    radius = int(np.ceil(2.5 * sigma))
    expected = ndimage.gaussian_filter1d(
        volume.numpy(), sigma, axis=axis, mode="nearest", radius=radius
    )
    np.testing.assert_allclose(blur_axis(volume, sigma, axis), expected, atol=2e-6)


def test_a_blur_is_as_wide_in_mm_along_every_axis():
    volume = torch.zeros(41, 21, 11)
    volume[20, 10, 5] = 1
    blurred = blur(volume, 3.0, (1.0, 2.0, 4.0))
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    for axis, spacing in enumerate((1.0, 2.0, 4.0)):
        profile = blurred.sum(dim=[other for other in range(3) if other != axis])
        places = (torch.arange(len(profile)) - len(profile) // 2) * spacing
        deviation = float((profile * places**2).sum()) ** 0.5
        # A kernel cut at 2.5 deviations loses 5 % of its width; sampling costs up to 3 % more.
        assert deviation == pytest.approx(0.95 * 3.0, rel=0.05)


def test_a_blur_of_almost_nothing_does_nothing():
    volume = torch.randn(4, 4, 4)
    assert torch.equal(blur(volume, 0.1, (1.0, 1.0, 1.0)), volume)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 1.5, 1.5), (1.0, 1.0, 3.0)])
def test_only_narrow_gaps_are_closed(spacing):
    count = [round(60 / edge) for edge in spacing]
    mm = (torch.arange(count[0]) + 0.5) * spacing[0]
    is_tissue = (mm > 6) & (mm < 54)
    is_tissue &= ~((mm > 18) & (mm < 22))
    is_tissue &= ~((mm > 34) & (mm < 48))
    mask = is_tissue.view(-1, 1, 1).expand(*count).clone()
    closed = close_gaps(mask, 8.0, spacing)
    assert bool((closed | ~mask).all())
    middle = closed[:, count[1] // 2, count[2] // 2]
    assert bool(middle[(mm > 18) & (mm < 22)].all())
    assert not bool(middle[(mm > 37) & (mm < 45)].any())
    assert not bool(middle[mm < 3].any())
