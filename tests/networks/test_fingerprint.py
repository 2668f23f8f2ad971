"""Fingerprints: equal for equal networks, far apart for others, the encoder left alone."""

import math

import pytest
import torch

from volseg.networks.encoder import FeatureSpec
from volseg.networks.fingerprint import (
    TOLERANCE,
    Fingerprint,
    fingerprint,
    fingerprint_size,
    fixed_input,
)
from volseg.networks.residual import ResidualEncoder

LEVEL = (0.0, 2.0, 1.0, 1.0, 1.0)


def encoder(channels=1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResidualEncoder(channels, (4, 8))


def test_the_figures_are_those_of_the_maps():
    network = encoder().eval()
    found = fingerprint(network)
    for level, figures in zip(network(fixed_input(1, found.size)), found.levels, strict=True):
        values = level.detach().numpy().astype(float)
        wanted = (values.mean(), values.std(), values.flat[0], values.flat[-1])
        assert (*figures[:3], figures[4]) == pytest.approx(wanted, rel=1e-6, abs=1e-9)
        assert figures[3] == pytest.approx(values.flat[values.size // 2])


def test_a_state_is_judged_in_place_of_the_encoders_own():
    other = ResidualEncoder(1, (4, 8))
    assert fingerprint(other, state=encoder().state_dict()) == fingerprint(encoder())
    assert fingerprint(other).difference(fingerprint(encoder())) > TOLERANCE


def test_measuring_changes_neither_mode_nor_type_nor_random_state():
    network, state = encoder().double().train(), torch.get_rng_state()
    before = fingerprint(network)
    assert network.training
    assert next(network.parameters()).dtype == torch.float64
    assert torch.equal(torch.get_rng_state(), state)
    assert before == fingerprint(network.float().eval())


def test_every_channel_of_the_input_holds_the_same_image():
    volume = fixed_input(3, (4, 5, 6))
    assert volume.shape == (1, 3, 4, 5, 6)
    assert torch.equal(volume[:, 0], volume[:, 2])


def test_the_input_tells_the_axes_apart():
    volume = fixed_input(1, (24, 24, 24))[0, 0]
    slopes = [float(volume.narrow(axis, 12, 12).mean()) for axis in range(3)]
    # The mean of the upper half of a line from -1 to 1 in 24 steps is 12 / 23; noise: 0.5 / 83.
    assert slopes == pytest.approx([12 / 23, 24 / 23, 36 / 23], abs=0.03)


@pytest.mark.parametrize(
    ("divisor", "size"),
    [((16, 16, 16), (16, 32, 48)), ((1, 1, 1), (8, 16, 24)), ((4, 6, 32), (8, 24, 96))],
)
def test_the_size_is_small_divisible_and_different_along_each_axis(divisor, size):
    assert fingerprint_size(FeatureSpec(1, (4,), (divisor,), "fill", divisor)) == size


def test_differences_are_measured_in_spreads():
    one, two = (
        Fingerprint((8, 8, 8), (LEVEL,)),
        Fingerprint((8, 8, 8), ((0.0, 2.0, 1.0, 1.0, 4.0),)),
    )
    assert one.difference(two) == 1.5
    assert one.difference(one) == 0


@pytest.mark.parametrize(
    "other",
    [
        Fingerprint((8, 8, 16), (LEVEL,)),
        Fingerprint((8, 8, 8), (LEVEL, LEVEL)),
        Fingerprint((8, 8, 8), (LEVEL[:2],)),
        Fingerprint((8, 8, 8), ((math.nan, *LEVEL[1:]),)),
    ],
)
def test_what_cannot_be_compared_is_infinitely_far(other):
    assert Fingerprint((8, 8, 8), (LEVEL,)).difference(other) == math.inf
    assert other.difference(Fingerprint((8, 8, 8), (LEVEL,))) == math.inf
