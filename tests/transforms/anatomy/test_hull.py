"""The hull fills sulci, and depth is in mm on every grid."""

import numpy as np
import pytest
import torch

from volseg.transforms.anatomy.hull import find_box, hull_depth


def ball(spacing, radius=30.0, extent=64.0):
    """Mark a ball in the middle of a cube; give also the places in mm from its centre."""
    axes = [np.arange(round(extent / edge)) * edge for edge in spacing]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    places -= np.array([each.mean() for each in axes])[:, None, None, None]
    return torch.from_numpy((places**2).sum(axis=0) <= radius**2), places


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.8, 1.0), (1.0, 1.0, 4.0)])
def test_depth_in_a_ball_is_the_distance_to_its_surface(spacing):
    mask, places = ball(spacing)
    depth = hull_depth(mask, np.array(spacing)).float() / 2
    away = torch.from_numpy(np.sqrt((places**2).sum(axis=0)))
    expected = (30 - away)[mask]
    # The surface is known to half of the coarse voxel's edge, here at most 4 mm.
    gap = (depth[mask] - expected).abs()
    assert gap.quantile(0.95) <= max(2.0, *spacing) / 2 + 1
    assert depth[away > 33].max() == 0


def test_a_narrow_cleft_is_filled_and_a_wide_gap_is_not():
    mask, places = ball((1.0, 1.0, 1.0))
    beneath = torch.from_numpy((places[2] > 5) & (places[2] < 20))
    width = torch.from_numpy(np.abs(places[0]))
    cleft = hull_depth(mask & ~(beneath & (width < 4)), np.ones(3))
    gap = hull_depth(mask & ~(torch.from_numpy(places[2] > 0) & (width < 16)), np.ones(3))
    middle = torch.from_numpy((np.abs(places[0]) < 2) & (np.abs(places[1]) < 2))
    column = middle & torch.from_numpy((places[2] > 8) & (places[2] < 17))
    assert bool((cleft[column] > 0).all())
    assert not bool((gap[column] > 0).any())


def test_every_voxel_of_the_brain_has_a_depth():
    mask = torch.zeros(20, 20, 20, dtype=torch.bool)
    mask[3, 4, 5] = True
    mask[10:15, 10:15, 10:15] = True
    assert bool((hull_depth(mask, np.ones(3))[mask] > 0).all())


def test_the_box_holds_exactly_what_is_marked():
    mask = torch.zeros(5, 6, 7, dtype=torch.bool)
    assert find_box(mask) is None
    mask[1, 2, 3] = mask[3, 5, 4] = True
    assert find_box(mask) == ((1, 2, 3), (4, 6, 5))
