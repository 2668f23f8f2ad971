"""The maps of a head keep their places, whatever their grid."""

import numpy as np
import pytest
import torch

from volseg.errors import GeometryError
from volseg.transforms.anatomy.maps import Anatomy, Lobe, Side, Tissue


@pytest.fixture
def oblique() -> Anatomy:
    """Give an anatomy on a left-handed, oblique, anisotropic grid."""
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, 2.0, 5.0])
    affine[:3, 3] = (10, 20, 30)
    maps = [torch.randint(0, 3, (6, 5, 4), dtype=torch.uint8) for _ in range(4)]
    return Anatomy(*maps, affine=affine)


def test_spacing_and_volume_come_from_the_affine(oblique):
    assert oblique.spacing == pytest.approx([1.0, 2.0, 5.0])
    assert oblique.voxel_ml == pytest.approx(0.010)


def test_a_crop_keeps_every_voxel_where_it_was(oblique):
    crop = oblique.crop((2, 1, 3), (5, 4, 4))
    assert crop.tissue.shape == (3, 3, 1)
    assert crop.lobe[1, 2, 0] == oblique.lobe[3, 3, 3]
    assert crop.affine @ [1, 2, 0, 1] == pytest.approx(oblique.affine @ [3, 3, 3, 1])


def test_stacked_maps_come_back_equal(oblique):
    maps = oblique.stack()
    assert maps.shape == (4, 6, 5, 4)
    assert maps.dtype == torch.uint8
    again = Anatomy.unstack(maps, oblique.affine)
    for name in ("tissue", "side", "lobe", "depth"):
        assert torch.equal(getattr(again, name), getattr(oblique, name))


def test_maps_of_different_shapes_are_refused():
    small, large = torch.zeros(2, 2, 2), torch.zeros(2, 2, 3)
    with pytest.raises(GeometryError, match="use one shape"):
        Anatomy(small, small, large, small, np.eye(4))
    with pytest.raises(GeometryError, match="use one shape"):
        Anatomy(*[torch.zeros(2, 2)] * 4, affine=np.eye(4))


def test_every_code_fits_into_a_byte():
    for codes in (Tissue, Lobe, Side):
        assert sorted(codes) == list(range(len(codes)))
        assert max(codes) < 256
