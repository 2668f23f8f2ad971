"""Brains that withdraw from the skull, label by label."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from tests.transforms.resection.heads import BRAIN, make_head
from volseg.errors import DataError
from volseg.transforms import atrophy as module
from volseg.transforms.anatomy.maps import DEPTH_STEP, Anatomy, Side, Tissue
from volseg.transforms.atrophy import Atrophy, RandAtrophyd, sample_atrophy
from volseg.transforms.resection.carve import carve
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.sample import sample_cavity

NUMBERS = {
    Tissue.AIR: 0,
    Tissue.HEAD: 507,
    Tissue.SKULL: 515,
    Tissue.FLUID: 24,
    Tissue.VENTRICLE: 4,
    Tissue.CORTEX: 3,
    Tissue.WHITE: 2,
    Tissue.CALLOSUM: 251,
    Tissue.DEEP: 10,
    Tissue.LIMBIC: 17,
    Tissue.BRAINSTEM: 16,
    Tissue.CEREBELLUM_CORTEX: 8,
    Tissue.CEREBELLUM_WHITE: 7,
}

FRONTAL = Atrophy((0.0, 1.0, 0.0), gap=16.0, spread=40.0, furrows=0.0, share=0.0, seed=1)


def widen(labels, head, drawn):
    return module.widen(labels, head, drawn, "freesurfer")


@pytest.fixture(scope="module")
def head():
    return make_head((2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def labels(head):
    table = torch.zeros(256, dtype=torch.int16)
    for kind, number in NUMBERS.items():
        table[int(kind)] = number
    return table[head.tissue.long()]


def places_of(head):
    index = np.indices(head.tissue.shape)
    return (
        np.einsum("ij,j...->i...", head.affine[:3, :3], index)
        + head.affine[:3, 3, None, None, None]
    )


def test_labels_and_maps_tell_the_same(head, labels):
    for seed in range(3):
        other, maps = widen(labels, head, sample_atrophy(np.random.RandomState(seed)))
        for kind, number in NUMBERS.items():
            assert torch.equal(other == number, maps.tissue == int(kind))


def test_what_lies_outside_the_hull_stays_and_no_new_label_appears(head, labels):
    before = labels.clone(), head.stack().clone()
    for seed in range(3):
        other, maps = widen(labels, head, sample_atrophy(np.random.RandomState(seed)))
        outside = head.depth == 0
        assert torch.equal(other[outside], labels[outside])
        assert torch.equal(maps.stack()[:, outside], head.stack()[:, outside])
        assert set(other.unique().tolist()) <= set(labels.unique().tolist())
    assert torch.equal(labels, before[0])
    assert torch.equal(head.stack(), before[1])


def test_the_fluid_is_as_wide_as_drawn_at_the_pole_and_not_at_the_other(head, labels):
    other, maps = widen(labels, head, FRONTAL)
    x, y, z = places_of(head)
    line = torch.from_numpy((abs(x - 1) < 0.1) & (abs(z - 1) < 0.1))
    width = 2.0 * int(((other == 24) & line & torch.from_numpy(y > 0)).sum())
    # The head has 2 mm of fluid already; where noise is lowest, a part of the gap remains.
    assert 0.15 * 16 + 2 <= width <= 16 + 2 + 2
    behind = torch.from_numpy(y < -60)
    assert float((other != labels)[behind].float().mean()) < 0.01
    # What opened is outside of the brain for a resection.
    opened = (other == 24) & (labels != 24) & (head.depth > 0)
    assert int(opened.sum()) * head.voxel_ml > 5
    assert set(maps.side[opened & (maps.depth == 0)].tolist()) <= {int(Side.NONE)}


def test_the_brain_is_squeezed_and_not_cut(head, labels):
    other, maps = widen(labels, head, FRONTAL)
    thick = float((labels == 3).sum()), float((other == 3).sum())
    # A shell that withdraws by 16 mm of 85 shrinks by a third at most, and only in front.
    assert 0.75 < thick[1] / thick[0] < 1.05
    components, count = ndimage.label((maps.depth > 0).numpy())
    sizes = np.bincount(components.ravel())[1:]
    assert sizes.max() > 0.999 * sizes.sum(), count
    # Depths are still those below the surface, up to what is squeezed.
    edt = ndimage.distance_transform_edt((maps.depth > 0).numpy(), 2.0)
    inside = maps.depth.numpy() > 0
    told = maps.depth.numpy()[inside] * DEPTH_STEP
    assert np.corrcoef(told, edt[inside])[0, 1] > 0.95


def test_both_sides_withdraw_alike_only_if_they_should(head, labels):
    lateral = replace(FRONTAL, direction=(0.8, 0.6, 0.0), spread=25.0)
    lost = {}
    for is_even in (True, False):
        other, _ = widen(labels, head, replace(lateral, is_even=is_even))
        gone = (other == 24) & (labels != 24)
        lost[is_even] = [int((gone & (head.side == side)).sum()) for side in (1, 2)]
    left, right = lost[True]
    assert 0.4 < left / right < 2.5  # the unevenness is not mirrored
    left, right = lost[False]
    assert right > 20 * max(left, 1)


def test_the_base_of_the_brain_rests_behind(head, labels):
    below = torch.from_numpy(places_of(head)[2] < -0.6 * BRAIN[2]) & (head.depth > 0)
    behind = below & torch.from_numpy(places_of(head)[1] < 0)
    for seed in range(6):
        other, _ = widen(labels, head, sample_atrophy(np.random.RandomState(seed)))
        assert torch.equal(other[behind], labels[behind])


def test_furrows_take_cortex_alone_as_deep_as_drawn(head, labels):
    wide = Atrophy((0.0, 1.0, 0.0), gap=0.0, spread=60.0, furrows=2.0, share=0.999, seed=2)
    other, _ = widen(labels, head, wide)
    changed = other != labels
    assert set(labels[changed].tolist()) == {3}
    assert set(other[changed].tolist()) == {24}
    reach = ndimage.distance_transform_edt((labels != 24).numpy(), 2.0)[changed.numpy()]
    assert reach.max() <= 2 * np.sqrt(3) + 1e-6  # one voxel, and its diagonal
    narrow, _ = widen(labels, head, replace(wide, furrows=0.4))
    assert torch.equal(narrow, labels)
    some, _ = widen(labels, head, replace(wide, share=0.3))
    assert 0.1 < float((some != labels).sum()) / float(changed.sum()) < 0.5


def test_a_record_repeats_the_same_head(head, labels):
    drawn = sample_atrophy(np.random.RandomState(5))
    again = Atrophy(**json.loads(json.dumps(asdict(drawn))))
    first, second = widen(labels, head, drawn), widen(labels, head, again)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1].stack(), second[1].stack())


def test_labels_without_fluid_are_left(head, labels):
    dry = torch.where(labels == 24, 0, labels)
    other, maps = widen(dry, head, FRONTAL)
    assert other is dry
    assert maps is head


def test_a_resection_of_a_widened_head_takes_brain_alone(head, labels):
    _, maps = widen(labels, head, replace(FRONTAL, gap=20.0))
    prior = Prior(modes={"lesionectomy": 1.0})
    for seed in range(4):
        cavity = sample_cavity(maps, np.random.RandomState(seed), prior)
        carved = carve(maps, cavity)
        window = tuple(map(slice, carved.start, carved.stop))
        opened = (maps.depth == 0)[window] & carved.mask
        assert not bool(opened.any())


def case_of(head, labels):
    return {"labels": labels[None], "anatomy": head.stack(), "affine": head.affine}


def test_a_case_is_widened_as_often_as_asked_and_alike_under_a_seed(head, labels):
    transform, case, changed = RandAtrophyd(0.25, "freesurfer"), case_of(head, labels), 0
    for seed in range(30):
        transform.set_random_state(seed=seed)
        changed += transform(case)["labels"] is not case["labels"]
    assert 1 <= changed <= 16  # a quarter of 30, but for one in a thousand
    always = RandAtrophyd(1.0, "freesurfer")
    first, again = (always.set_random_state(seed=3)(case) for _ in range(2))
    assert torch.equal(first["labels"], again["labels"])
    assert torch.equal(first["anatomy"], again["anatomy"])
    maps = Anatomy.unstack(first["anatomy"], head.affine)
    assert torch.equal(first["labels"][0] == 24, maps.tissue == Tissue.FLUID)


def test_a_scan_is_left_as_it_is(head):
    case = {"image": torch.zeros(1, 4, 4, 4), "anatomy": head.stack(), "affine": head.affine}
    assert RandAtrophyd(1.0, "freesurfer")(case) == case


def test_a_share_that_is_none_is_refused():
    with pytest.raises(DataError, match="atrophy_share is 2; use a probability from 0 to 1"):
        RandAtrophyd(2)
