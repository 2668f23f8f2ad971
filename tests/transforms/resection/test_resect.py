"""A resection changes its box and nothing else, in every channel and of every type."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from volseg.errors import DataError, GeometryError
from volseg.transforms.anatomy.maps import Anatomy, Lobe, Tissue
from volseg.transforms.resection.cavity import Cavity, Content, Flap, Shift, Solid
from volseg.transforms.resection.contrast import draw_places, mix_palette
from volseg.transforms.resection.resect import resect
from volseg.transforms.resection.statistics import (
    erode,
    measure_statistics,
    neighbour_correlation,
)

SIZE = (72, 72, 72)
BRAIN, INNER, OUTER, SCALP = 26.0, 28.0, 31.0, 35.0
"""Radii of a round head, in mm."""

T1_LEVELS = {
    Tissue.AIR: 0.0,
    Tissue.HEAD: 160.0,
    Tissue.SKULL: 25.0,
    Tissue.VENTRICLE: 30.0,
    Tissue.CORTEX: 90.0,
    Tissue.WHITE: 130.0,
}
PLAIN = Content(blur=0.7)
FULL = Content(
    protein=0.5,
    layering=0.5,
    clot=0.1,
    septa=0.05,
    air=0.2,
    rim=1.0,
    enhancement=1.5,
    gliosis=4.0,
    gliosis_strength=0.8,
)
FLAP = Flap(centre=(OUTER, 0.0, 0.0), radius=12.0, extradural=2.0, subgaleal=2.0)


def cavity_of(content=PLAIN, volume=3.0, **others):
    solid = Solid((16.0, 0.0, 0.0), (9.0, 9.0, 9.0), (0.0, 0.0, 0.0), volume, roughness=0.3)
    return Cavity(mode="lesionectomy", solids=(solid,), content=content, seed=11, **others)


def round_head():
    """Make a head of shells about the origin, with a ventricle on the left."""
    affine = np.eye(4)
    affine[:3, 3] = -35.5
    places = np.moveaxis(np.indices(SIZE), 0, -1) + affine[:3, 3]
    radius = torch.from_numpy(np.linalg.norm(places, axis=-1))
    tissue = torch.zeros(SIZE, dtype=torch.uint8)
    for outer, kind in (
        (SCALP, Tissue.HEAD),
        (OUTER, Tissue.SKULL),
        (INNER, Tissue.HEAD),
        (BRAIN, Tissue.CORTEX),
        (BRAIN - 4, Tissue.WHITE),
    ):
        tissue[radius < outer] = kind
    tissue[torch.from_numpy(np.linalg.norm(places - (-10, 0, 0), axis=-1)) < 8] = Tissue.VENTRICLE
    depth = ((BRAIN - radius).clamp(min=0) * 2).ceil().to(torch.uint8)
    inside = (depth > 0).to(torch.uint8)
    return Anatomy(tissue, inside, inside * Lobe.FRONTAL, depth, affine)


HEAD = round_head()


def image_of(noise=3.0, smoothness=0.7):
    table = torch.zeros(256)
    for kind, level in T1_LEVELS.items():
        table[kind] = level
    texture = np.random.RandomState(0).standard_normal(SIZE)
    texture = ndimage.gaussian_filter(texture, smoothness)
    clean = table[HEAD.tissue.int()]
    return (clean + noise * torch.from_numpy(texture / texture.std()).float())[None]


IMAGE = image_of()
STATISTICS = [measure_statistics(IMAGE[0], HEAD)]


def operate(cavity, image=IMAGE, contrasts=("T1",), statistics=STATISTICS, **others):
    return resect(image, HEAD, cavity, contrasts, statistics, **others)


def changed(result, image=IMAGE):
    return (result.image != image).any(dim=0)


def outside(box):
    mask = torch.ones(SIZE, dtype=torch.bool)
    (z, y, x), (deep, high, wide) = box
    mask[z:deep, y:high, x:wide] = False
    return mask


@pytest.mark.parametrize("volume", [0.5, 3.0, 8.0])
def test_the_mask_has_the_drawn_volume(volume):
    count = int(operate(cavity_of(volume=volume)).mask.sum())
    assert count == pytest.approx(1000 * volume, abs=max(2, 2 * volume))


@pytest.mark.parametrize("flap", [None, FLAP])
@pytest.mark.parametrize("shift", [Shift(), Shift(collapse=2.0, sag=3.0)])
def test_nothing_changes_outside_the_box(shift, flap):
    result = operate(cavity_of(FULL, shift=shift, flap=flap))
    assert bool(changed(result).any())
    assert not bool(changed(result)[outside(result.box)].any())
    assert bool(torch.isfinite(result.image).all())


def test_a_plain_cavity_changes_the_reach_of_its_blur_only():
    result = operate(cavity_of())
    distance = ndimage.distance_transform_edt(result.mask[0].numpy() == 0)
    # Where a wall is softest its kernel is 1.4 mm wide and cut at 3 deviations, 4 voxels per axis.
    assert not np.any(changed(result).numpy()[distance > 4 * 3**0.5])


def test_the_cavity_is_filled_with_the_fluid_of_its_contrast():
    result = operate(cavity_of())
    core = ndimage.binary_erosion(result.mask[0].numpy(), iterations=4)
    palette = mix_palette("T1", STATISTICS[0], draw_places(11))
    # Noise of 3, of which a tenth or so of the variance is slow and not averaged away.
    assert float(result.image[0].numpy()[core].mean()) == pytest.approx(
        palette.levels["fluid"], abs=2.0
    )


@pytest.mark.parametrize("smoothness", [0.0, 0.6, 0.9])
def test_the_texture_is_that_of_the_ventricles(smoothness):
    image = image_of(smoothness=smoothness) if smoothness else image_of(smoothness=0.01)
    ventricle = erode(HEAD.tissue == Tissue.VENTRICLE)
    result = operate(cavity_of(volume=12.0), image, statistics=None)
    core = torch.from_numpy(ndimage.binary_erosion(result.mask[0].numpy(), iterations=3))
    for axis in range(3):
        truth = neighbour_correlation(image[0], ventricle, axis)
        own = neighbour_correlation(result.image[0], core, axis)
        assert own == pytest.approx(truth, abs=0.05)
    assert float(result.image[0][core].std()) == pytest.approx(
        float(image[0][ventricle].std()), rel=0.12
    )


def test_two_draws_of_one_cavity_share_no_noise():
    first, again = operate(cavity_of(volume=8.0)), operate(cavity_of(volume=8.0))
    second = operate(replace(cavity_of(volume=8.0), seed=12))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, second.mask)
    core = ndimage.binary_erosion(first.mask[0].numpy(), iterations=4)
    pair = np.stack([each.image[0].numpy()[core] for each in (first, second)])
    # A thousand voxels, of which a few hundred are independent.
    assert abs(np.corrcoef(pair)[0, 1]) < 0.2


def test_a_negative_stays_as_it_is():
    for cavity in (Cavity(), replace(cavity_of(), is_ok=False)):
        result = operate(cavity)
        assert torch.equal(result.image, IMAGE)
        assert int(result.mask.sum()) == 0
        assert result.box is None


def test_a_craniotomy_alone_has_an_empty_mask():
    result = operate(Cavity(mode="flap_only", flap=FLAP, seed=3))
    bone = changed(result) & (HEAD.tissue == Tissue.SKULL)
    assert int(result.mask.sum()) == 0
    assert int(bone.sum()) > 200
    assert set(result.layers) == {"extradural", "subgaleal"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_every_floating_type_comes_back_as_it_was(dtype):
    image = IMAGE.to(dtype)
    result = operate(cavity_of(FULL), image)
    assert result.image.dtype == dtype
    assert torch.equal(result.image[:, outside(result.box)], image[:, outside(result.box)])
    truth = operate(cavity_of(FULL), image.float())
    # Half precision resolves 1/8 near 200.
    assert torch.allclose(result.image.float(), truth.image, atol=0.13)
    assert torch.equal(result.mask, truth.mask)


def test_the_image_is_kept_unless_told_otherwise():
    image = IMAGE.clone()
    apart = operate(cavity_of(), image)
    assert torch.equal(image, IMAGE)
    assert apart.image.data_ptr() != image.data_ptr()
    own = operate(cavity_of(), image, in_place=True)
    assert own.image.data_ptr() == image.data_ptr()
    assert torch.equal(own.image, apart.image)


def test_all_sequences_share_one_cavity():
    bright = 300 - IMAGE
    both = torch.cat([IMAGE, bright])
    scales = [*STATISTICS, measure_statistics(bright[0], HEAD)]
    result = operate(cavity_of(FULL), both, ("T1", "T2"), scales)
    alone = operate(cavity_of(FULL))
    assert torch.equal(result.mask, alone.mask)
    assert torch.equal(result.image[:1], alone.image)
    core = ndimage.binary_erosion(result.mask[0].numpy(), iterations=3)
    fluid = core & ~whole_layer(result, "clot") & ~whole_layer(result, "air")
    assert float(result.image[0].numpy()[fluid].mean()) < 90
    assert float(result.image[1].numpy()[fluid].mean()) > 210


def test_layers_lie_where_they_belong():
    result = operate(cavity_of(FULL, shift=Shift(sag=4.0), flap=FLAP))
    mask = result.mask[0].numpy() > 0
    assert np.all(mask[whole_layer(result, "clot")])
    assert np.all(mask[whole_layer(result, "air")])
    for name in ("gliosis", "extradural", "subgaleal"):
        assert not np.any(mask[whole_layer(result, name)])


def test_walls_that_give_way_leave_a_smaller_cavity_full_of_fluid():
    still, moved = operate(cavity_of()), operate(cavity_of(shift=Shift(collapse=3.0)))
    assert 0 < int(moved.mask.sum()) < int(still.mask.sum())
    core = ndimage.binary_erosion(moved.mask[0].numpy(), iterations=4)
    palette = mix_palette("T1", STATISTICS[0], draw_places(11))
    assert float(moved.image[0].numpy()[core].mean()) == pytest.approx(
        palette.levels["fluid"], abs=2.0
    )


def test_where_a_stripped_scan_has_no_signal_it_has_none_after_the_shift():
    where = torch.from_numpy(np.indices(SIZE)[1] < 36) | (HEAD.depth == 0)
    bare = torch.where(where, 0.0, IMAGE.clamp(min=1))
    cavity = cavity_of(Content(air=0.3, blur=0.7), shift=Shift(collapse=3.0, sag=3.0))
    result = operate(cavity, bare)
    painted = (result.mask[0].numpy() > 0) | whole_layer(result, "collection")
    alone = ndimage.distance_transform_edt(where.numpy()) > 5  # nothing else moves in from there
    alone &= ndimage.distance_transform_edt(~painted) > 5
    (z, y, x), (deep, high, wide) = result.box
    assert alone[z:deep, y:high, x:wide].sum() > 1000
    assert np.abs(result.image[0].numpy()[alone]).max() < 0.01  # noise is 3
    assert float(result.image.min()) == 0


def test_a_voxel_that_is_no_number_spoils_no_others():
    image = IMAGE.clone()
    image[0, 0, 0, 0] = float("nan")
    cavity = cavity_of(shift=Shift(collapse=3.0, sag=3.0))
    result, clean = operate(cavity, image), operate(cavity)
    assert int(result.image.isnan().sum()) == 1
    assert torch.equal(result.image[0, 1:], clean.image[0, 1:])


def test_bone_and_scalp_stay_when_the_brain_sinks():
    result = operate(cavity_of(shift=Shift(sag=5.0)))
    distance = ndimage.distance_transform_edt(HEAD.depth.numpy() == 0)
    assert not np.any(changed(result).numpy()[distance > 6])


def test_what_does_not_fit_is_refused():
    with pytest.raises(GeometryError, match=r"shape \(1, 72, 72, 71\) and the anatomy"):
        operate(cavity_of(), IMAGE[..., :-1])
    with pytest.raises(DataError, match=r"image is torch.int16; use a floating type"):
        operate(cavity_of(), IMAGE.to(torch.int16))
    with pytest.raises(DataError, match=r"image has 1 channels; give a contrast"):
        operate(cavity_of(), contrasts=("T1", "T2"))


LAYOUTS = {
    "left-handed": np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
    "oblique": np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    "thick slices": np.diag([1.0, 1.0, 3.0, 1.0]),
}


@pytest.mark.parametrize("affine", LAYOUTS.values(), ids=LAYOUTS)
def test_every_grid_of_a_head_has_the_same_operation(affine):
    size = (72, 72, 24) if affine[2, 2] == 3 else SIZE
    affine = affine.copy()
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(size) - 1) / 2)
    head, image = resample(HEAD, IMAGE[0], affine, size)
    cavity = cavity_of(replace(PLAIN, air=0.3), volume=6.0, shift=Shift(gravity=(0.6, -0.8, 0.0)))
    truth, other = operate(cavity), resect(image[None], head, cavity, ["T1"], STATISTICS)
    assert int(other.mask.sum()) * head.voxel_ml == pytest.approx(6.0, abs=0.1)
    places = [centre_of(truth.mask[0], HEAD.affine), centre_of(other.mask[0], affine)]
    assert np.linalg.norm(places[0] - places[1]) < 0.5
    air = [
        centre_of(whole_layer(one, "air"), grid)
        for one, grid in ((truth, HEAD.affine), (other, affine))
    ]
    assert np.linalg.norm(air[0] - air[1]) < 1.0
    # Up is (-0.6, 0.8, 0), and air is up from the middle of the cavity.
    assert (air[1] - places[1]) @ (-0.6, 0.8, 0.0) > 3


def resample(head, image, affine, size):
    """Read a head on another grid, by nearest neighbours."""
    places = np.moveaxis(np.indices(size), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    indices = np.rint(places - head.affine[:3, 3]).astype(int)
    inside = np.all((indices >= 0) & (indices < SIZE[0]), axis=-1)
    where = tuple(
        torch.from_numpy(each) for each in np.moveaxis(indices.clip(0, SIZE[0] - 1), -1, 0)
    )
    maps = head.stack()[(slice(None), *where)] * torch.from_numpy(inside)
    return Anatomy.unstack(maps, affine), image[where] * torch.from_numpy(inside)


def centre_of(mask, affine):
    return affine[:3, :3] @ np.argwhere(np.asarray(mask)).mean(axis=0) + affine[:3, 3]


def whole_layer(result, name):
    volume = np.zeros(result.mask.shape[1:], dtype=bool)
    volume[tuple(slice(a, b) for a, b in zip(*result.box, strict=True))] = result.layers[name]
    return volume
