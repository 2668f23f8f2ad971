"""Paint mixes what it is given, and texture is that of the scan's own fluid."""

import pytest
import torch

from volseg.transforms.resection.appearance import (
    kernel_of_correlation,
    make_texture,
    paint,
    paint_flap,
)
from volseg.transforms.resection.contrast import PARTS, Palette
from volseg.transforms.resection.fields import Fields
from volseg.transforms.resection.statistics import TissueStatistics, neighbour_correlation

SIZE = (48, 48, 48)
PALETTE = Palette({part: 10.0 * (place + 1) for place, part in enumerate(PARTS)}, white=7.0)
LEVEL = PALETTE.levels
ONES = torch.ones(2, 2, 2)


def scale(lag1, slow=0.0, noise=4.0):
    level = (50.0, 4.0)
    return TissueStatistics(level, level, level, 0.0, 99.0, 0.0, noise, lag1, slow)


def texture(lag1, slow=0.0, seed=0, spacing=(1.0, 1.0, 1.0)):
    return make_texture(SIZE, spacing, scale(lag1, slow), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lag1", [(0, 0, 0), (0.3, 0.6, 0.9), (0.7, 0.7, 0.7), (-0.2, 0.5, 0.5)])
def test_a_texture_correlates_along_each_axis_as_the_scan_does(lag1):
    noise = texture(lag1)
    everywhere = torch.ones(SIZE, dtype=torch.bool)
    measured = [neighbour_correlation(noise, everywhere, axis) for axis in range(3)]
    # Kernels are tabulated to 0.01; the rest is chance, a few hundredths at the widest.
    assert measured == pytest.approx([max(0, each) for each in lag1], abs=0.04)
    assert float(noise.std()) == pytest.approx(4, rel=0.1)


def test_a_slow_part_keeps_the_correlation_of_neighbours_and_lasts():
    everywhere = torch.ones(SIZE, dtype=torch.bool)
    noises = [texture((0.7, 0.7, 0.7), slow=0.5, seed=seed) for seed in range(4)]
    near, far = (
        sum(neighbour_correlation(each, everywhere, 0, step) for each in noises) / 4
        for step in (1, 4)
    )
    assert near == pytest.approx(0.7, abs=0.06)
    # Without its slow part it would be 0.7 ** 16 = 0.003.
    assert far > 0.25


@pytest.mark.parametrize("radius", [7, 12])
def test_a_piece_of_slow_noise_varies_as_much_as_the_scan_does(radius):
    places = torch.stack(torch.meshgrid(*[torch.arange(48) - 23.5] * 3, indexing="ij"))
    ball = places.square().sum(dim=0) <= radius**2
    noises = [
        make_texture(
            SIZE, (1, 1, 1), scale((0.7,) * 3, 0.5), torch.Generator().manual_seed(seed), ball
        )
        for seed in range(8)
    ]
    spreads = [float(each[ball].std()) for each in noises]
    lags = [neighbour_correlation(each, ball, 0) for each in noises]
    # A ball much smaller than the wavelength would hold a half of the slow variance, or less.
    assert sum(spreads) / 8 == pytest.approx(4, rel=0.08)
    assert sum(lags) / 8 == pytest.approx(0.7, abs=0.05)


def test_textures_of_two_seeds_have_nothing_in_common():
    first, second = texture((0.6, 0.6, 0.6)), texture((0.6, 0.6, 0.6), seed=1)
    common = torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1]
    assert abs(float(common)) < 0.02


def test_a_kernel_of_no_correlation_does_nothing():
    assert kernel_of_correlation(0.0) == (1.0,)
    assert kernel_of_correlation(-0.3) == (1.0,)


def test_where_there_is_no_cavity_tissue_stays():
    tissue = torch.rand(2, 2, 2)
    assert torch.equal(paint(tissue, Fields(0 * ONES), PALETTE, 9 * ONES), tissue)


@pytest.mark.parametrize(
    ("fields", "truth"),
    [
        (Fields(ONES), LEVEL["fluid"] + 3),
        (Fields(0.5 * ONES), (LEVEL["fluid"] + 3 + 100) / 2),
        (Fields(ONES, protein=0.5 * ONES), (LEVEL["fluid"] + LEVEL["protein"]) / 2 + 3),
        (Fields(ONES, clot=ONES), LEVEL["clot"] + 3),
        (Fields(ONES, clot=ONES, septa=ONES), LEVEL["clot"] + 3),
        (Fields(ONES, clot=ONES, air=ONES), LEVEL["air"] + 0.4 * 3),
        (Fields(0 * ONES, rim=ONES), 0.1 * 100 + 0.9 * LEVEL["rim"]),
    ],
)
def test_paint_mixes_the_levels_of_the_palette(fields, truth):
    painted = paint(100 * ONES, fields, PALETTE, 3 * ONES)
    assert torch.allclose(painted, truth * ONES)


def test_what_a_contrast_does_not_show_is_not_painted():
    blind = Palette({part: LEVEL[part] for part in PARTS if part != "enhancement"}, 7.0)
    fields = Fields(0 * ONES, enhancement=ONES)
    assert torch.equal(paint(100 * ONES, fields, blind, ONES), 100 * ONES)


def test_a_plate_covers_the_cut_and_the_cut_a_collection():
    weights = {"plate": ONES, "cut_bone": ONES, "extradural": ONES}
    for part, truth in (
        ("plate", LEVEL["plate"]),
        ("cut_bone", LEVEL["cut_bone"]),
        ("extradural", LEVEL["collection"] + 3),
    ):
        painted = paint_flap(100 * ONES, weights, PALETTE, 3 * ONES)
        assert torch.allclose(painted, truth * ONES)
        del weights[part]
