"""By resector's law, fluid is white noise, clots are bright, and white matter turns to fluid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from tests.transforms.resection.heads import make_head
from volseg.transforms.anatomy.maps import Anatomy, Side, Tissue
from volseg.transforms.resection.cavity import RESECTOR, Cavity, CompatContent, Solid
from volseg.transforms.resection.resect import resect

SPACING = (2.0, 2.0, 2.0)
SHARP = CompatContent((0.0, 0.0, 0.0))
BALL = Solid((-40.0, 10.0, 20.0), (15.0, 15.0, 15.0), (0, 0, 0), 14.1, roughness=0.0, law=RESECTOR)
FLUID, NOISE = 40.0, 5.0


@pytest.fixture(scope="module")
def head():
    return make_head(SPACING)


@pytest.fixture(scope="module")
def image(head):
    """Every tissue has its own brightness, 10 for each number, and noise; ventricles have 40."""
    noise = torch.randn(head.tissue.shape, generator=torch.Generator().manual_seed(0))
    return (10 * head.tissue.float() + NOISE * noise)[None]


def cavity_of(content=SHARP, solid=BALL, side=Side.LEFT, **changes):
    return Cavity("lesionectomy", side=int(side), solids=(solid,), compat=content, **changes)


def deep(mask, count):
    return torch.from_numpy(ndimage.binary_erosion(mask.numpy(), iterations=count))


def block(edge, kind=Tissue.WHITE):
    """Nothing but one tissue of the left side, around the origin."""
    tissue = torch.full((edge,) * 3, int(kind), dtype=torch.uint8)
    ones = torch.ones_like(tissue)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -(edge - 1)
    return Anatomy(tissue, ones, ones, ones, affine)


def test_fluid_is_white_noise_about_the_ventricles_mean(head, image):
    done = resect(image, head, cavity_of(), ["T1"])
    inside = deep(done.mask[0] > 0, 1)
    values = done.image[0][inside]
    # The fullest of 32 bins over some six standard deviations; the spread below the mean of a
    # normal law is 0.603 of its own.
    assert float(values.mean()) == pytest.approx(FLUID, abs=0.5 * NOISE)
    assert float(values.std()) == pytest.approx(0.603 * NOISE, rel=0.25)
    assert stats.kstest((values - values.mean()) / values.std(), "norm").pvalue > 0.01
    volume, pairs = done.image[0], inside[1:] & inside[:-1]
    near = np.corrcoef(volume[1:][pairs], volume[:-1][pairs])[0, 1]
    assert abs(near) < 4 / np.sqrt(int(pairs.sum()))


def test_texture_may_be_blurred_as_on_voxels_of_1_mm(head, image):
    spreads = []
    for smoothing in (0.0, 1.5):
        content = replace(SHARP, smoothing=smoothing)
        done = resect(image, head, cavity_of(content), ["T1"])
        spreads.append(float(done.image[0][deep(done.mask[0] > 0, 1)].std()))
    # A Gaussian of s voxels leaves white noise 1 / (2 s sqrt(pi)) of its variance along each axis.
    expected = (2 * 1.5 * np.sqrt(np.pi)) ** -1.5
    assert spreads[1] / spreads[0] == pytest.approx(expected, rel=0.15)


def test_nothing_is_touched_outside_the_box_and_the_image_keeps_its_type(head, image):
    for content in (SHARP, replace(SHARP, has_lesion=True, clot=BALL)):
        done = resect(image.half(), head, cavity_of(content), ["T1"])
        assert done.image.dtype == torch.float16
        changed = (done.image != image.half())[0]
        changed[tuple(map(slice, *done.box))] = False
        assert not bool(changed.any())


def test_the_mask_is_the_solid_whatever_fills_it(head, image):
    rich = replace(SHARP, has_lesion=True, clot=BALL, sigmas=(1.0, 0.5, 0.7))
    plain = resect(image, head, cavity_of(), ["T1"])
    done = resect(image, head, cavity_of(rich), ["T1"])
    assert torch.equal(plain.mask, done.mask)
    index = np.indices(head.tissue.shape).reshape(3, -1)
    places = head.affine[:3, :3] @ index + head.affine[:3, 3:]
    inside = np.linalg.norm(places.T - np.array(BALL.centre), axis=1) <= 15
    inside = torch.from_numpy(inside.reshape(head.tissue.shape))
    # Only the brain's smoothed outline, some 3 mm off this ball, may cut it.
    assert torch.equal(done.mask[0] > 0, inside & (done.mask[0] > 0))
    assert int(done.mask.sum()) > 0.95 * int(inside.sum())


def test_a_clot_is_the_core_of_the_cavity_and_as_bright_as_its_percentile():
    anatomy = block(40)
    image = torch.rand(1, 40, 40, 40, generator=torch.Generator().manual_seed(3))
    solid = replace(BALL, centre=(0.0, 0.0, 0.0))
    done = resect(image, anatomy, cavity_of(replace(SHARP, clot=solid), solid), ["T1"])
    index = np.indices((40, 40, 40)) * 2.0 - 39
    radius = np.sqrt((index**2).sum(axis=0))
    clot = done.layers["clot"]
    places = radius[tuple(map(slice, *done.box))]
    # Two voxels of resector are 2 mm of wall here, up to a voxel's diagonal.
    assert bool(clot[places < 15 - 2 - 2].all())
    assert not bool(clot[places > 15 - 2 + 1.8].any())
    inside = done.image[0][torch.from_numpy(radius < 9)]
    assert float(inside.mean()) == pytest.approx(float(np.percentile(image, 95)), abs=0.05)


def test_clots_leave_the_core_alone_where_their_solid_does_not_reach():
    anatomy, image = block(40), torch.zeros(1, 40, 40, 40)
    solid = replace(BALL, centre=(0.0, 0.0, 0.0))
    clot = replace(BALL, centre=(14.0, 0.0, 0.0))
    done = resect(image, anatomy, cavity_of(replace(SHARP, clot=clot), solid), ["T1"])
    index = np.indices((40, 40, 40)) * 2.0 - 39
    away = np.sqrt((index[0] - 14) ** 2 + index[1] ** 2 + index[2] ** 2) > 15
    assert not bool(done.layers["clot"][torch.from_numpy(away)[tuple(map(slice, *done.box))]].any())
    assert bool(done.layers["clot"].any())


def test_a_lesion_is_the_solid_three_times_as_large_blurred_over_10_mm():
    anatomy = block(80)
    image = torch.ones(1, 80, 80, 80)
    solid = replace(BALL, centre=(0.0, 0.0, 0.0))
    content = replace(SHARP, has_lesion=True)
    anatomy.tissue[2:5, 2:5, 2:5] = int(Tissue.VENTRICLE)
    image[0, 2:5, 2:5, 2:5] = 0.0
    done = resect(image, anatomy, cavity_of(content, solid), ["T1"])
    index = np.indices((80, 80, 80)) * 2.0 - 79
    radius = np.sqrt((index**2).sum(axis=0))
    slow = 1 - ndimage.gaussian_filter((radius <= 45).astype(float), 5.0, truncate=5)
    near = torch.from_numpy((radius > 20) & (radius < 60))
    error = (done.image[0] - torch.from_numpy(slow))[near].abs()
    # It is laid out on a grid of 4 mm, whose voxels straddle the ball's surface.
    assert float(error.max()) < 0.03


def test_a_lesion_spares_grey_matter_and_the_other_side(head):
    image = torch.ones(1, *head.tissue.shape)
    image[0][head.tissue == Tissue.VENTRICLE] = 0.0
    content = replace(SHARP, has_lesion=True)
    done = resect(image, head, cavity_of(content), ["T1"])
    turned = 1 - done.image[0]
    outside = done.mask[0] == 0
    left, right = head.side == Side.LEFT, head.side == Side.RIGHT
    white = head.tissue == Tissue.WHITE
    index = np.indices(head.tissue.shape).reshape(3, -1)
    places = (head.affine[:3, :3] @ index + head.affine[:3, 3:]).T
    distance = np.linalg.norm(places - np.array(BALL.centre), axis=1).reshape(white.shape)
    close = torch.from_numpy(distance < 25) & outside & left
    assert float(turned[close & deep(white, 2)].mean()) > 0.8
    limbic = deep(head.tissue == Tissue.LIMBIC, 1) & left & (torch.from_numpy(distance) < 45)
    assert float(turned[limbic & outside].abs().mean()) < 0.1
    far = deep(right, 4) & outside & (head.tissue != Tissue.VENTRICLE)
    assert float(turned[far].abs().max()) == 0.0
    layer = torch.zeros_like(outside)
    layer[tuple(map(slice, *done.box))] = done.layers["gliosis"]
    assert bool((turned[layer] > 0.05).all())


def test_channels_share_the_place_and_have_their_own_levels(head, image):
    content = replace(SHARP, has_lesion=True, clot=BALL)
    both = torch.cat([image, 200 - image])
    done = resect(both, head, cavity_of(content), ["T1", "T2"])
    alone = resect(image, head, cavity_of(content), ["T1"])
    assert torch.equal(done.image[:1], alone.image)
    assert torch.equal(done.mask, alone.mask)
    core = torch.zeros_like(head.tissue, dtype=torch.bool)
    core[tuple(map(slice, *done.box))] = deep(done.layers["clot"], 1)
    level = float(np.percentile(200 - image, 95))
    assert float(done.image[1][core].mean()) == pytest.approx(level, abs=2.0)


def test_the_same_record_paints_the_same_and_another_seed_another_noise(head, image):
    content = replace(SHARP, has_lesion=True, clot=BALL, smoothing=0.5)
    first, again, other = (
        resect(image, head, cavity_of(content, seed=seed), ["T1"]) for seed in (7, 7, 8)
    )
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, other.mask)
    inside = first.mask[0] > 0
    texture = [each.image[0][inside] for each in (first, other)]
    texture = [each - each.mean() for each in texture]
    assert not torch.equal(*texture)


def test_a_head_without_ventricles_is_painted_too(head, image):
    tissue = torch.where(head.tissue == Tissue.VENTRICLE, int(Tissue.WHITE), head.tissue)
    done = resect(image, replace(head, tissue=tissue.to(torch.uint8)), cavity_of(), ["T1"])
    values = done.image[0][deep(done.mask[0] > 0, 1)]
    # Fluid without a ventricle is that around the brain, which is 30 here.
    assert float(values.mean()) == pytest.approx(30, abs=0.5 * NOISE)


def test_flat_ventricles_give_flat_fluid(head):
    image = 10 * head.tissue.float()[None]
    done = resect(image, head, cavity_of(), ["T1"])
    assert done.image[0][deep(done.mask[0] > 0, 1)].unique().tolist() == [40.0]
