"""A craniotomy follows the bone, about its axis, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from volseg.transforms.anatomy.maps import Anatomy, Tissue
from volseg.transforms.resection.cavity import Flap
from volseg.transforms.resection.flap import make_flap

SIZE = (96, 96, 96)
BRAIN, INNER, OUTER, SCALP = 30.0, 32.0, 37.0, 44.0
"""Radii of a round head, in mm."""

FLAP = Flap(centre=(OUTER, 0.0, 0.0), radius=16.0, kerf=3.0, burr_holes=3, burr_radius=4.0)


def round_head(affine=None, *, is_bone_known=True):
    """Make a head of shells about the origin."""
    if affine is None:
        affine = np.array([[1.0, 0, 0, -47.5], [0, 1, 0, -47.5], [0, 0, 1, -47.5], [0, 0, 0, 1]])
    places = np.moveaxis(np.indices(SIZE), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    radius = torch.from_numpy(np.linalg.norm(places, axis=-1))
    tissue = torch.zeros(SIZE, dtype=torch.uint8)
    tissue[radius < SCALP] = Tissue.HEAD
    if is_bone_known:
        tissue[radius < OUTER] = Tissue.SKULL
        tissue[radius < INNER] = Tissue.HEAD
    tissue[radius < BRAIN] = Tissue.CORTEX
    depth = ((BRAIN - radius).clamp(min=0) * 2).ceil().to(torch.uint8)
    inside = (depth > 0).to(torch.uint8)
    return Anatomy(tissue, inside, inside, depth, affine), places


HEAD, PLACES = round_head()


def whole(fields, part):
    """Bring a part to the whole grid."""
    volume = np.zeros(SIZE)
    window = tuple(slice(a, b) for a, b in zip(fields.start, fields.stop, strict=True))
    volume[window] = fields.weights[part]
    return volume


def distance_from_axis(places):
    return np.hypot(places[..., 1], places[..., 2])


def test_the_cut_goes_through_bone_only_and_rings_the_axis():
    cut = whole(make_flap(HEAD, replace(FLAP, burr_holes=0), 1), "cut_bone")
    radius, reach = np.linalg.norm(PLACES, axis=-1), distance_from_axis(PLACES)
    assert np.all((radius[cut > 0] < OUTER) & (radius[cut > 0] >= INNER))
    # The outline wobbles by at most 15 % of the radius, the cut is 3 mm wide and half a voxel soft.
    assert np.all(np.abs(reach[cut > 0] - 16) <= 0.15 * 16 + 1.5 + 0.5)
    assert np.all(PLACES[..., 0][cut > 0] > 0)
    # It closes: every direction about the axis has some of it.
    angles = np.degrees(np.arctan2(PLACES[..., 2], PLACES[..., 1])[cut > 0.5])
    assert np.histogram(angles, bins=36, range=(-180, 180))[0].min() > 0


def test_the_cut_removes_the_bone_of_its_width():
    cut = whole(make_flap(HEAD, replace(FLAP, burr_holes=0), 1), "cut_bone")
    # A ring of radius 16 and width 3 through a shell that is 5 mm thick and, there, inclined by
    # asin(16 / 34.5) to the axis: 2 pi 16 * 3 * 5 / cos(28 deg) = 1704 mm3; the wobble of the
    # outline adds a few per cent.
    assert cut.sum() == pytest.approx(1704, rel=0.12)


def test_burr_holes_widen_the_cut():
    plain = make_flap(HEAD, replace(FLAP, burr_holes=0), 1).weights["cut_bone"].sum()
    holes = [
        make_flap(HEAD, replace(FLAP, burr_holes=count), 1).weights["cut_bone"].sum()
        for count in (1, 3)
    ]
    assert plain < holes[0] < holes[1]
    # One hole of 4 mm less the cut within it: (pi 16 - 3 * 8) * 5 / cos(28 deg) mm3, about.
    assert float(holes[0] - plain) == pytest.approx(149, rel=0.25)


def test_a_collection_under_the_flap_lies_in_the_outer_brain():
    flap = replace(FLAP, extradural=4.0)
    weight = whole(make_flap(HEAD, flap, 1), "extradural")
    radius, reach = np.linalg.norm(PLACES, axis=-1), distance_from_axis(PLACES)
    found = weight > 0
    assert np.all((radius[found] < BRAIN) & (radius[found] > BRAIN - 4 - 1.5))
    assert np.all(reach[found] < 16 * 1.15)
    assert weight[(reach < 3) & (PLACES[..., 0] > 27.5) & (radius < BRAIN)].min() == 1


def test_a_collection_over_the_flap_lies_in_the_inner_scalp():
    flap = replace(FLAP, subgaleal=3.0)
    weight = whole(make_flap(HEAD, flap, 1), "subgaleal")
    radius = np.linalg.norm(PLACES, axis=-1)
    found = weight > 0
    assert found.sum() > 1000
    assert np.all((radius[found] >= OUTER) & (radius[found] < OUTER + 4))


def test_a_mirrored_grid_has_the_same_craniotomy():
    mirrored, _ = round_head(
        np.array([[-1.0, 0, 0, 47.5], [0, 0, 1, -47.5], [0, -1, 0, 47.5], [0, 0, 0, 1]])
    )
    straight = whole(make_flap(HEAD, FLAP, 1), "cut_bone")
    turned = whole(make_flap(mirrored, FLAP, 1), "cut_bone")
    brought = turned[::-1].transpose(0, 2, 1)[:, :, ::-1]
    # The axis is that of the brain in the box, sampled every third voxel: equal to a degree or so.
    assert np.abs(brought - straight).mean() < 0.05 * straight.mean() + 1e-3
    assert straight.sum() == pytest.approx(turned.sum(), rel=0.03)


def test_unknown_bone_is_taken_to_lie_over_the_brain():
    head, _ = round_head(is_bone_known=False)
    cut = whole(make_flap(head, FLAP, 1), "cut_bone")
    radius = np.linalg.norm(PLACES, axis=-1)
    assert np.all((radius[cut > 0] > BRAIN + 1) & (radius[cut > 0] < BRAIN + 8.5))
    assert cut.sum() > 1000


def test_a_stripped_head_has_no_craniotomy():
    bare = replace(HEAD, tissue=torch.where(HEAD.depth > 0, HEAD.tissue, 0))
    assert make_flap(bare, FLAP, 1) is None
    assert make_flap(HEAD, replace(FLAP, centre=(500.0, 0.0, 0.0)), 1) is None


def test_plates_lie_on_the_outer_bone_beside_the_cut():
    plate = whole(make_flap(HEAD, FLAP, 1), "plate")
    radius, reach = np.linalg.norm(PLACES, axis=-1), distance_from_axis(PLACES)
    assert plate.sum() > 50
    assert np.all((radius[plate > 0] > INNER) & (radius[plate > 0] < OUTER))
    assert np.all(np.abs(reach[plate > 0] - 16) < 0.15 * 16 + 3.5)
