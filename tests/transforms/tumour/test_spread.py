"""Arrival times of a front, where they are known in closed form."""

import pytest
import torch

from volseg.transforms.tumour.spread import FAR, arrival


def make_seed(size=41):
    seeds = torch.zeros(size, size, size, dtype=torch.bool)
    seeds[size // 2, size // 2, size // 2] = True
    return seeds


def test_in_uniform_tissue_time_is_distance():
    seeds = make_seed()
    times = arrival(seeds, torch.ones_like(seeds), torch.ones(3, *seeds.shape), 15.0)
    middle = 20
    assert times[middle + 15, middle, middle] == pytest.approx(15.0)
    diagonal = float(times[middle + 8, middle + 8, middle + 8])
    assert diagonal == pytest.approx(8 * 3**0.5, rel=0.15)  # a first-order scheme is late


def test_an_axis_that_costs_twice_as_much_takes_twice_as_long():
    seeds = make_seed(21)
    costs = torch.ones(3, *seeds.shape)
    costs[1] = 2.0
    times = arrival(seeds, torch.ones_like(seeds), costs, 8.0)
    assert times[10 + 6, 10, 10] == pytest.approx(6.0)
    assert times[10, 10 + 3, 10] == pytest.approx(6.0)


def test_a_wall_is_walked_around_and_a_closed_one_not_passed():
    seeds = torch.zeros(1, 9, 9, dtype=torch.bool)
    seeds[0, 4, 0] = True
    passable = torch.ones_like(seeds)
    passable[0, 1:, 4] = False
    times = arrival(seeds, passable, torch.ones(3, 1, 9, 9), 40.0)
    straight = arrival(seeds, torch.ones_like(seeds), torch.ones(3, 1, 9, 9), 40.0)
    assert straight[0, 4, 8] == pytest.approx(8.0)
    assert times[0, 4, 8] > 2 * (4**2 + 4**2) ** 0.5 - 1e-3
    assert (times[0, 1:, 4] == FAR).all()
    passable[0, 0, 4] = False
    assert (arrival(seeds, passable, torch.ones(3, 1, 9, 9), 40.0)[0, :, 5:] == FAR).all()
