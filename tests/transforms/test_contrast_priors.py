"""The order of tissues on each contrast."""

import numpy as np
import pytest

from volseg.transforms.contrast_priors import LEAST_GAPS, RANGES, draw_kind_means
from volseg.transforms.label_kinds import Kind


def draw(contrast, count=200):
    random = np.random.RandomState(0)
    return [draw_kind_means(contrast, random) for _ in range(count)]


@pytest.mark.parametrize(
    ("contrast", "order"),
    [
        ("T1", (Kind.FLUID, Kind.GREY, Kind.WHITE)),
        ("T1c", (Kind.FLUID, Kind.GREY, Kind.WHITE, Kind.VEIN)),
        ("T2", (Kind.BONE, Kind.WHITE, Kind.GREY, Kind.FLUID)),
        ("FLAIR", (Kind.FLUID, Kind.WHITE, Kind.GREY, Kind.LESION)),
        ("PD", (Kind.BONE, Kind.WHITE, Kind.GREY)),
    ],
)
def test_tissues_keep_the_order_of_a_real_contrast(contrast, order):
    means = np.array([[each[kind] for kind in order] for each in draw(contrast)])
    shares = (np.diff(means, axis=1) > 0).mean(axis=0)
    # White matter may meet the veins of T1c; everything else is disjoint by its ranges.
    assert (shares > 0.97).all()
    assert (shares[:2] == 1).all()


def test_every_order_occurs_on_an_unknown_contrast():
    kinds = (Kind.FLUID, Kind.GREY, Kind.WHITE)
    orders = {tuple(np.argsort([each[kind] for kind in kinds])) for each in draw("unknown")}
    assert len(orders) == 6


@pytest.mark.parametrize("kind", [Kind.WHITE, Kind.GREY])
def test_fluid_never_hides_in_the_brain(kind):
    gaps = [abs(each[Kind.FLUID] - each[kind]) for each in draw("unknown", 500)]
    assert min(gaps) >= LEAST_GAPS[kind] - 1e-9


def test_fluid_of_an_unknown_contrast_has_any_brightness():
    levels = [each[Kind.FLUID] for each in draw("unknown", 500)]
    assert np.histogram(levels, 4, (0, 1))[0].min() > 80
    assert 0 <= min(levels) < max(levels) <= 1


@pytest.mark.parametrize("contrast", ["T1", "FLAIR", "unknown"])
def test_every_kind_has_a_brightness_and_ventricles_hold_fluid(contrast):
    for means in draw(contrast, 20):
        assert set(means) == set(Kind)
        assert means[Kind.VENTRICLE] == means[Kind.FLUID]
        low, high = sorted([means[Kind.GREY], means[Kind.WHITE]])
        assert low <= means[Kind.FOLIA] <= high


def test_the_lowest_mean_of_a_range_comes_first():
    assert all(0 <= low < high for ranges in RANGES.values() for low, high in ranges)
