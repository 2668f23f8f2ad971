"""Simplex noise is that which resector draws from, and has the properties of its lattice."""

from pathlib import Path

import numpy as np
import pytest

from volseg.transforms.resection.simplex import simplex_noise

STORED = np.load(Path(__file__).with_name("compat.npz"))


def places(count=500, seed=0):
    return np.random.RandomState(seed).uniform(-20, 20, (count, 3))


def test_it_is_the_noise_that_resector_draws_from():
    found = simplex_noise(STORED["noise_points"])
    # Its 32-bit floats know places up to 2700, as the fourth octave has them, to 1e-4.
    assert found == pytest.approx(STORED["noise_values"], abs=1e-3)


def test_it_is_nothing_at_the_nodes_of_its_lattice():
    nodes = np.random.RandomState(1).randint(-50, 50, (100, 3)).astype(float)
    unskewed = nodes - nodes.sum(axis=1, keepdims=True) / 6
    assert np.abs(simplex_noise(unskewed, octaves=1)).max() < 1e-9


def test_it_repeats_after_256_cells():
    shift = 256 * (np.array([1.0, 0.0, 0.0]) - 1 / 6)
    assert simplex_noise(places() + shift) == pytest.approx(simplex_noise(places()), abs=1e-9)
    assert np.abs(simplex_noise(places() + shift / 2) - simplex_noise(places())).max() > 0.1


def test_octaves_halve_in_width_and_height():
    first, second = (simplex_noise(scale * places(), octaves=1) for scale in (1, 2))
    assert simplex_noise(places(), octaves=2) == pytest.approx((first + 0.5 * second) / 1.5)


def test_it_is_smooth_and_bounded():
    assert np.abs(simplex_noise(places(5000))).max() <= 1
    # The line crosses about a hundred simplices; no octave is steeper than 6.
    step = 1e-3
    line = np.arange(-20, 20, step)[:, None] * np.array([0.6, 0.48, 0.64])
    assert np.abs(np.diff(simplex_noise(line, octaves=1))).max() < 6 * step
