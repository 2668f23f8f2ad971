"""The running average of weights."""

import pytest
import torch
from torch import nn

from volseg.engines.ema import WeightAverage


@pytest.fixture
def module():
    return nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))


def fill(module, value):
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(value)


def test_the_average_follows_its_formula(module):
    fill(module, 1)
    average = WeightAverage(module, decay=0.5)
    fill(module, 3)
    average.update(step=100)  # (1 + 100) / (10 + 100) is above 0.5
    assert torch.equal(average.values["0.weight"], torch.full((2, 2), 2.0))


def test_early_steps_forget_the_first_weights_sooner(module):
    fill(module, 0)
    average = WeightAverage(module, decay=0.999)
    fill(module, 1)
    average.update(step=1)
    assert torch.allclose(average.values["0.weight"], torch.tensor(1 - 2 / 11))


def test_floating_buffers_are_averaged_and_counters_copied(module):
    fill(module, 0)
    average = WeightAverage(module, decay=0.5)
    fill(module, 4)
    average.update(step=100)
    assert torch.equal(average.values["1.running_mean"], torch.full((2,), 2.0))
    assert average.values["1.num_batches_tracked"] == 4


def test_lent_weights_come_back_bit_for_bit(module):
    before = {name: value.clone() for name, value in module.state_dict().items()}
    average = WeightAverage(module, decay=0.5)
    fill(module, 0.1)
    with average.applied():
        assert all(torch.equal(module.state_dict()[n], v) for n, v in before.items())
    assert torch.equal(module[0].weight, torch.full((2, 2), 0.1))
    assert all(torch.equal(average.values[n], v) for n, v in before.items())


def test_lent_weights_come_back_after_an_error(module):
    average = WeightAverage(module, decay=0.5)
    fill(module, 7)
    with pytest.raises(RuntimeError, match="stop"), average.applied():
        raise RuntimeError("stop")
    assert torch.equal(module[0].weight, torch.full((2, 2), 7.0))


def test_shared_weights_are_lent_once():
    layer = nn.Linear(1, 1, bias=False)
    module = nn.ModuleDict({"one": layer, "other": layer})
    average = WeightAverage(module, decay=0.5)
    nn.init.constant_(layer.weight, 5)
    with average.applied():
        assert layer.weight.item() != 5
    assert layer.weight.item() == 5


def test_caches_that_are_not_saved_are_left_alone(module):
    module.register_buffer("cache", torch.zeros(3), persistent=False)
    average = WeightAverage(module, decay=0.5)
    module.register_buffer("cache", torch.zeros(7), persistent=False)
    average.update(step=1)
    assert "cache" not in average.values
