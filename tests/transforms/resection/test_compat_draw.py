"""What resector's law draws is drawn as often as asked, and can be read back from its record."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from tests.transforms.resection.heads import make_head
from volseg.errors import DataError
from volseg.transforms.anatomy.maps import Anatomy
from volseg.transforms.resection.carve import carve
from volseg.transforms.resection.cavity import RESECTOR, Cavity
from volseg.transforms.resection.compat import compat_core
from volseg.transforms.resection.compat_draw import sample_compat
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.sample import sample_cavity


@pytest.fixture(scope="module")
def head():
    return make_head((3.0, 3.0, 3.0))


def draws(head, count, **changes):
    prior = Prior(compat=RESECTOR, **changes)
    return [sample_cavity(head, np.random.RandomState(seed), prior) for seed in range(count)]


def test_a_plain_draw_is_fluid_alone_and_white(head):
    for cavity in draws(head, 10):
        content = cavity.compat
        assert (content.has_lesion, content.clot, content.smoothing) == (False, None, 0.0)
        assert all(0.5 <= sigma <= 1 for sigma in content.sigmas)


def test_contents_are_drawn_by_their_laws_and_apart(head):
    cavities = draws(head, 120, compat_rich=0.5, compat_smooth=0.25)
    contents = [cavity.compat for cavity in cavities]
    # Of 120 fair coins, 41 to 79 fall on one side but in one of a thousand; of 120 with a quarter,
    # 14 to 47. A few cavities are too small to hold a clot.
    assert 41 <= sum(each.has_lesion for each in contents) <= 79
    assert 32 <= sum(each.clot is not None for each in contents) <= 79
    assert 14 <= sum(each.smoothing > 0 for each in contents) <= 47
    kinds = {(each.has_lesion, each.clot is not None) for each in contents}
    assert len(kinds) == 4
    percentiles = [each.percentile for each in contents]
    assert stats.kstest(percentiles, stats.uniform(90, 9).cdf).pvalue > 0.01
    assert (
        stats.kstest(np.ravel([e.sigmas for e in contents]), stats.uniform(0.5, 0.5).cdf)[1] > 0.01
    )


def test_a_clot_has_the_radii_of_its_cavity_and_begins_in_its_core(head):
    found = 0
    for cavity in draws(head, 15, compat_rich=1.0):
        clot, solid = cavity.compat.clot, cavity.solids[0]
        if clot is None:
            continue
        found += 1
        assert (clot.radii, clot.angles, clot.law) == (solid.radii, solid.angles, RESECTOR)
        assert clot.seed == 2 * solid.seed
        carved = carve(head, cavity)
        whole = torch.zeros_like(head.tissue, dtype=torch.bool)
        whole[tuple(map(slice, carved.start, carved.stop))] = compat_core(carved.mask, head)
        voxel = np.linalg.solve(head.affine, [*clot.centre, 1])[:3]
        assert bool(whole[tuple(np.rint(voxel).astype(int))])
    assert found > 8


def test_a_rich_draw_survives_its_way_through_json(head):
    for cavity in draws(head, 6, compat_rich=1.0, compat_smooth=1.0):
        assert Cavity.from_json(json.loads(json.dumps(cavity.to_json()))) == cavity


def test_what_follows_resector_has_its_share(head):
    prior = Prior(compat_share=0.3, modes={"none": 1.0})
    drawn = [sample_cavity(head, np.random.RandomState(seed), prior) for seed in range(200)]
    # 200 draws of three in ten are 38 to 83 but in one of a thousand.
    assert 38 <= sum(cavity.compat is not None for cavity in drawn) <= 83


def test_without_a_share_draws_are_as_before(head):
    modes = {"lesionectomy": 1.0}
    plain = sample_cavity(head, np.random.RandomState(1), Prior(modes=modes))
    other = sample_cavity(head, np.random.RandomState(1), Prior(modes=modes, compat_rich=1.0))
    assert plain == other
    assert plain.compat is None


def test_a_cavity_without_a_core_gets_no_clot():
    # One sheet of cortex two voxels thick: nothing is left of it once it is opened.
    tissue = torch.zeros((3, 20, 20, 20), dtype=torch.uint8)
    tissue[0, 9:11], tissue[1:] = 5, 1
    sheet = Anatomy(tissue[0], tissue[1], tissue[1], tissue[1], affine=np.eye(4))
    for seed in range(4):
        cavity = sample_compat(sheet, np.random.RandomState(seed), rich=1.0)
        assert not cavity.is_ok or cavity.compat.clot is None


@pytest.mark.parametrize("name", ["compat_share", "compat_rich", "compat_smooth"])
def test_a_probability_that_is_none_is_refused(name):
    with pytest.raises(DataError, match=f"{name} is 1.5; use a probability from 0 to 1"):
        Prior(**{name: 1.5})
