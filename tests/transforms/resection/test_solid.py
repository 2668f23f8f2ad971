"""The field of a solid is that of its ellipsoid, made rough, opened and cut."""

import math

import numpy as np
import pytest
import torch

from volseg.transforms.resection.cavity import HalfSpace, Solid
from volseg.transforms.resection.solid import (
    enclose,
    equivalent_radius,
    evaluate,
    is_near,
    level_holding,
    measure,
    rotation,
    roughen,
)

EGG = Solid(
    centre=(5, -3, 8), radii=(4, 9, 6), angles=(20, 50, -70), volume_ml=0.9, roughness=0.8, seed=3
)

CPU = torch.device("cpu")


def ball(radius=10.0, **kwargs):
    values = {"roughness": 0.0, "volume_ml": 4 / 3 * math.pi * radius**3 / 1000, **kwargs}
    return Solid(centre=(0, 0, 0), radii=(radius,) * 3, angles=(0, 0, 0), **values)


def field(solid, offsets, distance=None):
    places, level = measure(solid, offsets)
    return evaluate(solid, offsets, places, level, distance)


def spread(count=2000, reach=30.0):
    return reach * (2 * torch.rand(3, count, generator=torch.Generator().manual_seed(0)) - 1)


def test_a_ball_of_one_ml_has_a_radius_of_6_2_mm():
    assert equivalent_radius(1) == pytest.approx(6.2035, abs=1e-4)


def test_rotations_are_about_x_then_y_then_z_and_right_handed():
    assert rotation((90, 0, 0)) @ (0, 1, 0) == pytest.approx((0, 0, 1))
    assert rotation((0, 90, 0)) @ (0, 0, 1) == pytest.approx((1, 0, 0))
    assert rotation((0, 0, 90)) @ (1, 0, 0) == pytest.approx((0, 1, 0))
    assert rotation((90, 0, 90)) @ (0, 1, 0) == pytest.approx((0, 0, 1))


def test_a_smooth_balls_field_is_the_distance_in_radii():
    offsets = spread()
    assert torch.allclose(field(ball(8), offsets), offsets.norm(dim=0) / 8, atol=1e-5)


def test_the_tips_of_a_turned_ellipsoid_have_the_level_1():
    tips = torch.as_tensor(rotation(EGG.angles) * np.array(EGG.radii), dtype=torch.float32)
    assert torch.allclose(measure(EGG, tips)[1], torch.ones(3), atol=1e-5)


def test_roughness_moves_the_surface_by_no_more_than_its_bound():
    offsets = spread()
    _, level = measure(EGG, offsets)
    ratio = level / field(EGG, offsets)
    assert 1 - 0.35 * 0.8 * 1.6 <= ratio.min() < 0.9
    assert 1.1 < ratio.max() <= 1 + 0.35 * 0.8 * 1.6 + 1e-5
    assert level_holding(EGG, 1.0) >= 1 + 0.35 * 0.8 * 1.6


def test_fine_noise_is_added_near_the_wall_only():
    offsets = spread()
    value = field(EGG, offsets)
    rough = roughen(EGG, offsets, value, level=2.0)
    height = 1.6 * 0.8 / equivalent_radius(0.9)
    far = (value - 2).abs() > 5 * height
    assert torch.equal(rough[far], value[far])
    assert (rough - value)[~far].std() == pytest.approx(height, rel=0.2)


def test_the_box_holds_the_ellipsoid_and_no_more_on_an_oblique_left_handed_grid():
    turn = rotation((10, 25, -30)) @ np.diag([-1, 1, 1])
    affine = np.eye(4)
    affine[:3, :3] = turn * (1.0, 0.5, 2.0)
    affine[:3, 3] = EGG.centre - affine[:3, :3] @ (20, 40, 10)
    shape = (40, 80, 20)
    start, stop = enclose(EGG, affine, shape, 1.0)
    near = is_near(EGG, affine, shape, 1.0, CPU).nonzero()
    assert (near.amin(dim=0) >= torch.tensor(start)).all()
    assert (near.amax(dim=0) < torch.tensor(stop)).all()
    assert (near.amin(dim=0) - torch.tensor(start)).max() <= 2
    assert (torch.tensor(stop) - near.amax(dim=0)).max() <= 3


def test_there_is_no_box_beside_the_volume():
    affine = np.eye(4)
    affine[:3, 3] = 500
    assert enclose(EGG, affine, (20, 20, 20), 1.0) is None


def test_what_is_near_is_what_measures_below_the_level():
    affine = np.diag([1.5, 1.0, 2.0, 1.0])
    affine[:3, 3] = (-10, -15, -9)
    shape = (20, 24, 16)
    index = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).reshape(3, -1)
    places = torch.as_tensor(affine[:3, :3]).float() @ index.float()
    offsets = places + torch.as_tensor(affine[:3, 3] - np.array(EGG.centre))[:, None].float()
    inside = (measure(EGG, offsets)[1] <= 1.3).reshape(shape)
    assert 100 < inside.sum() < inside.numel() / 2
    assert int((inside != is_near(EGG, affine, shape, 1.3, CPU)).sum()) <= 1  # rounding


def test_a_corridor_is_open_from_the_core_to_its_entry():
    solid = ball(6, corridor=4.0, entry=(0.0, 0.0, 30.0))
    along = torch.zeros(3, 30)
    along[2] = torch.arange(30)
    assert (field(solid, along) <= 1).all()
    beside = along.clone()
    beside[0] = 9.0
    assert (field(solid, beside)[12:] > 1).all()


def test_nothing_lies_beyond_a_cutting_plane():
    cut = HalfSpace(point=(0, 4, 0), normal=(0, 1, 0))
    offsets = spread()
    value = field(ball(10, planes=(cut,)), offsets)
    # The plane is uneven by 2 mm, and its noise stays below 4 standard deviations.
    assert value[offsets[1] > 4 + 8].isinf().all()
    assert value[offsets[1] < 4 - 8].isfinite().all()
    assert 0.3 < value[(offsets[1] - 4).abs() < 1].isinf().float().mean() < 0.7


def test_an_outline_is_followed_instead_of_the_ellipsoid():
    offsets = spread()
    distance = offsets[0]  # a half space
    value = field(ball(10), offsets, distance)
    assert torch.allclose(value, (1 + distance / 10).clamp(min=0.02), atol=1e-4)


def test_what_lies_away_from_the_entry_is_left_behind_first():
    solid = ball(10, entry=(0.0, 0.0, 20.0))
    offsets = torch.tensor([[0.0, 0, 5], [0, 0, -5]]).t()
    toward, away = field(solid, offsets, torch.zeros(2))
    assert float(away - toward) == pytest.approx(0.3 * 10 / 10, abs=1e-4)
