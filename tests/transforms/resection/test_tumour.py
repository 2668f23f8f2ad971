"""Tumours are put into the maps, and what is left of them is found."""

import numpy as np
import pytest
import torch

from tests.transforms.resection.heads import ellipsoid, make_head
from volseg.errors import GeometryError
from volseg.transforms.anatomy.maps import Lobe, Side, Tissue
from volseg.transforms.resection.carve import carve
from volseg.transforms.resection.prior import Prior
from volseg.transforms.resection.sample import sample_cavity
from volseg.transforms.resection.tumour import mark_tumour, residual


@pytest.fixture(scope="module")
def head():
    return make_head((2.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def tumour(head):
    return ball(head, (-40, 10, 20), (14, 18, 11))


def ball(head, centre, radii):
    index = np.indices(head.tissue.shape).reshape(3, -1)
    places = head.affine[:3, :3] @ index + head.affine[:3, 3:]
    mask = ellipsoid(*places, centre, np.broadcast_to(radii, 3))
    return torch.from_numpy(mask.reshape(head.tissue.shape))


def test_only_the_tumour_is_a_lesion(head, tumour):
    spotted = mark_tumour(head, head.tissue == Tissue.CALLOSUM)
    marked = mark_tumour(spotted, tumour)
    assert torch.equal(marked.tissue == Tissue.LESION, tumour & (head.depth > 0))
    assert (marked.tissue[head.tissue == Tissue.CALLOSUM] == Tissue.WHITE).all()
    assert not (head.tissue == Tissue.LESION).any()


def test_a_tumour_outside_the_hull_is_none(head):
    marked = mark_tumour(head, head.tissue == Tissue.SKULL)
    assert torch.equal(marked.tissue, head.tissue)


def test_a_tumour_on_another_grid_is_refused(head):
    with pytest.raises(GeometryError, match=r"tumour has the shape \(3, 3, 3\)"):
        mark_tumour(head, torch.ones(3, 3, 3))


@pytest.mark.parametrize("seed", range(8))
def test_an_operation_follows_the_tumour_and_takes_most_of_it(head, tumour, seed):
    prior = Prior(modes={"tumour": 1.0})
    cavity = sample_cavity(head, np.random.RandomState(seed), prior, tumour)
    assert (cavity.mode, cavity.side, cavity.is_ok) == ("tumour", Side.LEFT, True)
    marked = mark_tumour(head, tumour)
    carved = carve(marked, cavity)
    mask = torch.zeros_like(tumour)
    mask[tuple(slice(a, b) for a, b in zip(carved.start, carved.stop, strict=True))] = carved.mask
    left = residual(marked, mask)
    extent = 1 - float(left.sum()) / float(tumour.sum())
    assert 0.55 < extent <= 1
    assert float((mask & tumour).sum()) / float(mask.sum()) > 0.35  # 1 / 2.5: 5 mm all round
    assert torch.equal(left | (mask & tumour), tumour)


@pytest.mark.parametrize("seed", range(8))
def test_a_tumour_of_the_cerebellum_is_followed(head, seed):
    tumour = ball(head, (-22, -48, -33), 10) & (head.depth > 0)
    assert set(head.lobe[tumour].unique().tolist()) == {int(Lobe.INFRATENTORIAL)}
    cavity = sample_cavity(head, np.random.RandomState(seed), Prior(modes={"tumour": 1.0}), tumour)
    carved = carve(mark_tumour(head, tumour), cavity)
    mask = torch.zeros_like(tumour)
    mask[tuple(slice(a, b) for a, b in zip(carved.start, carved.stop, strict=True))] = carved.mask
    assert float((mask & tumour).sum()) / float(tumour.sum()) > 0.5
    assert set(head.lobe[mask].unique().tolist()) == {int(Lobe.INFRATENTORIAL)}
    entry = cavity.solids[0].entry
    assert entry is None or entry[1] < 0  # from behind


def test_without_a_tumour_nothing_is_done_if_only_tumours_are(head):
    cavity = sample_cavity(head, np.random.RandomState(0), Prior(modes={"tumour": 1.0}))
    assert (cavity.mode, cavity.solids) == ("none", ())
