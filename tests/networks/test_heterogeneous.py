"""The autoencoder for anomalies."""

import pytest
import torch

from volseg.errors import GeometryError
from volseg.networks.heterogeneous import (
    BOTTLENECKS,
    HeterogeneousAutoencoder,
    anomaly_maps,
    reconstruction_loss,
)


@pytest.fixture(params=BOTTLENECKS)
def network(request):
    torch.manual_seed(0)
    return HeterogeneousAutoencoder((4, 8, 8), request.param, blocks=1, heads=2).eval()


@pytest.fixture
def volumes():
    return torch.randn(2, 1, 16, 8, 24, generator=torch.Generator().manual_seed(1))


def test_volume_and_features_of_the_finer_stages_are_rebuilt(network, volumes):
    found = network(volumes)
    assert found.volume.shape == volumes.shape
    assert [tuple(each.shape) for each in found.features] == [(2, 4, 8, 4, 12), (2, 8, 4, 2, 6)]
    assert [each.shape for each in found.features] == [each.shape for each in found.targets]


def test_everything_passes_the_bottleneck(network, volumes):
    """With a silenced bottleneck the decoder says the same of any volume: there is no way round."""
    for parameter in network.bottleneck.parameters():
        torch.nn.init.zeros_(parameter)
    first, second = (network(each[None]).volume for each in volumes)
    assert torch.equal(first, second)


def test_the_encoder_does_not_move_towards_what_the_decoder_expects(network, volumes):
    found = network(volumes)
    features = found._replace(volume=volumes)  # no loss of voxels
    for target in found.targets:
        target.retain_grad()
    decoder = [feature.detach().requires_grad_() for feature in found.features]
    reconstruction_loss(features._replace(features=decoder), volumes).backward()
    assert all(target.grad is None for target in found.targets)
    assert all(feature.grad.abs().sum() > 0 for feature in decoder)


def test_a_perfect_reconstruction_has_no_loss_and_an_empty_map(volumes):
    class Perfect(HeterogeneousAutoencoder):
        def forward(self, x):
            found = super().forward(x)
            return found._replace(volume=x, features=[each.clone() for each in found.targets])

    perfect = Perfect((4, 8, 8), blocks=1, heads=2).eval()
    assert reconstruction_loss(perfect(volumes), volumes).item() == pytest.approx(0, abs=1e-6)
    maps = anomaly_maps(perfect, volumes)
    assert maps.shape == (2, 2, 16, 8, 24)
    assert maps[:, 0].abs().max() == 0


def test_the_residual_map_is_the_distance_of_the_voxels(network, volumes):
    maps = anomaly_maps(network, volumes)
    assert torch.allclose(maps[:, :1], (network(volumes).volume - volumes).abs())
    assert maps[:, 1].min() >= -1e-6
    assert maps[:, 1].max() <= 2 * 2 + 1e-6  # two stages, each at most 2


def test_what_does_not_fit_is_refused(network):
    with pytest.raises(GeometryError, match=r"\(16, 12, 16\) is not a multiple of 8"):
        network(torch.zeros(1, 1, 16, 12, 16))
    with pytest.raises(GeometryError, match="use transformer or convolution"):
        HeterogeneousAutoencoder((4, 8), "dense")
