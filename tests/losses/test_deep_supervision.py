import pytest
import torch
from torch import nn

from volseg.errors import GeometryError
from volseg.losses.deep_supervision import DeepSupervisionLoss


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, 2, 2, 2, 2, generator=generator) for _ in range(3)]


def test_one_weight_gives_the_plain_loss(outputs):
    label = torch.zeros(1, 2, 2, 2, 2)
    loss = DeepSupervisionLoss(nn.MSELoss(), (1, 0, 0))
    assert torch.equal(loss(outputs, label), nn.MSELoss()(outputs[0], label))


def test_the_loss_is_the_weighted_mean():
    outputs = [torch.full((1, 1, 1, 1, 1), value) for value in (1.0, 2.0, 4.0)]
    loss = DeepSupervisionLoss(nn.L1Loss(), (1, 0.5, 0.25))
    assert loss(outputs, torch.zeros(1, 1, 1, 1, 1)).item() == pytest.approx((1 + 1 + 1) / 1.75)


def test_half_precision_outputs_are_compared_in_single_precision(outputs):
    loss = DeepSupervisionLoss(nn.MSELoss())
    halves = [output.bfloat16() for output in outputs]
    assert loss(halves, torch.zeros(1, 2, 2, 2, 2)).dtype == torch.float32


@pytest.mark.parametrize("weights", [(), (0, 0), (1, -1)])
def test_weights_that_weigh_nothing_are_refused(weights):
    with pytest.raises(GeometryError, match="use numbers from 0, not all 0"):
        DeepSupervisionLoss(nn.MSELoss(), weights)
