"""The parts of a resection lie where gravity, tissue and distance put them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.cavity import Cavity, Content, Shift
from volseg.transforms.resection.fields import (
    FAR,
    WIDER,
    make_fields,
    make_gliosis,
    near_reach,
    reach,
)

SIZE = (36, 40, 44)
AFFINES = {
    "RAS": np.diag([1.0, 1.0, 1.0, 1.0]),
    "LIA, thick": np.array([[-1.0, 0, 0, 20], [0, 0, 2.0, -9], [0, -1, 0, 7], [0, 0, 0, 1]]),
    "oblique": np.array(
        [[0.8, -0.6, 0, 3], [0.6, 0.8, 0, -5], [0, 0, 1.5, 2], [0, 0, 0, 1.0]], dtype=float
    ),
}


def head(affine=AFFINES["RAS"], kind=Tissue.WHITE):
    tissue = torch.full(SIZE, kind, dtype=torch.uint8)
    depth = torch.full(SIZE, 40, dtype=torch.uint8)
    return Anatomy(tissue, depth.clamp(max=1), depth.clamp(max=1), depth, affine)


def block():
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[10:26, 12:28, 14:30] = True
    return mask


def fields_of(content, affine=AFFINES["RAS"], gravity=(0.0, -1.0, 0.0), seed=1):
    cavity = Cavity(content=content, shift=Shift(gravity=gravity), seed=seed)
    return make_fields(head(affine), block(), cavity)


def heights(affine, gravity):
    places = np.moveaxis(np.indices(SIZE), 0, -1) @ affine[:3, :3].T
    return -(places @ np.asarray(gravity))


def test_partial_volume_follows_millimetres_on_every_grid():
    widths = np.zeros(2)
    for seed in range(40):
        edge = fields_of(Content(blur=1.5), AFFINES["LIA, thick"], seed=seed).cavity
        across = (edge * (1 - edge)).numpy()
        first, last = across[:18, 19:21, 21:23], across[17:19, 19:21, :22]
        widths += first.sum(axis=0).mean(), last.sum(axis=2).mean()
    # A step blurred by s voxels has a sum of e (1 - e) of s / sqrt(pi); the last axis has voxels of
    # 2 mm, so that the same wall is half as many voxels wide along it. Where it is soft differs
    # from seed to seed: 40 of them leave about 7 % of chance.
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.15)
    assert 1.5 < widths[0] / 40 * np.sqrt(np.pi) < 1.5 * WIDER


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("gravity", [(0.0, -1.0, 0.0), (0.6, 0.0, -0.8)])
def test_air_ends_at_a_level_whatever_the_grid(affine, gravity):
    air = fields_of(Content(air=0.25), affine, gravity).air.numpy()
    height, mask = heights(affine, gravity), block().numpy()
    lowest, highest = height[mask].min(), height[mask].max()
    level = highest - 0.25 * (highest - lowest)
    edge = np.linalg.norm(affine[:3, :3], axis=0).min()
    assert np.all(air[height > level + edge] == 1)
    assert np.all(air[height < level - edge] == 0)


def test_protein_sinks():
    field = fields_of(Content(protein=0.8, layering=1.0), gravity=(0.0, 0.0, -1.0)).protein
    inside = torch.where(block(), field, torch.nan)
    layers = inside.nanmean(dim=0).nanmean(dim=0)[14:30]
    assert float(layers[0]) > 0.5
    assert float(layers[-1]) < 0.1
    even = fields_of(Content(protein=0.8, layering=0.0), gravity=(0.0, 0.0, -1.0)).protein
    assert float(even[block()].mean()) == pytest.approx(0.8, rel=0.15)


@pytest.mark.parametrize("fraction", [0.05, 0.2])
@pytest.mark.parametrize("part", ["clot", "septa"])
def test_clot_and_septa_take_up_their_fraction(part, fraction):
    field = getattr(fields_of(Content(**{part: fraction})), part)
    count = int((field[block()] > 0.5).sum())
    assert count == pytest.approx(fraction * 16**3, abs=1)


def test_clot_lies_low():
    height = torch.from_numpy(heights(AFFINES["RAS"], (0.0, -1.0, 0.0)))
    lower = 0
    for seed in range(8):
        clot = fields_of(Content(clot=0.15), seed=seed).clot > 0.5
        lower += int(height[clot & block()].mean() < height[block()].mean())
    assert lower >= 7


def test_a_rim_stays_within_its_thickness_and_the_hull():
    scene = head()
    scene = replace(scene, depth=scene.depth.clone())
    scene.depth[:, 28:] = 0
    cavity = Cavity(content=Content(rim=2.0, enhancement=3.0), seed=3)
    fields = make_fields(scene, block(), cavity)
    distance = torch.from_numpy(ndimage.distance_transform_edt(~block().numpy()))
    for shell, thickness in ((fields.rim, 2), (fields.enhancement, 3)):
        assert float(shell[distance >= thickness + 1].max()) == 0
        assert float(shell[(distance > 0) & (distance <= thickness)].max()) > 0.9
        assert float(shell[:, 28:].max()) == 0


def test_gliosis_keeps_to_white_matter_and_fades():
    content = Content(gliosis=5.0, gliosis_strength=0.8)
    cavity = Cavity(content=content, seed=2)
    gain = make_gliosis(head(), block(), cavity)
    distance = torch.from_numpy(ndimage.distance_transform_edt(~block().numpy()))
    shells = [float(gain[(distance > a) & (distance <= a + 2)].mean()) for a in (0, 3, 6)]
    assert 0.8 > shells[0] > shells[1] > shells[2]
    # Distances are whole voxels of the coarse grid, 2 mm here, so that a voxel is at most
    # 2 * sqrt(3) mm further away than measured there, and as much again for the interpolation.
    assert float(gain[distance > FAR * 5 + 4 * 3**0.5].sum()) == 0
    assert float(make_gliosis(head(kind=Tissue.CORTEX), block(), cavity).max()) == 0


def test_what_is_switched_off_is_not_there():
    fields = fields_of(Content())
    assert (fields.clot, fields.septa, fields.air, fields.rim, fields.enhancement) == (None,) * 5
    assert fields.protein == 0
    assert make_gliosis(head(), block(), Cavity(content=Content(gliosis=5.0))) is None


def test_the_reach_is_that_of_the_widest_part():
    assert near_reach(Content(blur=1.0)) == 3 * WIDER
    assert near_reach(Content(blur=0.5, enhancement=2.0)) == 4
    assert reach(Content(gliosis=10.0)) == near_reach(Content())
    assert reach(Content(gliosis=10.0, gliosis_strength=0.5)) == pytest.approx(10 * FAR)


def test_the_same_seed_gives_the_same_fields_and_another_does_not():
    content = Content(clot=0.2, protein=0.5)
    first, again, other = (fields_of(content, seed=seed).clot for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert float(torch.corrcoef(torch.stack([first[block()], other[block()]]))[0, 1]) < 0.9
