import pytest
import torch
from torch import nn

from volseg.engines.optimisation import autocast

CPU = torch.device("cpu")


def gradient(layer, volume, precision):
    layer.zero_grad()
    with autocast(CPU, precision):
        layer(volume).float().square().sum().backward()
    return layer.weight.grad.clone()


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d])
def test_gradients_of_short_maps_are_right_at_half_precision(kind, kernel, depth):
    torch.manual_seed(0)
    layer = kind(64, 64, kernel, padding=kernel // 2)
    volume = torch.randn(2, 64, depth, 4, 4)
    expected = gradient(layer, volume, "fp32")
    for _ in range(5):
        found = gradient(layer, volume, "bf16")
        assert (found - expected).norm() < 0.02 * expected.norm()


def test_only_short_maps_are_computed_in_full():
    layer = nn.Conv3d(1, 1, 3, padding=1)
    with autocast(CPU, "bf16"):
        assert layer(torch.zeros(1, 1, 3, 2, 2)).dtype == torch.bfloat16
        assert layer(torch.zeros(1, 1, 2, 4, 4)).dtype == torch.float32
    assert layer(torch.zeros(1, 1, 3, 2, 2)).dtype == torch.float32


def test_a_context_that_is_not_entered_changes_nothing():
    context = autocast(CPU, "bf16")
    assert nn.Conv3d(1, 1, 3)(torch.zeros(1, 1, 4, 4, 4)).dtype == torch.float32
    with context:
        assert nn.Conv3d(1, 1, 3)(torch.zeros(1, 1, 4, 4, 4)).dtype == torch.bfloat16
