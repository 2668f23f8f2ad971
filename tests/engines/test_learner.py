"""One optimizer step after another."""

import shutil

import pytest
import torch
from torch import nn

from volseg.engines.learner import Learner
from volseg.engines.optimisation import Optimisation
from volseg.engines.schedules import Frozen, Sawtooth, Scratch
from volseg.errors import DeviceError, VolsegError
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter
from volseg.pretext.task import PretextResult


def half_square(module, batch, *, panels):
    """A loss whose gradient is the output itself."""
    return PretextResult(module(batch["x"]).float().square().sum() / 2)


def linear(weight):
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, weight)
    return module


def sgd(**changes):
    options = {
        "learning_rate": 0.1, "weight_decay": 0.0, "schedule": Scratch(), "clip_norm": None,
        "optimizer": torch.optim.SGD,
    }  # fmt: skip
    return Optimisation(**{**options, **changes})


def learn(module, optimisation, steps=1, total=10, x=1.0):
    learner = Learner(module, half_square, optimisation, total, seed=0)
    learner.begin()
    for _ in range(steps):
        result = learner.learn({"x": torch.tensor([[x]]), "name": "case"})
    return learner, result


def test_a_step_follows_the_gradient_at_the_scheduled_rate():
    module = linear(2.0)
    learn(module, sgd(), steps=2)
    # w <- w (1 - 0.1 (1 - s / 10) ^ 0.9) for s = 0, 1
    assert module.weight.item() == pytest.approx(2 * 0.9 * (1 - 0.1 * 0.9**0.9))


def test_the_gradient_is_clipped_to_the_norm_and_logged_before():
    module = linear(4.0)
    _, result = learn(module, sgd(clip_norm=1.0))
    assert module.weight.item() == pytest.approx(4 - 0.1, abs=1e-6)
    assert result.monitors["gradient_norm"].item() == 4.0


def test_the_average_is_lent_for_validation():
    module = linear(1.0)
    learner, _ = learn(module, sgd(ema_decay=0.5))
    now = module.weight.item()
    with learner.averaged():
        decay = 2 / 11  # (1 + 1) / (10 + 1), for the first step
        assert module.weight.item() == pytest.approx(decay * 1.0 + (1 - decay) * now)
    assert module.weight.item() == now


def test_without_an_average_the_weights_themselves_are_validated():
    module = linear(1.0)
    learner, _ = learn(module, sgd())
    with learner.averaged():
        assert module.weight.item() == pytest.approx(0.9)


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_takes_the_same_steps_with_channels_last():
    def convolution():
        torch.manual_seed(0)
        return nn.Conv3d(2, 2, kernel_size=3, padding=1)

    batch = {"x": torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(1))}
    found = []
    for is_compiled in (False, True):
        network = convolution()
        learner = Learner(network, half_square, sgd(is_compiled=is_compiled), 10, seed=0)
        for _ in range(2):
            learner.learn(batch)
        found.append(network.weight.detach())
    eager, compiled = found
    torch.testing.assert_close(compiled, eager)
    assert compiled.is_contiguous(memory_format=torch.channels_last_3d)
    assert not torch.equal(eager, convolution().weight)


@pytest.mark.parametrize("x", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_its_step(x):
    learner, _ = learn(linear(1.0), sgd(), steps=3)
    with pytest.raises(VolsegError, match=r"the loss is (nan|inf) at step 4"):
        learner.learn({"x": torch.tensor([[x]])})


def test_a_broken_step_changes_no_weight():
    module = linear(1.0)
    learner = Learner(module, half_square, sgd(), 10, seed=0)
    with pytest.raises(VolsegError, match="at step 1"):
        learner.learn({"x": torch.tensor([[float("nan")]])})
    assert module.weight.item() == 1.0


def test_randomness_depends_on_the_seed_and_the_step_alone():
    drawn = []

    def draw(module, batch, *, panels):
        drawn.append(torch.rand(()).item())
        return PretextResult(module(batch["x"]).sum())

    for noise in (0, 5):
        learner = Learner(linear(1.0), draw, sgd(), 10, seed=3)
        for _ in range(2):
            torch.rand(noise)  # something else used the generator
            learner.learn({"x": torch.ones(1, 1)})
    assert drawn[:2] == drawn[2:]
    assert drawn[0] != drawn[1]


def test_half_precision_on_a_cpu_is_refused():
    with pytest.raises(DeviceError, match="fp16 needs a CUDA device, not 'cpu'; use bf16"):
        Learner(linear(1.0), half_square, sgd(precision="fp16"), 10, seed=0)


def test_an_unknown_precision_is_refused():
    with pytest.raises(VolsegError, match="precision is 'fp8'; use one of"):
        Optimisation(precision="fp8")


def test_bf16_computes_the_network_in_bf16_and_keeps_the_weights_in_fp32():
    seen = []

    def look(module, batch, *, panels):
        output = module(batch["x"])
        seen.append(output.dtype)
        return PretextResult(output.float().sum())

    module = linear(1.0)
    Learner(module, look, sgd(precision="bf16"), 10, seed=0).learn({"x": torch.ones(1, 1)})
    assert seen == [torch.bfloat16]
    assert module.weight.dtype == torch.float32


def segment(module, batch, *, panels):
    return PretextResult(module(batch["x"]).square().mean())


def test_sawtooth_moves_the_encoder_only_after_its_stage():
    torch.manual_seed(0)
    network = Segmenter(ResidualEncoder(1, widths=(4, 8)), num_classes=2)
    first = next(network.encoder.parameters())
    learner = Learner(network, segment, Optimisation(schedule=Sawtooth(alone=0.5)), 4, seed=0)
    batch = {"x": torch.randn(1, 1, 4, 4, 4)}
    moved = []
    for _ in range(4):
        before = first.detach().clone()
        learner.learn(batch)
        moved.append(not torch.equal(before, first))
    assert moved == [False, False, True, True]


def test_a_frozen_encoder_rests_and_the_decoder_learns():
    torch.manual_seed(0)
    network = Segmenter(ResidualEncoder(1, widths=(4, 8)), num_classes=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learner = Learner(network, segment, Optimisation(schedule=Frozen()), 3, seed=0)
    for _ in range(3):
        learner.learn({"x": torch.randn(1, 1, 4, 4, 4)})
        assert not network.encoder.training
        assert network.decoder.training
    changed = {n.split(".")[0] for n, v in network.state_dict().items() if not v.equal(before[n])}
    assert changed == {"decoder", "heads"}


def test_parameters_that_a_task_froze_stay_frozen():
    module = nn.Sequential(linear(1.0), linear(2.0))
    module[0].requires_grad_(False)
    learn(module, sgd())
    assert module[0].weight.item() == 1.0
    assert module[1].weight.item() != 2.0


def test_a_saved_state_goes_on_to_the_same_weights():
    straight, _ = learn(linear(1.0), Optimisation(ema_decay=0.5), steps=6)
    halted, _ = learn(linear(1.0), Optimisation(ema_decay=0.5), steps=3)
    resumed = Learner(linear(9.0), half_square, Optimisation(ema_decay=0.5), 10, seed=0)
    resumed.load_state_dict(halted.state_dict())
    for _ in range(3):
        resumed.learn({"x": torch.tensor([[1.0]])})
    assert torch.equal(resumed.module.weight, straight.module.weight)
    assert torch.equal(resumed.average.values["weight"], straight.average.values["weight"])
