"""Otsu's thresholds."""

from itertools import combinations

import numpy as np
import pytest
import torch

from volseg.errors import GeometryError
from volseg.transforms.thresholds import otsu_thresholds


def variance_within(values, thresholds):
    """The criterion by its definition: variance within the classes, weighted by their size."""
    classes = np.digitize(values, thresholds)
    return sum(values[classes == c].var() * (classes == c).sum() for c in np.unique(classes))


@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_no_other_cut_of_the_histogram_is_better(num_classes):
    generator = np.random.default_rng(0)
    values = generator.integers(0, 12, 200).astype(float) + 0.5
    values[:2] = 0, 12  # bins of width 1, values in their middle
    found = otsu_thresholds(torch.from_numpy(values), num_classes, bins=12).tolist()
    middles = np.clip(values, 0.5, 11.5)
    every = combinations(range(1, 12), num_classes - 1)
    best = min(variance_within(middles, cut) for cut in every)
    assert variance_within(middles, found) == pytest.approx(best)


def test_three_plateaus_are_told_apart():
    values = torch.tensor([0.0] * 50 + [5.0] * 3 + [9.0] * 20)
    low, high = otsu_thresholds(values, 3).tolist()
    assert 0 < low <= 5 < high <= 9


def test_scale_and_offset_of_the_intensities_do_not_matter():
    values = torch.randn(500, generator=torch.Generator().manual_seed(0))
    first, second = otsu_thresholds(values, 3), otsu_thresholds(4 * values + 8, 3)
    torch.testing.assert_close(second, 4 * first + 8, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("values", [torch.zeros(0), torch.full((5,), 3.0)])
def test_fewer_intensities_than_classes_leave_the_last_classes_empty(values):
    assert otsu_thresholds(values, 3).tolist() == [float("inf")] * 2


@pytest.mark.parametrize(("num_classes", "bins"), [(1, 256), (5, 4)])
def test_impossible_numbers_of_classes_are_refused(num_classes, bins):
    with pytest.raises(GeometryError, match="use 2 classes or more"):
        otsu_thresholds(torch.zeros(3), num_classes, bins)
