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
