"""One vector a volume."""

import pytest
import torch

from volseg.networks.embedder import Embedder
from volseg.networks.residual import ResidualEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return ResidualEncoder(1, (2, 4)).eval()


def test_a_volume_of_a_size_that_fits_is_embedded_as_it_is(encoder):
    volume = torch.randn(2, 1, 8, 6, 4)
    assert torch.equal(Embedder(encoder)(volume), encoder.embed(volume))
    assert torch.equal(Embedder(encoder, "max")(volume), encoder.embed(volume, "max"))


def test_a_volume_of_another_size_is_extended_by_its_border(encoder):
    volume = torch.randn(1, 1, 7, 6, 3)
    extended = torch.cat([volume, volume[:, :, -1:]], dim=2)
    extended = torch.cat([extended, extended[..., -1:]], dim=4)
    assert torch.equal(Embedder(encoder)(volume), encoder.embed(extended))


@pytest.mark.parametrize("pool", ["mean_std", "max"])
def test_a_region_that_is_all_of_the_volume_changes_nothing(encoder, pool):
    volume = torch.randn(2, 1, 8, 6, 4)
    everywhere = torch.ones_like(volume)
    whole = encoder.embed(volume, pool)
    assert torch.allclose(encoder.embed(volume, pool, everywhere), whole, atol=1e-6)


def test_a_region_is_pooled_over_its_own_feature_voxels_alone(encoder):
    volume, region = torch.randn(1, 1, 8, 6, 4), torch.zeros(1, 1, 8, 6, 4)
    region[..., :2, :2, :2] = 1  # one voxel of the deepest level, whose stride is 2
    finest, deepest = encoder(volume)
    corner = deepest[:, :, 0, 0, 0]
    found = encoder.embed(volume, region=region)
    assert torch.allclose(found, torch.cat([corner, torch.zeros_like(corner)], 1), atol=1e-6)
    most = torch.cat([finest[..., :2, :2, :2].flatten(2).amax(-1), corner], 1)
    assert torch.equal(encoder.embed(volume, "max", region), most)


def test_a_feature_voxel_counts_as_much_as_its_input_voxels(encoder):
    volume, region = torch.randn(1, 1, 4, 2, 2), torch.zeros(1, 1, 4, 2, 2)
    region[0, 0, :2] = 1  # eight voxels of the first feature voxel
    region[0, 0, 2, 0, 0] = 1  # one of the second
    first, second = encoder(volume)[-1][0, :, :, 0, 0].T
    mean = (8 * first + second) / 9
    spread = ((8 * (first - mean) ** 2 + (second - mean) ** 2) / 9).sqrt()
    found = encoder.embed(volume, region=region)[0]
    assert torch.allclose(found, torch.cat([mean, spread]), atol=1e-5)
