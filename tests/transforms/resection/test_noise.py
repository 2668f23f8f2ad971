"""Noise has the variance, the wavelength and the smoothness that it promises."""

import pytest
import torch

from volseg.transforms.resection.noise import band_noise, direction_noise, space_noise


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def correlation(volume, axis, lag):
    """Correlation of a volume with itself some voxels on."""
    count = volume.shape[axis] - lag
    first, second = volume.narrow(axis, 0, count), volume.narrow(axis, lag, count)
    return float((first * second).mean() / volume.square().mean())


@pytest.mark.parametrize("octaves", [1, 2])
def test_every_voxel_of_a_box_has_mean_0_and_variance_1(octaves):
    draws = torch.stack(
        [band_noise((9, 8, 7), (1, 1, 2.5), 7, seeded(seed), octaves) for seed in range(300)]
    )
    # Of 504 voxels the mean strays 4.5 standard errors of 1 / 300 ** 0.5, the sd as many of 1 / 24.
    assert draws.mean(dim=0).abs().max() < 4.5 / 300**0.5
    assert (draws.std(dim=0) - 1).abs().max() < 4.5 / 24


def test_noise_looks_the_same_along_every_axis_however_thick_the_slices():
    volume = band_noise((64, 64, 32), (1, 1, 2), 12, seeded(0))
    along = [correlation(volume, axis, lag) for axis, lag in ((0, 4), (1, 4), (2, 2))]
    assert max(along) - min(along) < 0.1  # 4 mm each


def test_noise_of_twice_the_wavelength_on_twice_the_spacing_is_the_same():
    assert torch.equal(
        band_noise((12, 13, 14), (1, 1, 1), 8, seeded(1), 2),
        band_noise((12, 13, 14), (2, 2, 2), 16, seeded(1), 2),
    )


def test_noise_is_uncorrelated_a_wavelength_away_and_smooth_within_an_eighth():
    volume = band_noise((96, 96, 48), (1, 1, 1), 16, seeded(2))
    assert correlation(volume, 0, 2) > 0.9
    assert abs(correlation(volume, 0, 24)) < 0.1


def test_the_same_seed_gives_the_same_noise_and_another_seed_another():
    size, spacing = (10, 10, 10), (1.0, 1.0, 1.0)
    noise = band_noise(size, spacing, 6, seeded(3))
    assert torch.equal(noise, band_noise(size, spacing, 6, seeded(3)))
    other = band_noise(size, spacing, 6, seeded(4))
    assert abs(float((noise * other).mean())) < 0.3


def test_noise_on_the_sphere_does_not_depend_on_the_length_of_the_vectors():
    directions = torch.randn(3, 500, generator=seeded(0))
    lengths = torch.linspace(0.1, 9, 500)
    noise = direction_noise(directions, 5)
    assert torch.allclose(noise, direction_noise(directions * lengths, 5), atol=1e-4)


def test_noise_on_the_sphere_has_no_seam():
    """Where the octahedral map is folded, and elsewhere, small steps make small changes."""
    angles = torch.linspace(0, 2 * torch.pi, 20001)
    for axis in range(3):
        circle = torch.stack([angles.cos(), angles.sin(), torch.zeros_like(angles)]).roll(axis, 0)
        steps = direction_noise(circle, 6).diff().abs()
        assert steps.max() < 0.01  # of a range of about 3, in steps of 0.3 thousandths of a turn


def test_noise_on_the_sphere_has_mean_0_and_variance_1_over_the_seeds():
    directions = torch.randn(3, 40, generator=seeded(1))
    draws = torch.stack([direction_noise(directions, seed) for seed in range(100)])
    assert draws.mean(dim=0).abs().max() < 4 / 100**0.5
    assert 0.8 < draws.std(dim=0).mean() < 1.05


def test_noise_in_space_is_read_at_positions_not_at_voxels():
    places = 100 * torch.rand(3, 400, generator=seeded(0)) - 50
    assert torch.equal(space_noise(places, 6, 7)[100:], space_noise(places[:, 100:], 6, 7))
    shifted = places + torch.tensor([16 * 6.0, 0, 0])[:, None]
    assert torch.allclose(space_noise(places, 6, 7), space_noise(shifted, 6, 7), atol=1e-3)
    near = space_noise(places + 0.01, 6, 7)
    assert (near - space_noise(places, 6, 7)).abs().max() < 0.05


def test_noise_in_space_has_mean_0_and_variance_1_over_the_seeds():
    places = 100 * torch.rand(3, 30, generator=seeded(0)) - 50
    draws = torch.stack([space_noise(places, 6, seed) for seed in range(80)])
    assert draws.mean(dim=0).abs().max() < 4 / 80**0.5
    assert 0.8 < draws.std(dim=0).mean() < 1.05
