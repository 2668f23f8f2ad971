import copy
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from volseg.errors import WeightsError
from volseg.networks import resenc, residual, swin, tensorized, vit
from volseg.networks.config import build
from volseg.networks.decoder_unetr import UnetrDecoder
from volseg.networks.factorized.budget import plan
from volseg.networks.factorized.chain import KernelShape, compose, count, relative_error
from volseg.networks.factorized.cp import CP
from volseg.networks.factorized.layers import build_chain, kernel_of, set_factors, shape_of
from volseg.networks.factorized.tensor_train import TensorTrain
from volseg.networks.factorized.tucker import Tucker
from volseg.networks.narrow import count_parameters
from volseg.networks.residual import ResidualEncoder
from volseg.networks.segmenter import Segmenter

METHODS = [CP(), Tucker(), TensorTrain()]
BUILDERS = [tensorized.cp, tensorized.tucker, tensorized.tensor_train]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
every_builder = pytest.mark.parametrize("builder", BUILDERS, ids=lambda builder: builder.__name__)

LAYERS = {
    "plain": lambda: nn.Conv3d(6, 4, 3, padding=1),
    "anisotropic stride": lambda: nn.Conv3d(6, 4, 3, stride=(1, 2, 2), padding=1),
    "anisotropic kernel": lambda: nn.Conv3d(6, 4, (1, 3, 5), (2, 1, 2), (0, 1, 2)),
    "dilation": lambda: nn.Conv3d(6, 4, (3, 3, 1), padding=(2, 1, 0), dilation=(2, 1, 1)),
    "same padding": lambda: nn.Conv3d(6, 4, (3, 2, 3), padding="same"),
    "circular padding": lambda: nn.Conv3d(6, 4, 3, padding=(1, 1, 0), padding_mode="circular"),
    "strided matrix": lambda: nn.Conv3d(6, 4, 1, stride=(2, 1, 3), bias=False),
    "transposed": lambda: nn.ConvTranspose3d(6, 4, 2, stride=2),
    "anisotropic transposed": lambda: nn.ConvTranspose3d(
        6, 4, (1, 2, 3), (1, 2, 2), (0, 0, 1), (0, 0, 1)
    ),
    "linear": lambda: nn.Linear(6, 4),
}


def answers(layer: nn.Module, other: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (3, 5, 6) if isinstance(layer, nn.Linear) else (2, 6, 6, 8, 7)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return layer(x), other(x)


def decomposed(layer: nn.Module, method, ranks) -> nn.Sequential:
    built = build_chain(layer, method.chain(shape_of(layer), ranks))
    set_factors(built, method.decompose(kernel_of(layer), ranks))
    return built


def full_ranks(method, shape: KernelShape) -> tuple[int, ...]:
    return method.ranks(shape, method.steps(shape))


def flops(network: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    return counter.get_total_flops()


@every_method
@pytest.mark.parametrize("kind", LAYERS)
def test_full_rank_answers_as_the_dense_layer_does(method, kind):
    torch.manual_seed(0)
    layer = LAYERS[kind]().double()
    built = decomposed(layer, method, full_ranks(method, shape_of(layer)))
    wanted, found = answers(layer, built)
    assert found.shape == wanted.shape
    # double precision; alternating least squares adds a ridge of 1e-9
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@every_method
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_of_low_rank_has_the_dense_layer_s_shape_and_composed_kernel(method, kind):
    torch.manual_seed(0)
    layer = LAYERS[kind]().double()
    shape = shape_of(layer)
    ranks = method.largest_ranks(shape, 0.5 * shape.size)
    chain, factors = method.chain(shape, ranks), method.decompose(kernel_of(layer), ranks)
    twin = copy.deepcopy(layer)
    kernel = torch.from_numpy(compose(chain, factors))
    if isinstance(layer, nn.ConvTranspose3d):
        kernel = kernel.transpose(0, 1)
    twin.weight.data.copy_(kernel.reshape(layer.weight.shape))
    built = decomposed(layer, method, ranks)
    wanted, found = answers(twin, built)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted)
    parameters = sum(part.weight.numel() for part in built)
    assert parameters == count(chain, shape) <= 0.5 * shape.size


@every_method
@given(
    outputs=st.integers(1, 40),
    inputs=st.integers(1, 40),
    taps=st.lists(st.integers(2, 5), max_size=3),
    share=st.floats(0.01, 0.99),
)
@settings(max_examples=40, deadline=None)
def test_ranks_are_the_largest_within_the_limit(method, outputs, inputs, taps, share):
    shape = KernelShape(outputs, inputs, tuple(taps))
    ladder = [method.ranks(shape, step) for step in range(1, method.steps(shape) + 1)]
    counts = [method.count(shape, ranks) for ranks in ladder]
    assert counts == sorted(counts)
    ranks = method.largest_ranks(shape, share * shape.size)
    if ranks is None:
        assert counts[0] >= shape.size
    elif ranks != ladder[0]:
        assert method.count(shape, ranks) <= share * shape.size
        higher = [number for other, number in zip(ladder, counts, strict=True) if other > ranks]
        assert all(number > share * shape.size for number in higher)


def test_ranks_of_a_train_are_those_that_the_unfoldings_can_have():
    shape = KernelShape(8, 4, (3, 3, 3))
    # cuts of 4 | 3 | 3 | 3 | 8: at most 4, 12, 24 (of 36), 8
    assert full_ranks(TensorTrain(), shape) == (4, 12, 24, 8)
    assert TensorTrain().ranks(shape, 10) == (4, 10, 10, 8)


def test_a_train_meets_a_kernel_of_its_ranks_exactly():
    generator = np.random.default_rng(0)
    shape, method = KernelShape(6, 5, (3, 3, 3)), TensorTrain()
    ranks = (2, 3, 3, 2)
    chain = method.chain(shape, ranks)
    kernel = compose(chain, [generator.standard_normal(link.shape(shape)) for link in chain])
    assert relative_error(kernel, compose(chain, method.decompose(kernel, ranks))) < 1e-12
    assert relative_error(kernel, compose(chain, method.decompose(kernel, (1, 1, 1, 1)))) > 0.1


def test_least_squares_come_as_near_as_tensorly_s():
    decomposition = pytest.importorskip("tensorly.decomposition")
    kernel = np.random.default_rng(0).standard_normal((6, 5, 3, 3, 3))
    for rank in (4, 20):
        found = decomposition.parafac(kernel, rank, n_iter_max=25, init="svd", random_state=0)
        theirs = np.linalg.norm(kernel - found.to_tensor()) / np.linalg.norm(kernel)
        chain = CP().chain(KernelShape(6, 5, (3, 3, 3)), (rank,))
        ours = relative_error(kernel, compose(chain, CP(25).decompose(kernel, (rank,))))
        assert ours < theirs + 0.02  # both stop in a local minimum


@every_method
def test_more_parameters_come_nearer(method):
    kernel = np.random.default_rng(0).standard_normal((8, 8, 3, 3, 3))
    shape = KernelShape(8, 8, (3, 3, 3))
    errors = []
    for share in (0.1, 0.3, 0.6, 0.9):
        ranks = method.largest_ranks(shape, share * shape.size)
        found = compose(method.chain(shape, ranks), method.decompose(kernel, ranks))
        errors.append(relative_error(kernel, found))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 1


@every_builder
@pytest.mark.parametrize("kind", ["plain", "anisotropic stride", "transposed", "linear"])
def test_random_factors_have_the_spread_of_the_dense_layer(builder, kind):
    torch.manual_seed(0)
    sizes = {
        "plain": lambda: nn.Conv3d(64, 48, 3, padding=1, bias=False),
        "anisotropic stride": lambda: nn.Conv3d(64, 48, 3, (1, 2, 2), 1, bias=False),
        "transposed": lambda: nn.ConvTranspose3d(64, 48, 2, 2, bias=False),
        "linear": lambda: nn.Linear(256, 192, bias=False),
    }
    layer = sizes[kind]()
    x = torch.randn((16, 256) if kind == "linear" else (2, 64, 8, 8, 8))
    built = builder(nn.Sequential(layer), 0.3)
    with torch.no_grad():
        spreads = layer(x).std(), built(x).std()
    # the draw of some hundred factors scatters by about a tenth
    assert 0.7 < spreads[1] / spreads[0] < 1.4


def segmenters():
    anisotropic = ResidualEncoder(1, (8, 16, 24), downsampling=((1, 2, 2), (2, 2, 2)))
    yield Segmenter(anisotropic, 3), (4, 8, 8)
    yield Segmenter(resenc.ResEncEncoder(1, (8, 16), (1, 1)), 3), (8, 8, 8)
    yield Segmenter(swin.tiny(1), 2), (16, 16, 16)
    yield Segmenter(vit.ViTEncoder(1, (16, 16, 16), 8, 96, 4, 3), 2, UnetrDecoder), (16, 16, 16)


@every_builder
def test_any_network_keeps_its_shapes_within_the_budget_and_takes_fewer_operations(builder):
    torch.manual_seed(0)
    for dense, size in segmenters():
        x = torch.randn(2, 1, *size)
        with torch.no_grad():
            wanted = [part.shape for part in dense(x, is_deep=True)]
        before, work = count_parameters(dense), flops(dense, x)
        network = builder(dense, 0.4)
        assert 0.37 * before < count_parameters(network) <= 0.4 * before
        assert [part.shape for part in network(x, is_deep=True)] == wanted
        assert flops(network, x) < 0.7 * work
        network(x).square().mean().backward()
        last = network.decoder.state_dict()
        assert any("expand" in name for name in last)
        used = [p for name, p in network.encoder.named_parameters() if "reduce" in name]
        assert used
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in used)
        assert sum(len(group) for group in network.layer_groups()) == len(
            list(network.parameters())
        )


@every_builder
def test_operations_fall_with_the_parameters(builder):
    x = torch.randn(1, 32, 8, 8, 8)
    dense = nn.Sequential(nn.Conv3d(32, 32, 3, padding=1, bias=False))
    work = flops(dense, x)
    assert flops(builder(dense, 0.25), x) <= 0.25 * work  # one place, so one product a parameter


@every_method
def test_the_plan_counts_what_is_built(method):
    network = Segmenter(residual.tiny(1), 2)
    made = plan(network, method, 0.2)
    tensorized.factorize(network, method, 0.2)
    assert made.after == count_parameters(network) <= 0.2 * made.before
    assert "heads.0" in made.whole
    assert "reads the image" in made.whole["encoder.levels.0.0.conv1.conv"]


def test_a_decomposed_network_loads_into_the_one_built_from_its_config():
    torch.manual_seed(0)
    config = {"_target_": "volseg.networks.residual.ResidualEncoder", "in_channels": 1,
              "widths": [4, 8]}  # fmt: skip
    whole = {"_target_": "volseg.networks.segmenter.Segmenter", "encoder": config, "num_classes": 2}
    for method, builder in zip(METHODS, BUILDERS, strict=True):
        trained = build(whole).eval()
        done = tensorized.decompose(trained, method, 0.5)
        assert set(done.errors) == set(done.plan.ranks)
        name = f"volseg.networks.tensorized.{builder.__name__}"
        fresh = build({"_target_": name, "network": whole, "budget": 0.5}).eval()
        fresh.load_state_dict(trained.state_dict())
        x = torch.randn(1, 1, 4, 4, 4)
        assert torch.equal(fresh(x), trained(x))


def test_layers_in_groups_stay_whole_and_this_is_said():
    network = nn.Sequential(nn.Conv3d(8, 8, 3, groups=2), nn.Conv3d(8, 8, 3))
    made = plan(network, Tucker(), 0.8)
    assert made.whole == {"0": "its channels are in 2 groups"}
    spreading = nn.Sequential(nn.ConvTranspose3d(8, 8, (1, 3, 3), 2), nn.Conv3d(8, 8, 3))
    assert "spreads voxels" in plan(spreading, Tucker(), 0.8).whole["0"]


@pytest.mark.parametrize("budget", [0, 1, -0.5, 30, float("nan")])
def test_a_budget_that_is_no_fraction_is_refused(budget):
    with pytest.raises(WeightsError, match=r"budget is .*; give a fraction .* above 0 and below 1"):
        tensorized.tucker(residual.tiny(), budget)


@every_builder
def test_a_budget_that_is_too_small_is_refused_with_one_that_is_enough(builder):
    with pytest.raises(WeightsError, match=r"leaves at least \d+; give 0\.\d+ or more") as refusal:
        builder(residual.tiny(), 1e-3)
    enough = float(str(refusal.value).split("give ")[1].split(" ")[0])
    network = residual.tiny()
    before = count_parameters(network)
    assert count_parameters(builder(network, enough)) <= enough * before


def test_decomposing_without_tensorly_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorly", None)
    network = residual.ResidualEncoder(1, (4, 8))
    tensorized.tucker(copy.deepcopy(network), 0.5)  # from scratch it is not needed
    with pytest.raises(WeightsError, match=r"needs tensorly; .*pip install 'volseg\[compress\]'"):
        tensorized.decompose(network, Tucker(), 0.5)
