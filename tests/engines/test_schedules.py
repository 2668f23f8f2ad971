"""Learning rates are pure functions of the step, whole at every border."""

import itertools

import pytest
import torch
from torch import nn

from volseg.engines.schedules import (
    Frozen,
    LayerDecay,
    Sawtooth,
    Scratch,
    Stage,
    Warmup,
    WarmupCosine,
    lr_factor,
)
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter

TOTAL = 1000


@pytest.fixture(scope="module")
def network():
    return Segmenter(ResidualEncoder(1, widths=(4, 8)), num_classes=2, num_heads=2)


def factors(schedule, network, name, total=TOTAL):
    (group,) = [group for group in schedule.groups(network) if group.name == name]
    return [lr_factor(group.stages, step, total) for step in range(total)]


def test_cosine_halves_at_the_middle_and_ends_near_its_floor(network):
    rates = factors(WarmupCosine(warmup=0.2, floor=0.1), network, "all")
    assert rates[0] == pytest.approx(1 / 200)
    assert rates[199] == rates[200] == 1
    assert rates[600] == pytest.approx(0.55)
    assert rates[999] == pytest.approx(0.1, abs=1e-5)


def test_scratch_is_the_polynomial_of_nnunet(network):
    rates = factors(Scratch(), network, "all")
    assert rates == pytest.approx([(1 - step / TOTAL) ** 0.9 for step in range(TOTAL)])


def test_warmup_reaches_the_peak_once_and_does_not_jump(network):
    rates = factors(Warmup(), network, "all")
    assert rates[:50] == pytest.approx([(step + 1) / 50 for step in range(50)])
    assert max(rates) == rates[49] == rates[50] == 1
    assert all(abs(b - a) <= 0.02 + 1e-9 for a, b in itertools.pairwise(rates))


def test_sawtooth_trains_the_decoder_alone_for_a_twentieth(network):
    encoder = factors(Sawtooth(), network, "encoder")
    decoder = factors(Sawtooth(), network, "decoder")
    assert encoder[:50] == [0] * 50
    assert encoder[50] == pytest.approx(1 / 50)
    assert decoder[24] == decoder[25] == 1
    assert decoder[49] == pytest.approx((1 / 25) ** 0.9)
    assert encoder[50:] == decoder[50:]


def test_sawtooth_of_the_whole_network_reaches_the_full_peak(network):
    """The published scheduler ends its warm-up at half the peak and jumps."""
    rates = factors(Sawtooth(), network, "encoder")
    assert rates[99] == rates[100] == 1
    assert rates[98] == pytest.approx(49 / 50)


def test_sawtooth_scales_only_the_decoder_that_trains_alone(network):
    scaled = factors(Sawtooth(decoder_factor=0.1), network, "decoder")
    plain = factors(Sawtooth(), network, "decoder")
    assert scaled[:50] == pytest.approx([rate / 10 for rate in plain[:50]])
    assert scaled[50:] == plain[50:]


def test_an_inflated_input_projection_can_train_with_the_decoder(network):
    name = next(name for name, _ in network.encoder.named_parameters())
    first = dict(network.encoder.named_parameters())[name]
    groups = {g.name: g for g in Sawtooth(with_decoder=(name,)).groups(network)}
    assert any(p is first for p in groups["decoder"].parameters)
    assert not any(p is first for p in groups["encoder"].parameters)


def test_a_frozen_encoder_never_learns(network):
    assert set(factors(Frozen(), network, "encoder")) == {0}
    assert min(factors(Frozen(), network, "decoder")) > 0


def test_layer_decay_is_geometric_from_the_output_down(network):
    groups = LayerDecay(decay=0.5, warmup=0).groups(network)
    peaks = [lr_factor(group.stages, 0, TOTAL) for group in groups]
    assert peaks[-1] == 1
    assert all(upper == pytest.approx(2 * lower) for lower, upper in itertools.pairwise(peaks))


@pytest.mark.parametrize("schedule", [WarmupCosine(), Scratch(), Warmup(), Sawtooth(), Frozen()])
def test_every_parameter_is_in_exactly_one_group(schedule, network):
    grouped = [id(p) for group in schedule.groups(network) for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())


def test_layer_decay_covers_every_parameter_once(network):
    grouped = [id(p) for group in LayerDecay().groups(network) for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters())


def test_layer_decay_needs_layers():
    with pytest.raises(TypeError, match="needs a Segmenter, not Linear"):
        LayerDecay().groups(nn.Linear(1, 1))


@pytest.mark.parametrize("total", [1, 2, 3, 7, 19, 20])
def test_a_run_of_any_length_has_a_rate_at_every_step(total, network):
    for schedule in (WarmupCosine(), Warmup(), Sawtooth(), Frozen()):
        for group in schedule.groups(network):
            rates = [lr_factor(group.stages, step, total) for step in range(total)]
            assert all(0 <= rate <= 1 for rate in rates)


def test_a_step_outside_the_run_is_refused():
    for step in (-1, 10):
        with pytest.raises(ValueError, match=f"step {step} lies outside the 10 steps"):
            lr_factor((Stage(1.0, "poly"),), step, 10)


def test_an_unknown_shape_is_refused():
    with pytest.raises(ValueError, match="'square' is unknown"):
        lr_factor((Stage(1.0, "square"),), 0, 10)


def test_vectors_are_not_decayed(network):
    from volseg.engines.optimisation import Optimisation

    optimizer = Optimisation(weight_decay=0.5).build(WarmupCosine().groups(network))
    for options in optimizer.param_groups:
        for parameter in options["params"]:
            assert options["weight_decay"] == (0.5 if parameter.ndim > 1 else 0)
    assert isinstance(optimizer, torch.optim.AdamW)
