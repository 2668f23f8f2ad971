"""What gives way takes everything along, and keeps its noise."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.appearance import make_texture
from volseg.transforms.resection.cavity import Shift
from volseg.transforms.resection.giving_way import give_way, lost_noise, read_at
from volseg.transforms.resection.statistics import TissueStatistics

SIZE = (48, 48, 48)
LEVEL = (100.0, 3.0)


def brain(beyond=4):
    """Make a brain that fills the box but for the outermost slices along the first axis."""
    depth = torch.full(SIZE, 100, dtype=torch.uint8)
    depth[: SIZE[0] - beyond] = torch.arange(SIZE[0] - beyond, 0, -1).reshape(-1, 1, 1) * 2
    depth[SIZE[0] - beyond :] = 0
    tissue = torch.where(depth > 0, Tissue.WHITE, Tissue.SKULL).to(torch.uint8)
    inside = (depth > 0).to(torch.uint8)
    return Anatomy(tissue, inside, inside, depth, np.eye(4))


def ball(radius=9.0):
    places = np.moveaxis(np.indices(SIZE), 0, -1) - 23.5
    return torch.from_numpy(np.linalg.norm(places, axis=-1) < radius)


def test_a_field_of_whole_voxels_moves_by_them():
    volume = torch.rand(1, *SIZE)
    field = torch.zeros(3, *SIZE)
    field[0], field[2] = 2.0, -3.0
    for mode in ("bilinear", "nearest"):
        moved = read_at(volume, field, mode)
        assert torch.allclose(moved[:, :-2, :, 3:], volume[:, 2:, :, :-3], atol=1e-4)


def test_without_a_shift_all_is_given_back():
    image, mask, anatomy = torch.rand(1, *SIZE), ball(), brain()
    kept = give_way(image, anatomy, mask, Shift())
    assert kept.image is image
    assert kept.mask is mask
    assert (kept.gap, kept.field) == (None, None)


def test_image_and_mask_stay_together():
    mask = ball()
    image = torch.where(mask, 10.0, 100.0)[None]
    moved = give_way(image, brain(), mask, Shift(collapse=3.0))
    assert 0 < int(moved.mask.sum()) < int(mask.sum())
    # Both are read at the same places: the image is below the middle where the mask is.
    assert torch.equal(moved.image[0] < 55, moved.mask)


def test_a_sinking_surface_leaves_a_gap_below_the_skull():
    anatomy, mask = brain(), ball(5.0)
    moved = give_way(torch.rand(1, *SIZE), anatomy, mask, Shift(sag=4.0, gravity=(-1.0, 0.0, 0.0)))
    thickness = moved.gap.sum(dim=0)
    # It sinks by 4 mm at the surface, and the gap is all that has left it.
    assert int(thickness[24, 24]) == pytest.approx(4, abs=1)
    assert not bool(moved.gap[anatomy.depth == 0].any())
    assert torch.equal(moved.anatomy.tissue[anatomy.depth == 0], anatomy.tissue[anatomy.depth == 0])


def test_what_lies_outside_the_hull_stays():
    image, anatomy = torch.rand(1, *SIZE), brain()
    moved = give_way(image, anatomy, ball(), Shift(collapse=3.0, sag=5.0, gravity=(-1.0, 0, 0)))
    beyond = anatomy.depth == 0
    assert torch.equal(moved.image[:, beyond], image[:, beyond])
    assert not torch.equal(moved.image, image)


def test_a_cavity_that_would_close_stays_open():
    mask = ball(1.2)
    assert bool(give_way(torch.rand(1, *SIZE), brain(), mask, Shift(collapse=6.0)).mask.any())


@pytest.mark.parametrize("deviation", [0.0, 0.6])
def test_the_noise_is_kept(deviation):
    noise = np.random.RandomState(0).standard_normal(SIZE)
    noise = ndimage.gaussian_filter(noise, deviation) if deviation else noise
    image = torch.from_numpy(3 * noise / noise.std()).float()[None]
    lag = float(np.exp(-1 / (4 * deviation**2))) if deviation else 0.0
    scale = TissueStatistics(LEVEL, LEVEL, LEVEL, 0.0, 200.0, 0.0, 3.0, (lag,) * 3)
    moved = give_way(image, brain(0), ball(), Shift(collapse=2.5))
    texture = make_texture(SIZE, (1.0, 1.0, 1.0), scale, torch.Generator().manual_seed(1))
    where = lost_noise(moved, scale) > 0.4
    restored = moved.image[0] + texture * lost_noise(moved, scale)
    assert int(where.sum()) > 1000
    # The spread of n independent voxels is known to 1 / sqrt(2 n), 2 % here and more if smooth.
    assert float(moved.image[0][where].std()) < 0.93 * 3
    assert float(restored[where].std()) == pytest.approx(3, rel=0.07)


@pytest.mark.parametrize(
    "shift", [Shift(collapse=3.0), Shift(sag=4.0, gravity=(-1.0, 0.0, 0.0)), Shift(2.0, 3.0)]
)
def test_a_cavity_that_lies_against_the_skull_stays_there(shift):
    anatomy = brain()
    mask = ball(14.0).roll(8, dims=0) & (anatomy.depth > 0)
    moved = give_way(torch.rand(1, *SIZE), anatomy, mask, shift)
    middle = torch.zeros_like(mask)
    middle[:, 20:28, 20:28] = True
    outermost = mask & middle & (anatomy.depth <= 8)
    assert int(outermost.sum()) == 8 * 8 * 4
    assert bool(moved.mask[outermost].all())
    assert not bool((moved.gap & mask).any())


def test_walls_of_brain_fall_in_as_far_where_the_cavity_lies_against_the_skull():
    anatomy = brain()
    mask = ball(14.0).roll(8, dims=0) & (anatomy.depth > 0)
    moved = give_way(torch.rand(1, *SIZE), anatomy, mask, Shift(collapse=3.0))
    assert int(mask[:, 24, 24].sum()) - int(moved.mask[:, 24, 24].sum()) == pytest.approx(3, abs=1)
