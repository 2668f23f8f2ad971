"""Tissues are measured robustly, and the texture of the fluid as it is."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.statistics import (
    erode,
    measure_statistics,
    neighbour_correlation,
)

SIZE = (40, 40, 40)


def slabs(kinds):
    """Make a head of slabs of equal thickness along the first axis."""
    tissue = torch.zeros(SIZE, dtype=torch.uint8)
    for part, kind in zip(tissue.chunk(len(kinds)), kinds, strict=True):
        part.fill_(kind)
    depth = torch.full(SIZE, 20, dtype=torch.uint8)
    return Anatomy(tissue, torch.ones_like(depth), torch.ones_like(depth), depth, np.eye(4))


HEAD = slabs([Tissue.AIR, Tissue.VENTRICLE, Tissue.CORTEX, Tissue.WHITE])


def image_of(means, noise):
    return torch.repeat_interleave(torch.tensor(means), 10).reshape(-1, 1, 1) + noise


def smooth_noise(deviation, seed=0):
    noise = np.random.RandomState(seed).standard_normal(SIZE)
    noise = ndimage.gaussian_filter(noise, deviation) if deviation else noise
    return torch.from_numpy(noise / noise.std()).float()


def test_each_tissue_has_its_median_and_spread():
    measured = measure_statistics(image_of([0.0, 20.0, 60.0, 100.0], 2 * smooth_noise(0)), HEAD)
    for (median, spread), truth in zip(
        (measured.fluid, measured.grey, measured.white), (20, 60, 100), strict=True
    ):
        # The standard error of a median of 2000 voxels or more is below 0.06.
        assert median == pytest.approx(truth, abs=0.25)
        assert spread == pytest.approx(2, rel=0.08)
    # Cut at three deviations, a normal law keeps 98.7 % of its spread.
    assert measured.noise == pytest.approx(2 * 0.987, rel=0.03)
    assert measured.low < 0
    assert measured.high > 100


@pytest.mark.parametrize("deviation", [0.0, 0.9, 1.2])
def test_filtered_noise_correlates_as_the_formula_says(deviation):
    # White noise filtered by a Gaussian of deviation s correlates by exp(-1 / (4 s^2)); below 0.9
    # voxels the samples of the Gaussian differ from it.
    truth = math.exp(-1 / (4 * deviation**2)) if deviation else 0.0
    image = image_of([0.0, 20.0, 60.0, 100.0], 2 * smooth_noise(deviation))
    assert measure_statistics(image, HEAD).lag1 == pytest.approx((truth,) * 3, abs=0.06)


def test_a_plexus_in_the_ventricle_does_not_matter():
    clean = image_of([0.0, 20.0, 60.0, 100.0], 2 * smooth_noise(0.7))
    bright = clean.clone()
    bright[14:17, 10:30, 18:22] = 120
    before, after = measure_statistics(clean, HEAD), measure_statistics(bright, HEAD)
    assert after.fluid == pytest.approx(before.fluid, rel=0.08)
    assert after.noise == pytest.approx(before.noise, rel=0.08)


@pytest.mark.parametrize("grey", [60.0, -20.0])
def test_partial_volume_hardly_moves_the_fluid(grey):
    image = image_of([0.0, 20.0, grey, 100.0], 2 * smooth_noise(0.5))
    share = torch.linspace(0, 1, 14).reshape(1, 1, -1)
    image[10:20, :, :14] += share * (grey - 20)
    measured = measure_statistics(image, HEAD)
    # A third of the fluid is mixed evenly with up to all grey, which draws its median along.
    assert abs(float(image[10:20].median()) - 20) > 0.7
    assert measured.fluid[0] == pytest.approx(20, abs=0.5)
    assert measured.fluid[1] == pytest.approx(2, rel=0.12)


def test_a_slow_variation_is_told_from_fine_noise():
    wave = torch.sin(torch.arange(40) * 2 * math.pi / 40).reshape(1, -1, 1) * math.sqrt(2)
    noise = smooth_noise(0)
    means = [0.0, 20.0, 60.0, 100.0]
    mixed = measure_statistics(
        image_of(means, math.sqrt(0.6) * wave + math.sqrt(0.4) * noise), HEAD
    )
    assert mixed.slow == pytest.approx(0.6, abs=0.1)
    assert measure_statistics(image_of(means, noise), HEAD).slow < 0.05


def test_without_fluid_it_is_guessed_beyond_grey_matter():
    head = slabs([Tissue.AIR, Tissue.CORTEX, Tissue.CORTEX, Tissue.WHITE])
    measured = measure_statistics(image_of([0.0, 60.0, 60.0, 100.0], smooth_noise(0)), head)
    # As far beyond grey as white is on its other side: 60 - (100 - 60).
    assert measured.fluid[0] == pytest.approx(20, abs=0.5)


def test_without_any_tissue_there_is_still_a_scale():
    head = slabs([Tissue.AIR, Tissue.AIR])
    measured = measure_statistics(torch.rand(SIZE), head)
    assert measured.low < measured.white[0] < measured.high
    assert all(math.isfinite(each) for each in (measured.noise, *measured.fluid))


def test_neighbours_of_a_ramp_agree_and_those_of_stripes_oppose():
    everywhere = torch.ones(8, 8, 8, dtype=torch.bool)
    ramp = torch.arange(8.0).reshape(-1, 1, 1).expand(8, 8, 8)
    stripes = (-1.0) ** ramp
    assert neighbour_correlation(ramp, everywhere, 0) == pytest.approx(1)
    assert neighbour_correlation(stripes, everywhere, 0) == pytest.approx(-1)
    assert neighbour_correlation(stripes, everywhere, 0, step=2) == pytest.approx(1)
    assert neighbour_correlation(ramp, torch.zeros_like(everywhere), 0) == 0


def test_erosion_agrees_with_another_implementation():
    mask = smooth_noise(1) > 0
    truth = ndimage.binary_erosion(mask.numpy())
    assert np.array_equal(erode(mask).numpy(), truth)
